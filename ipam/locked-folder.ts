import fs from 'node:fs';
import type { Files } from '../cni/ambient.ts';
import { isCanonical } from '../cni/prefix.ts';
import type { AttachmentId } from '../cni/types.ts';
import { lots, readHolder, readLease, unlink } from './lease-files.ts';
import type { LeaseIndex } from './lease-index.ts';
import { formatLease, type Holder, isHolder, type Leases, parseLease } from './leases.ts';

/**
 * A lease is written here and then renamed, so that no name ever shows a half-written lease; what is released comes back here,
 * and is the next lease. Empty, or without a container's name: of no meaning to those who read every file.
 */
const SPARE = '.weft-lease';

/** The folder while its lock is held. */
export class LockedFolder implements Leases {
  readonly #dir: string;
  readonly #spare: string;
  readonly #index: LeaseIndex;
  readonly #files: Files;
  /** Whether the index must be saved. */
  changed = false;

  constructor(dir: string, index: LeaseIndex, files: Files) {
    this.#dir = dir;
    this.#spare = `${dir}/${SPARE}`;
    this.#index = index;
    this.#files = files;
  }

  of(id: AttachmentId): string[] {
    return this.#held(id.containerId, (holder) => isHolder(holder, id));
  }

  ofContainer(containerId: string): string[] {
    return this.#held(
      containerId,
      (holder) => holder.containerId === containerId && holder.ifname === undefined,
    );
  }

  /** What the index says is only believed after a look at that very lease. */
  #held(containerId: string, mine: (holder: Holder) => boolean): string[] {
    let entries = this.#index.find(containerId);
    if (entries === undefined) {
      this.rebuild();
      entries = this.#index.find(containerId) ?? [];
    }
    return entries
      .filter(([, id, ifname]) => mine({ containerId: id, ifname }))
      .map(([address]) => address)
      .filter((address) => {
        const holder = this.holder(address);
        return holder !== undefined && mine(holder);
      });
  }

  holder(address: string): Holder | undefined {
    return readHolder(`${this.#dir}/${address}`);
  }

  claim(candidates: Iterable<string>, id: AttachmentId): string | undefined {
    this.changed = true;
    const text = formatLease(id);
    for (const names of lots(this.#dir, candidates)) {
      const address = names[this.#files.claim(this.#spare, this.#dir, names, text)];
      if (address === undefined) continue;
      this.#index.add(address, id);
      return address;
    }
    return undefined;
  }

  release(address: string, holder: Holder): void {
    this.changed = true;
    this.#files.retire(`${this.#dir}/${address}`, this.#spare);
    this.#index.remove(address, holder);
  }

  lastReserved(set: number): string | undefined {
    // Lost, or no file: the round begins at the start.
    return readLease(`${this.#dir}/last_reserved_ip.${set}`)?.trim();
  }

  setLastReserved(set: number, address: string): void {
    this.changed = true;
    this.#files.overwrite(`${this.#dir}/last_reserved_ip.${set}`, address, 0o644);
  }

  all(): Map<string, Holder> {
    return this.rebuild();
  }

  /**
   * Reads every lease into the index. Removes what crashes left: under the lock nobody is in the middle of writing, so
   * a lease without a word in it is debris, as is our spare file, which may have two names. Foreign files and folders stay.
   */
  rebuild(): Map<string, Holder> {
    const leases = new Map<string, Holder>();
    for (const name of fs.readdirSync(this.#dir)) {
      const file = `${this.#dir}/${name}`;
      if (name === SPARE && !fs.statSync(file, { throwIfNoEntry: false })?.isDirectory()) unlink(file);
      if (!isCanonical(name)) continue;
      const text = readLease(file);
      const holder = text === undefined ? undefined : parseLease(text);
      if (holder !== undefined) leases.set(name, holder);
      else if (text !== undefined) unlink(file);
    }
    this.#index.replace(leases);
    this.changed = true;
    return leases;
  }
}
