/** The folder of network configurations, as libcni reads it. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { faults, type NetworkList, parseNetworkList, readPlugin } from './conflist.ts';
import { parseJson } from './parse.ts';

/** Lists come before single plugins (libcni's LoadConfList); YAML is ours, and comes last. */
const ENDINGS = [['.conflist'], ['.conf', '.json'], ['.yaml', '.yml']] as const;

/** What one file of the folder holds. */
export type Loaded = { file: string; list: NetworkList } | { file: string; error: CniError };

/** Every configuration of a folder, in the order in which a name is looked for. A missing folder is an empty one. */
export async function listNetworks(confDir: string): Promise<Loaded[]> {
  const names = readFolder(confDir);
  const loaded: Loaded[] = [];
  for (const endings of ENDINGS) {
    for (const name of names.filter((name) => (endings as readonly string[]).includes(extname(name)))) {
      const file = join(confDir, name);
      try {
        loaded.push({ file, list: await loadNetworkFile(file) });
      } catch (error) {
        if (!(error instanceof CniError)) throw error;
        loaded.push({ file, error });
      }
    }
  }
  return loaded;
}

/** Of lists with one name the first counts, as for libcni: a sentence for every other. */
export function unused(loaded: readonly Loaded[]): { name: string; words: string }[] {
  const used = new Map<string, string>();
  return loaded.flatMap((entry) => {
    if ('error' in entry) return [];
    const { file, list } = entry;
    const first = used.get(list.name);
    if (first === undefined) used.set(list.name, file);
    const words = `${file} is not used: network ${list.name} is that of ${first}, which comes first`;
    return first === undefined ? [] : [{ name: list.name, words }];
  });
}

/**
 * A network by its name in `confDir`, or by a path (anything with a `/`, or an ending that configurations have).
 * A file that cannot be read does not hide the ones after it, but is named when nothing is found.
 * @param warn is told of other files with that name
 * Throws CniError(invalidConfig, decoding, io).
 */
export async function findNetwork(
  nameOrFile: string,
  confDir: string,
  warn: (words: string) => void = () => {},
): Promise<NetworkList> {
  if (isFileName(nameOrFile)) return loadNetworkFile(nameOrFile);
  const all = await listNetworks(confDir);
  for (const entry of all) {
    if (!('list' in entry) || entry.list.name !== nameOrFile) continue;
    for (const { name, words } of unused(all)) if (name === nameOrFile) warn(words);
    return entry.list;
  }
  const known = all.flatMap((entry) => ('list' in entry ? [entry.list.name] : []));
  const broken = all.flatMap((entry) => ('error' in entry ? [entry.error.message] : []));
  const there = known.length === 0 ? 'there is none' : `there are ${known.join(', ')}`;
  throw new CniError(
    ErrorCode.invalidConfig,
    [`no network is called ${JSON.stringify(nameOrFile)} in ${confDir}: ${there}`, ...broken].join('; '),
  );
}

/** Whether an argument means a file and not a network's name. */
export function isFileName(nameOrFile: string): boolean {
  return nameOrFile.includes('/') || ENDINGS.flat().some((ending) => nameOrFile.endsWith(ending));
}

/**
 * One file, with the plugins of `<folder>/<network>/*.conf` appended unless loadOnlyInlinedPlugins (SPEC 1.1, section 1).
 * Throws CniError(io, decoding, invalidConfig).
 */
export async function loadNetworkFile(file: string): Promise<NetworkList> {
  const list = { ...(await parseNetworkList(readText(file), file)), file };
  if (list.loadOnlyInlinedPlugins) return list;
  const folder = join(dirname(file), list.name);
  const more = readFolder(folder)
    .filter((name) => extname(name) === '.conf')
    .map((name) => join(folder, name));
  if (more.length === 0) {
    if (list.plugins.length > 0) return list;
    throw faults(file).fault('plugins', `is missing, and there is no ${folder}/*.conf to take them from`);
  }
  const plugins = [...list.plugins];
  for (const path of more) {
    plugins.push(readPlugin(await parseJson(readText(path), path), '', faults(path)));
  }
  // What DEL needs must be in the cache even when the files are gone: the list is kept with its plugins inlined.
  const json = JSON.stringify({ ...JSON.parse(list.json), plugins, loadOnlyInlinedPlugins: true });
  return { ...list, plugins, json };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : message;
    throw new CniError(ErrorCode.io, `cannot read the network configuration ${file}: ${why}`, message, {
      cause,
    });
  }
}

/** Names of files in a folder, sorted by code unit as Go sorts them; empty when it does not exist. Reading a FIFO would never end. */
function readFolder(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() || (entry.isSymbolicLink() && leadsToFile(join(folder, entry.name))))
      .map((entry) => entry.name)
      .sort();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new CniError(ErrorCode.io, `cannot read the folder ${folder}`, message, { cause });
  }
}

/** A link that leads nowhere counts, too: reading it says so. */
function leadsToFile(link: string): boolean {
  const found = statSync(link, { throwIfNoEntry: false });
  return found === undefined || found.isFile();
}
