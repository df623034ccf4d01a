/** A network as a runtime sees it: a list of plugins (SPEC 1.1, section 1), read from JSON or YAML. */
import { NAME_PATTERN, NAME_WANTED } from '../cni/environment.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { SUPPORTED_VERSIONS } from '../cni/types.ts';
import { isYaml, parseJson, parseYaml } from './parse.ts';

/** One plugin of a list, as it stands in the file: unknown fields included. */
export interface PluginConf {
  type: string;
  [key: string]: unknown;
}

/** A network configuration list. */
export interface NetworkList {
  name: string;
  /** The highest of `cniVersion` and `cniVersions` that weft knows; as written when it knows none. */
  cniVersion: string;
  disableCheck: boolean;
  disableGC: boolean;
  loadOnlyInlinedPlugins: boolean;
  plugins: PluginConf[];
  /** The list as JSON: what the result cache keeps. */
  json: string;
  /** The file it came from. */
  file?: string;
}

/** The source of what comes through a pipe: JSON or YAML, as it looks. */
export const STANDARD_INPUT = 'standard input';

/**
 * Reads a configuration: a list, or one plugin, which becomes a list of one. Throws CniError(decoding) with line and column
 * where the text is no JSON (or YAML, by the name's ending), CniError(invalidConfig) that names file and field otherwise.
 * @param source file name for messages and for the choice of the format; STANDARD_INPUT for a pipe
 */
export async function parseNetworkList(text: string, source: string): Promise<NetworkList> {
  // A pipe has no name that would tell; no object of JSON begins otherwise.
  const yaml = source === STANDARD_INPUT ? /^\s*[^\s{[]/.test(text) : isYaml(source);
  const value = yaml ? await parseYaml(text, source) : await parseJson(text, source);
  const bad = faults(source);
  if (!isObject(value)) throw bad.wrong('', value, 'an object');
  const isList = 'plugins' in value || !('type' in value);
  if (!isList) return wrapSingle(value, bad);
  const list = readList(value, bad, yaml ? JSON.stringify(value) : text);
  if (source === STANDARD_INPUT && list.plugins.length === 0) {
    throw bad.fault('plugins', 'is missing: beside a pipe there are no files to take them from');
  }
  return list;
}

function readList(value: Record<string, unknown>, bad: Faults, json: string): NetworkList {
  const only = readFlag(value, 'loadOnlyInlinedPlugins', bad);
  if (value.plugins === undefined && only) {
    throw bad.fault('plugins', 'is missing, and loadOnlyInlinedPlugins forbids to take them from files');
  }
  const plugins = value.plugins ?? [];
  if (!Array.isArray(plugins)) throw bad.wrong('plugins', plugins, 'a list of objects');
  if (value.plugins !== undefined && plugins.length === 0) {
    throw bad.fault('plugins', 'is empty: a network needs at least one plugin');
  }
  return {
    name: readName(value, bad),
    cniVersion: readVersion(value, bad),
    disableCheck: readFlag(value, 'disableCheck', bad),
    disableGC: readFlag(value, 'disableGC', bad),
    loadOnlyInlinedPlugins: only,
    plugins: plugins.map((plugin, i) => readPlugin(plugin, `plugins[${i}]`, bad)),
    json,
  };
}

/** libcni's "upconversion": the plugin keeps its own fields, the list takes name and version from it. */
function wrapSingle(value: Record<string, unknown>, bad: Faults): NetworkList {
  const plugin = readPlugin(value, '', bad);
  const name = readName(value, bad);
  const cniVersion = readVersion(value, bad);
  return {
    name,
    cniVersion,
    disableCheck: false,
    disableGC: false,
    loadOnlyInlinedPlugins: true,
    plugins: [plugin],
    json: JSON.stringify({ name, cniVersion, plugins: [plugin] }),
  };
}

/** One plugin's object; `field` is where it stands, empty for a file of its own. Throws CniError(invalidConfig). */
export function readPlugin(value: unknown, field: string, bad: Faults): PluginConf {
  const at = (key: string): string => (field === '' ? key : `${field}.${key}`);
  if (!isObject(value)) throw bad.wrong(field, value, 'an object');
  const { type, capabilities } = value;
  if (type === undefined) throw bad.fault(at('type'), 'is missing: it names the plugin to run');
  if (typeof type !== 'string' || type === '') throw bad.wrong(at('type'), type, 'the name of a plugin');
  // What is looked up on CNI_PATH must stay in it.
  if (type.includes('/')) throw bad.wrong(at('type'), type, 'a plugin name without "/"');
  if (capabilities !== undefined && capabilities !== null) {
    if (!isObject(capabilities)) throw bad.wrong(at('capabilities'), capabilities, 'an object of booleans');
    for (const [name, on] of Object.entries(capabilities)) {
      if (typeof on !== 'boolean') throw bad.wrong(at(`capabilities.${name}`), on, 'true or false');
    }
  }
  return { ...value, type };
}

function readName(value: Record<string, unknown>, bad: Faults): string {
  const { name } = value;
  if (name === undefined) throw bad.fault('name', 'is missing: every network has a name');
  if (typeof name !== 'string' || !NAME_PATTERN.test(name)) {
    throw bad.wrong('name', name, NAME_WANTED);
  }
  return name;
}

function readVersion(value: Record<string, unknown>, bad: Faults): string {
  const { cniVersion, cniVersions } = value;
  const listed = cniVersions ?? [];
  if (cniVersion !== undefined && typeof cniVersion !== 'string') {
    throw bad.wrong('cniVersion', cniVersion, 'a string such as "1.0.0"');
  }
  if (!Array.isArray(listed) || listed.some((version) => typeof version !== 'string')) {
    throw bad.wrong('cniVersions', listed, 'a list of strings such as ["0.4.0", "1.0.0"]');
  }
  const offered: string[] = [...listed, ...(cniVersion ? [cniVersion] : [])];
  const best = SUPPORTED_VERSIONS.findLast((version) => offered.includes(version));
  return best ?? offered.at(-1) ?? '0.1.0';
}

/** Booleans; the strings too, because older files have them. */
function readFlag(value: Record<string, unknown>, key: string, bad: Faults): boolean {
  const flag = value[key];
  if (flag === undefined || typeof flag === 'boolean') return flag ?? false;
  if (typeof flag === 'string' && /^(true|false)$/i.test(flag)) return flag.toLowerCase() === 'true';
  throw bad.wrong(key, flag, 'true or false');
}

/** Makers of errors that name the file and the field. */
export interface Faults {
  fault(field: string, what: string): CniError;
  wrong(field: string, found: unknown, wanted: string): CniError;
}

export function faults(source: string): Faults {
  const fault = (field: string, what: string): CniError =>
    new CniError(ErrorCode.invalidConfig, `${source}: ${field === '' ? 'the configuration' : field} ${what}`);
  return {
    fault,
    wrong: (field, found, wanted) => fault(field, `is ${shorten(found)}: wanted is ${wanted}`),
  };
}

function shorten(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
