/** A lease as weft keeps it, and when what is to be done about it. Pure. */
import type { Dns, Route } from '../../cni/types.ts';
import type { Grant, Held, Identity, Way } from './client.ts';

export const FORMAT = 'weft dhcp lease 1';

/** One file. Times are seconds since boot: no clock that somebody sets makes a lease older or younger, and sleep counts. */
export interface Lease {
  format: typeof FORMAT;
  network: string;
  containerId: string;
  ifname: string;
  /** Path of the container's network namespace, and what was there: `dev:inode`. */
  netns: string;
  sandbox: string;
  /** The kernel's boot id. */
  boot: string;
  /** Options by number, values in hexadecimal digits; and numbers. */
  provided: [number, string][];
  requested: number[];
  /** CIDR notation. */
  address: string;
  gateway?: string;
  routes: Route[];
  dns: Dns;
  server: string;
  /** Hexadecimal digits. */
  serverMac: string;
  /** When it was asked for last with success; seconds after that, null for a lease without end. */
  obtained: number;
  seconds: number | null;
  t1: number | null;
  t2: number | null;
  /** The server has taken it back: the container uses what is not its own. */
  lost?: string;
}

export const heldOf = ({ address, server, serverMac }: Lease): Held => ({
  address: address.split('/', 1)[0] ?? '',
  server,
  serverMac: Buffer.from(serverMac, 'hex'),
});

export const identityOf = ({ provided, requested }: Lease): Identity => ({
  provided: new Map(provided.map(([code, digits]) => [code, Buffer.from(digits, 'hex')])),
  requested,
});

const finite = (seconds: number) => (Number.isFinite(seconds) ? seconds : null);

/** The parts of a lease that come with every grant. */
export function granted({ terms, serverMac }: Grant, asked: number) {
  const { address, gateway, routes, dns, server, seconds, t1, t2 } = terms;
  return {
    ...{ address, routes, dns, server, obtained: asked },
    ...(gateway !== undefined && { gateway }),
    ...{ seconds: finite(seconds), t1: finite(t1), t2: finite(t2) },
    serverMac: Buffer.from(serverMac).toString('hex'),
  };
}

/** As a client that has no lease: from the beginning, but for the same address. */
export type Need = Way | 'anew';

/** What has to be asked by now; undefined: nothing. `late` is when the way that comes after begins, in seconds since boot. */
export function needOf(lease: Lease, now: number): { need: Need; late: number } | undefined {
  const { obtained, seconds, t1, t2 } = lease;
  if (lease.lost !== undefined) return { need: 'anew', late: Infinity };
  if (seconds === null || t1 === null || t2 === null || now < obtained + t1) return undefined;
  if (now < obtained + t2) return { need: 'renew', late: obtained + t2 };
  if (now < obtained + seconds) return { need: 'rebind', late: obtained + seconds };
  return { need: 'reboot', late: Infinity };
}

/** When it is to be looked at first, in seconds since boot; Infinity for a lease without end. */
export function dueOf({ obtained, t1, lost }: Lease): number {
  if (lost !== undefined) return 0;
  return t1 === null ? Infinity : obtained + t1;
}

export function expiryOf({ obtained, seconds }: Lease): number {
  return seconds === null ? Infinity : obtained + seconds;
}

/** Seconds; RFC 2131, section 4.4.5, asks for one minute, which short leases do not have. */
const PAUSE = 60;

/** When to ask again after silence: half of what is left of this phase, but not all the time. In seconds since boot. */
export function againAt(lease: Lease, late: number, now: number): number {
  const shortest = Math.min(PAUSE, Math.max(1, (lease.t1 ?? PAUSE) / 4));
  if (!Number.isFinite(late)) return now + shortest;
  return Math.min(late, now + Math.max(shortest, (late - now) / 2));
}
