import path from 'node:path';
import type { Ambient, FolderLook } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { makeFolder } from '../cni/folder.ts';
import { isThere, lots, readHolder } from './lease-files.ts';
import { LeaseIndex } from './lease-index.ts';
import type { Holder, LeaseStore, Leases } from './leases.ts';
import { LockedFolder } from './locked-folder.ts';

/** The folder's time is set this far back, in milliseconds: no change by anybody else can give it the same time. */
const STAMP_AGE = 2000;
/** A network name as SPEC 1.1, section 1 has it; it becomes a path. */
const NETWORK = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
/** Indexes in the memory of a process that stays. */
const MOST_KEPT = 64;
/** How often to begin again when the folder is replaced while we wait for its lock. */
const ATTEMPTS = 10;

/**
 * Leases on the disk in host-local's format: `<dataDir>/<network>/<address>`, `last_reserved_ip.<set>`, a flock on
 * `lock`. Anybody else who keeps to this format and lock may work in the same folder at the same time.
 */
export class DiskStore implements LeaseStore {
  readonly #dir: string;
  readonly #network: string;
  readonly #ambient: Ambient;

  /** Throws CniError(invalidConfig) when the network's name is no file name. */
  constructor(dataDir: string, network: string, ambient: Ambient) {
    if (!NETWORK.test(network)) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `name: wanted letters, digits, "_", "." and "-", starting with a letter or digit, found ${JSON.stringify(network)}`,
      );
    }
    this.#dir = path.join(dataDir, network);
    this.#network = network;
    this.#ambient = ambient;
  }

  /** Throws CniError(io) when folder or lock cannot be used. */
  async locked<T>(work: (leases: Leases) => T): Promise<T> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const before = this.#folder();
      if (before === undefined) continue;
      const release = await this.#lock();
      if (release === undefined) continue;
      try {
        // Somebody may have removed the network with its lock while we waited: then our lock locks nothing.
        const now = this.#look();
        if (now?.identity !== before.identity) continue;
        return this.#session(now, work);
      } catch (error) {
        throw this.#ioError(error);
      } finally {
        release();
      }
    }
    throw new CniError(ErrorCode.tryAgain, `leases in ${this.#dir}: the folder is replaced again and again`);
  }

  /** Undefined when the folder went away in this moment. */
  async #lock(): Promise<(() => void) | undefined> {
    try {
      return await this.#ambient.lock(`${this.#dir}/lock`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw this.#ioError(error);
    }
  }

  /** Throws CniError(io). */
  exists(): boolean {
    try {
      return this.#look() !== undefined;
    } catch (error) {
      // The data folder is a file: nothing is below it.
      if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return false;
      throw this.#ioError(error);
    }
  }

  peek(address: string): Holder | undefined {
    return readHolder(`${this.#dir}/${address}`);
  }

  /** Throws CniError(io). */
  anyFree(candidates: Iterable<string>): boolean {
    try {
      for (const names of lots(this.#dir, candidates)) {
        if (names.some((name) => !isThere(`${this.#dir}/${name}`))) return true;
      }
      return false;
    } catch (error) {
      throw this.#ioError(error);
    }
  }

  #look(): FolderLook | undefined {
    return this.#ambient.files.lookAtFolder(this.#dir);
  }

  #session<T>({ identity, stamp }: FolderLook, work: (leases: Leases) => T): T {
    const index = indexOf(`${this.#ambient.paths.runDir}/leases/${this.#network}-${identity}`, this.#ambient);
    const leases = new LockedFolder(this.#dir, index, this.#ambient.files);
    if (!index.isTrusted(stamp)) leases.rebuild();
    try {
      return work(leases);
    } finally {
      if (leases.changed) this.#save(index);
    }
  }

  /**
   * The index is a cache: whatever goes wrong here, the folder's time no longer fits the stamp, and the next one
   * rebuilds it.
   */
  #save(index: LeaseIndex): void {
    try {
      index.save(() => {
        const now = this.#ambient.now();
        return this.#ambient.files.dateFolder(this.#dir, now, Math.max(0, now - STAMP_AGE)).stamp;
      });
    } catch (error) {
      this.#ambient.log(`the index of ${this.#dir} could not be saved, every lease will be read: ${error}`);
    }
  }

  /** Undefined when it went away in this moment. */
  #folder(): FolderLook | undefined {
    try {
      const found = this.#look();
      if (found !== undefined) return found;
      makeFolder(this.#dir, 0o755);
      return this.#look();
    } catch (error) {
      throw this.#ioError(error);
    }
  }

  #ioError(error: unknown): unknown {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof CniError || code === undefined) return error;
    return new CniError(
      ErrorCode.io,
      `leases in ${this.#dir} cannot be read or written: ${code}`,
      String(error),
      { cause: error },
    );
  }
}

/** The one that this process has kept, if it is one that stays: `isTrusted` says whether it is right. */
function indexOf(folder: string, { files, kept }: Ambient): LeaseIndex {
  const known = kept?.get(folder);
  if (known instanceof LeaseIndex) return known;
  const index = new LeaseIndex(folder, files);
  const [oldest] = kept?.keys() ?? [];
  if (kept !== undefined && kept.size >= MOST_KEPT && oldest !== undefined) kept.delete(oldest);
  kept?.set(folder, index);
  return index;
}
