import type { AttachmentId } from '../cni/types.ts';

/** Whom a lease file names. Files of host-local before 0.8 have no interface name. */
export interface Holder {
  containerId: string;
  ifname: string | undefined;
}

/** The leases of one network, as they are seen while its lock is held. Addresses are canonical texts. */
export interface Leases {
  /** What an attachment holds. */
  of(id: AttachmentId): string[];
  /** What a container holds in files that name no interface. */
  ofContainer(containerId: string): string[];
  /** Who holds an address; undefined when nobody does. */
  holder(address: string): Holder | undefined;
  /** Takes the first free one of the candidates; undefined when there is none. */
  claim(candidates: Iterable<string>, id: AttachmentId): string | undefined;
  /** Gives an address back; nothing happens when it is free. */
  release(address: string, holder: Holder): void;
  /** Where the round robin of a range set stands. */
  lastReserved(set: number): string | undefined;
  setLastReserved(set: number, address: string): void;
  /** Every lease; reads every file. */
  all(): Map<string, Holder>;
}

/** The leases of one network, wherever they are kept. */
export interface LeaseStore {
  /** Runs `work` while the network's lock is held; waits for it. `work` must not keep `leases`. */
  locked<T>(work: (leases: Leases) => T): Promise<T>;
  /** Whether there is anything at all; without the lock. */
  exists(): boolean;
  /** Who holds an address at this moment; without the lock. */
  peek(address: string): Holder | undefined;
  /** Whether one of the candidates is free at this moment; without the lock. */
  anyFree(candidates: Iterable<string>): boolean;
}

/**
 * The text of a lease file: `id CR LF ifname`. Undefined for a file without a word in it: debris of a crash (an
 * empty file, or one full of zero bytes after a power loss).
 */
export function parseLease(text: string): Holder | undefined {
  const [id = '', ifname = ''] = text
    .replaceAll('\0', '')
    .trim()
    .split('\n')
    .map((line) => line.trim());
  return id === '' ? undefined : { containerId: id, ifname: ifname === '' ? undefined : ifname };
}

export function formatLease(id: AttachmentId): string {
  return `${id.containerId}\r\n${id.ifname}`;
}

export function isHolder(holder: Holder | undefined, id: AttachmentId): boolean {
  return holder?.containerId === id.containerId && holder.ifname === id.ifname;
}

/** `container abc (eth0)`. */
export function formatHolder({ containerId, ifname }: Holder): string {
  return `container ${containerId}${ifname === undefined ? '' : ` (${ifname})`}`;
}
