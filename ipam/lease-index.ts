import fs from 'node:fs';
import type { Files } from '../cni/ambient.ts';
import { makeFolder } from '../cni/folder.ts';
import { unlink } from './lease-files.ts';
import type { Holder } from './leases.ts';

/**
 * Which addresses a container holds, kept outside of the lease folder, so that allocation and release need not read
 * all leases. It is a cache of the folder and never the truth: lost or untrusted, it is made again.
 *
 * One small file per bucket of container ids, and a stamp. The stamp is what the lease folder's times were when the
 * index was last right; whoever creates or removes a lease without us changes them (see docs/decisions/0002).
 * Nothing reaches the disk before `save`, and `save` writes the stamp last: a crash leaves an index that is not trusted.
 * A process that stays may keep it in memory: what it has read is right as long as the folder has the times of its own last `save`.
 */
export class LeaseIndex {
  /** Forty entries each at 10,000 leases, less than a page: small to read, and few enough to be written again quickly. */
  static readonly BUCKETS = 256;
  /** So many entries are kept in memory from one session to the next, in a process that stays: a megabyte. */
  static readonly MOST_KEPT = 4096;

  readonly #dir: string;
  readonly #files: Files;
  readonly #buckets = new Map<number, Entry[]>();
  readonly #dirty = new Set<number>();
  /** All entries are in memory: a bucket that is not there is empty. */
  #complete = false;
  /** A bucket could not be read: nothing that is known here may be believed. */
  #damaged = false;
  /** The folder's times with which memory and disk agree. */
  #stamp: string | undefined;

  constructor(dir: string, files: Files) {
    this.#dir = dir;
    this.#files = files;
  }

  /** Whether the index was right when the lease folder had these times. */
  isTrusted(stamp: string): boolean {
    if (this.#stamp === stamp) return true;
    this.#forget();
    if (readText(`${this.#dir}/stamp`) !== stamp) return false;
    this.#stamp = stamp;
    return true;
  }

  #forget(): void {
    this.#buckets.clear();
    this.#dirty.clear();
    this.#complete = false;
    this.#damaged = false;
    this.#stamp = undefined;
  }

  /** Starts over with these leases. */
  replace(leases: ReadonlyMap<string, Holder>): void {
    this.#forget();
    this.#complete = true;
    for (const [address, holder] of leases) this.add(address, holder);
  }

  /**
   * The addresses and interface names that a container is said to hold; undefined when the index turns out to be damaged.
   */
  find(containerId: string): readonly Entry[] | undefined {
    const entries = this.#bucket(bucketOf(containerId));
    return this.#damaged ? undefined : entries.filter((entry) => entry[1] === containerId);
  }

  add(address: string, { containerId, ifname }: Holder): void {
    const number = bucketOf(containerId);
    const entries = this.#bucket(number);
    entries.push(ifname === undefined ? [address, containerId] : [address, containerId, ifname]);
    this.#buckets.set(number, entries);
    this.#dirty.add(number);
  }

  remove(address: string, { containerId }: Holder): void {
    const number = bucketOf(containerId);
    const entries = this.#bucket(number);
    this.#buckets.set(
      number,
      entries.filter((entry) => entry[0] !== address),
    );
    this.#dirty.add(number);
  }

  /** Brings what changed to the disk. `stamp` is asked for after that, when the buckets are right. */
  save(stamp: () => string): void {
    this.#stamp = undefined;
    if (this.#damaged) this.#dirty.clear();
    if (this.#complete || this.#damaged) this.#clear();
    if (this.#damaged) return;
    for (const number of this.#dirty) {
      this.#files.overwrite(this.#file(number), JSON.stringify(this.#buckets.get(number) ?? []), 0o600);
    }
    this.#dirty.clear();
    const now = stamp();
    this.#files.overwrite(`${this.#dir}/stamp`, now, 0o600);
    let entries = 0;
    for (const bucket of this.#buckets.values()) entries += bucket.length;
    if (entries > LeaseIndex.MOST_KEPT) this.#forget();
    else this.#stamp = now;
  }

  /** The stamp goes first: what is left by a crash in the middle must not look right. */
  #clear(): void {
    makeFolder(this.#dir, 0o700);
    unlink(`${this.#dir}/stamp`);
    const kept = new Set([...this.#dirty].map((number) => this.#file(number)));
    for (const name of fs.readdirSync(this.#dir)) {
      const file = `${this.#dir}/${name}`;
      if (!kept.has(file)) unlink(file);
    }
    this.#complete = false;
  }

  #bucket(number: number): Entry[] {
    const known = this.#buckets.get(number);
    if (known !== undefined) return known;
    const entries = this.#complete ? [] : readBucket(this.#file(number));
    if (entries === undefined) this.#damaged = true;
    this.#buckets.set(number, entries ?? []);
    return entries ?? [];
  }

  #file(number: number): string {
    return `${this.#dir}/${number.toString(36)}`;
  }
}

/** Address, container id, and interface name where the lease file has one. */
export type Entry = readonly [address: string, containerId: string, ifname?: string];

function readBucket(file: string): Entry[] | undefined {
  const text = readText(file);
  if (text === undefined) return [];
  try {
    const entries: unknown = JSON.parse(text);
    return Array.isArray(entries) && entries.every(isEntry) ? entries : undefined;
  } catch {
    return undefined;
  }
}

function isEntry(value: unknown): value is Entry {
  return Array.isArray(value) && typeof value[0] === 'string' && typeof value[1] === 'string';
}

function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** FNV-1a, folded: spreads well and costs nothing; node:crypto would cost milliseconds of start-up. */
function bucketOf(containerId: string): number {
  let hash = 0x811c9dc5;
  for (let n = 0; n < containerId.length; n++) {
    hash = Math.imul(hash ^ containerId.charCodeAt(n), 0x01000193);
  }
  return ((hash >>> 16) ^ hash) & (LeaseIndex.BUCKETS - 1);
}
