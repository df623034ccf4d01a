/** The ways to say which network namespace is meant: a path, a name of `ip netns`, a process. */
import { existsSync, readdirSync, statfsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { NAME_PATTERN } from '../cni/environment.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { hash64 } from '../plan/hash.ts';

/** Where `ip netns` keeps its names (ip-netns(8)); the second is the same folder under its old name. */
const NAME_FOLDERS = ['/run/netns', '/var/run/netns'] as const;
/** statfs(2) f_type of the file system that namespaces' files live on: NSFS_MAGIC, linux/magic.h. */
const NSFS_MAGIC = 0x6e736673;

/**
 * The path of the namespace that a person means. Throws CniError(invalidNamespace) that says where was looked.
 * A path is anything with a `/`, a process anything of digits only.
 */
export function namespacePath(sandbox: string): string {
  const path = locate(sandbox);
  const type = fileSystemType(path);
  if (type === NSFS_MAGIC) return path;
  throw new CniError(
    ErrorCode.invalidNamespace,
    `${path} is no network namespace but an ordinary file: give a path, a name of "ip netns list", or a process id`,
  );
}

/** For DEL, where a namespace may be gone: its path if it is there, else the empty string (SPEC 1.1, DEL). */
export function namespacePathIfAlive(sandbox: string): string {
  try {
    return namespacePath(sandbox);
  } catch (error) {
    if (error instanceof CniError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
      return '';
    throw error;
  }
}

/**
 * The container id when the caller gives none: the same for every way to name one namespace, so that `del` by path finds what
 * `add` by name made.
 */
export function defaultContainerId(sandbox: string): string {
  const path = sandbox.includes('/') ? resolve(sandbox) : sandbox;
  const process = /^(?:\/proc\/)?(\d+)(?:\/ns\/net)?$/.exec(path)?.[1];
  if (process !== undefined && !isName(path)) return `pid-${process}`;
  const name = (NAME_FOLDERS as readonly string[]).includes(dirname(path)) ? basename(path) : path;
  if (NAME_PATTERN.test(name)) return name;
  return `ns-${hash64('sandbox', path).toString(16).padStart(16, '0')}`;
}

function locate(sandbox: string): string {
  if (sandbox.includes('/')) return existing(resolve(sandbox), `there is no network namespace at ${sandbox}`);
  if (sandbox === '' || sandbox === '.' || sandbox === '..') {
    throw new CniError(ErrorCode.invalidNamespace, `${JSON.stringify(sandbox)} names no network namespace`);
  }
  const named = NAME_FOLDERS.map((folder) => `${folder}/${sandbox}`).find((path) => existsSync(path));
  if (!/^\d+$/.test(sandbox)) {
    return (
      named ??
      existing(`${NAME_FOLDERS[0]}/${sandbox}`, `no network namespace is called ${JSON.stringify(sandbox)}`)
    );
  }
  const ofProcess = `/proc/${sandbox}/ns/net`;
  if (named !== undefined && existsSync(ofProcess)) {
    throw new CniError(
      ErrorCode.invalidNamespace,
      `${sandbox} is both a process and a name of "ip netns": give ${ofProcess} or ${named}`,
    );
  }
  return named ?? existing(ofProcess, `there is no process ${sandbox}`);
}

function isName(sandbox: string): boolean {
  return NAME_FOLDERS.some((folder) => existsSync(`${folder}/${sandbox}`)) && !existsSync(`/proc/${sandbox}`);
}

function existing(path: string, otherwise: string): string {
  if (existsSync(path)) return path;
  const cause = Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
  throw new CniError(ErrorCode.invalidNamespace, `${otherwise}: ${path} does not exist`, undefined, {
    cause,
  });
}

function fileSystemType(path: string): number {
  try {
    return statfsSync(path).type;
  } catch (cause) {
    const { message } = cause as Error;
    throw new CniError(ErrorCode.invalidNamespace, `cannot look at the namespace ${path}`, message, {
      cause,
    });
  }
}

/** Every name that `ip netns` knows, sorted; none where there is no such folder. */
export function namespaceNames(): string[] {
  try {
    return readdirSync(NAME_FOLDERS[0]).sort();
  } catch {
    return [];
  }
}
