/**
 * libcni's result cache: one file per attachment, so that what one runtime attached another one can check and detach.
 * Format: containernetworking/cni, libcni/api.go, `cachedInfo`.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { makeFolder } from '../cni/folder.ts';
import type { AttachmentId } from '../cni/types.ts';

const KIND = 'cniCacheV1';

/** What is kept of one attachment. */
export interface CachedAttachment extends AttachmentId {
  network: string;
  /** Path of the namespace; libcni writes it since 1.2. */
  netns?: string;
  /** The configuration list as it was at ADD; absent in the cache of libcni before 0.8. */
  config?: string;
  cniArgs: [string, string][];
  capabilityArgs: Record<string, unknown>;
  /** The result of the last plugin, as it printed it. */
  result?: Record<string, unknown>;
}

/** Go marshals `[]byte` as base64, and `omitempty` leaves out what is empty. */
interface CacheFile {
  kind: string;
  containerId: string;
  config: string;
  ifName: string;
  networkName: string;
  netns?: string;
  cniArgs?: [string, string][];
  capabilityArgs?: Record<string, unknown>;
  result?: Record<string, unknown>;
}

/** With their prefix lengths; of a result in any version: a list of `ips`, or `ip4` and `ip6` (SPEC 0.2.0). */
export function resultAddresses(result: Readonly<Record<string, unknown>> = {}): string[] {
  const { ips, ip4, ip6 } = result;
  return [...(Array.isArray(ips) ? ips : []), ip4, ip6].flatMap((entry) => {
    const { address, ip } = (entry ?? {}) as { address?: unknown; ip?: unknown };
    return [address, ip].filter((text) => typeof text === 'string');
  });
}

/** `<cacheDir>/results/<network>-<containerID>-<ifname>` */
export function cachePath(cacheDir: string, network: string, id: AttachmentId): string {
  return join(cacheDir, 'results', `${network}-${id.containerId}-${id.ifname}`);
}

/** Writes atomically, 0600. Throws CniError(io). */
export function writeCached(cacheDir: string, cached: CachedAttachment): void {
  const path = cachePath(cacheDir, cached.network, cached);
  const file: CacheFile = {
    kind: KIND,
    containerId: cached.containerId,
    config: Buffer.from(cached.config ?? '').toString('base64'),
    ifName: cached.ifname,
    networkName: cached.network,
    ...(cached.netns ? { netns: cached.netns } : {}),
    ...(cached.cniArgs.length > 0 ? { cniArgs: cached.cniArgs } : {}),
    ...(Object.keys(cached.capabilityArgs).length > 0 ? { capabilityArgs: cached.capabilityArgs } : {}),
    ...(cached.result === undefined ? {} : { result: cached.result }),
  };
  try {
    makeFolder(join(cacheDir, 'results'), 0o700);
    writeAtomically(path, JSON.stringify(file));
  } catch (cause) {
    throw new CniError(ErrorCode.io, `cannot keep the result in ${path}`, (cause as Error).message, {
      cause,
    });
  }
}

/**
 * Reads one attachment; undefined when it was never cached. A file that is no cache but a result is what libcni wrote before
 * 0.8: it has no configuration. Throws CniError(io) when it cannot be read, CniError(decoding) when it is neither.
 */
export function readCached(
  cacheDir: string,
  network: string,
  id: AttachmentId,
): CachedAttachment | undefined {
  const path = cachePath(cacheDir, network, id);
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const value = parseObject(text);
  if (value === undefined) {
    throw new CniError(
      ErrorCode.decoding,
      `the cached result ${path} is not JSON (half written?): remove it, then DEL works from the configuration alone`,
    );
  }
  if (value.kind === KIND) return fromFile(value as unknown as CacheFile, network, id);
  return { ...id, network, cniArgs: [], capabilityArgs: {}, result: value };
}

/** Every readable attachment, or those of one network (GC). Bare results are left out: a file's name alone cannot be split for sure. */
export function listCached(cacheDir: string, network?: string): CachedAttachment[] {
  const folder = join(cacheDir, 'results');
  const found: CachedAttachment[] = [];
  for (const name of readNames(folder)) {
    if (network !== undefined && !name.startsWith(`${network}-`)) continue;
    const text = readIfThere(join(folder, name));
    const value = text === undefined ? undefined : parseObject(text);
    if (value?.kind !== KIND) continue;
    const { containerId, ifName, networkName } = value as unknown as CacheFile;
    if (network !== undefined && networkName !== network) continue;
    found.push(fromFile(value as unknown as CacheFile, networkName, { containerId, ifname: ifName }));
  }
  return found;
}

/** Repeatable. Throws CniError(io). */
export function removeCached(cacheDir: string, network: string, id: AttachmentId): void {
  const path = cachePath(cacheDir, network, id);
  try {
    rmSync(path, { force: true });
    // What a writer that was killed left.
    rmSync(temporaryOf(path), { force: true });
  } catch (cause) {
    throw new CniError(ErrorCode.io, `cannot remove the cached result ${path}`, (cause as Error).message, {
      cause,
    });
  }
}

function fromFile(file: CacheFile, network: string, id: AttachmentId): CachedAttachment {
  const config = Buffer.from(file.config ?? '', 'base64').toString('utf8');
  return {
    containerId: id.containerId,
    ifname: id.ifname,
    network,
    ...(file.netns ? { netns: file.netns } : {}),
    ...(config === '' ? {} : { config }),
    cniArgs: file.cniArgs ?? [],
    capabilityArgs: file.capabilityArgs ?? {},
    ...(file.result ? { result: file.result } : {}),
  };
}

function writeAtomically(path: string, text: string): void {
  const temporary = temporaryOf(path);
  try {
    const fd = openSync(temporary, 'w', 0o600);
    try {
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new CniError(ErrorCode.io, `cannot read the cached result ${path}`, message, { cause });
  }
}

function readNames(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new CniError(ErrorCode.io, `cannot read the folder ${folder}`, message, { cause });
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const temporaryOf = (path: string) => `${path}.weft-tmp`;
