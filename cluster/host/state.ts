/**
 * What a network between hosts has in one host's kernel, as plain data: a tunnel device, and entries (addresses, routes, neighbours, FDB).
 * Links are named, not numbered: the same state is wanted, found, compared and printed.
 */

/**
 * Marks routes and neighbours as ours (rtm_protocol, NDA_PROTOCOL): only these, and what is on our own device, are ever changed. Any number
 * from 5 up is free for those who administer a host (linux/rtnetlink.h); this one is in no rt_protos of Debian, iproute2, FRR or BIRD.
 */
export const RTPROT_WEFT = 119;

/** Of routes between hosts: what `ip route` gives a route of which nothing is said (IP6_RT_PRIO_USER for IPv6). */
export const METRIC = { 4: 0, 6: 1024 } as const;
/** Of the guard for a host's own subnet: behind any route to containers, those of the kernel (IPv6: 256) included. */
export const GUARD_METRIC = 1_000_000;

/** A VXLAN device that learns nothing. */
export interface Device {
  name: string;
  /** Whose it is: `weft <network>`. */
  alias: string;
  vni: number;
  port: number;
  /** Source of the tunnel's packets; its family is that of the tunnel. */
  local: string;
  mac: string;
  /** Bytes. */
  mtu: number;
  up: boolean;
  learning: boolean;
  checksumOffload: boolean;
  /** L2: the bridge that it is a port of. */
  bridge?: string;
  /** L2: the bridge floods nothing to it, learns nothing from it, and answers ARP and NDP in its place. */
  quiet?: boolean;
}

/** Made where there is none; otherwise it is left as it is. */
export interface Bridge {
  name: string;
  mac: string;
  /** Bytes. */
  mtu: number;
}

export interface AddressEntry {
  kind: 'address';
  dev: string;
  /** CIDR. */
  address: string;
}

export interface RouteEntry {
  kind: 'route';
  /** CIDR. */
  dst: string;
  metric: number;
  /** Absent: nothing of the subnet may leave the host, senders are told so (`unreachable`). */
  dev?: string;
  via?: string;
  onlink?: boolean;
}

/** Permanent. */
export interface NeighbourEntry {
  kind: 'neighbour';
  dev: string;
  address: string;
  mac: string;
}

export interface FdbEntry {
  kind: 'fdb';
  dev: string;
  mac: string;
  /** The host behind which the MAC is. */
  dst: string;
  /** L2: in the bridge's database too, towards the device. */
  inBridge: boolean;
}

export type Entry = AddressEntry | RouteEntry | NeighbourEntry | FdbEntry;

/** By keyOf(). */
export type Entries = ReadonlyMap<string, Entry>;

export interface HostState {
  bridge?: Bridge;
  device?: Device;
  entries: Entries;
}

/** Two entries with one key cannot be in a kernel at the same time. */
export function keyOf(entry: Entry): string {
  switch (entry.kind) {
    case 'address':
      return `address ${entry.address} ${entry.dev}`;
    case 'route':
      return `route ${entry.dst} ${entry.metric}`;
    case 'neighbour':
      return `neighbour ${entry.address} ${entry.dev}`;
    case 'fdb':
      return `fdb ${entry.mac} ${entry.dev}`;
  }
}

export function entriesOf(list: Iterable<Entry>): Map<string, Entry> {
  return new Map(Array.from(list, (entry) => [keyOf(entry), entry]));
}

/** For messages. */
export function wordsOf(entry: Entry): string {
  switch (entry.kind) {
    case 'address':
      return `address ${entry.address} on ${entry.dev}`;
    case 'route':
      return entry.dev === undefined
        ? `unreachable route to ${entry.dst}`
        : `route to ${entry.dst}${entry.via === undefined ? '' : ` via ${entry.via}`} dev ${entry.dev}`;
    case 'neighbour':
      return `neighbour ${entry.address} at ${entry.mac} dev ${entry.dev}`;
    case 'fdb':
      return `FDB entry ${entry.mac} to ${entry.dst} dev ${entry.dev}`;
  }
}

/** Whether an entry goes with a link. */
export function isOn(entry: Entry, link: string): boolean {
  return entry.dev === link;
}

/** Whether two entries of one key are the same. What is not said is not so. */
export function sameEntry(a: Entry, b: Entry): boolean {
  switch (a.kind) {
    case 'address':
      return true;
    case 'route':
      return b.kind === a.kind && a.dev === b.dev && a.via === b.via && !a.onlink === !b.onlink;
    case 'neighbour':
      return b.kind === a.kind && a.mac === b.mac;
    case 'fdb':
      return b.kind === a.kind && a.dst === b.dst && a.inBridge === b.inBridge;
  }
}
