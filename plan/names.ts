/**
 * Names and addresses of what a plan makes on the host. They are derived, never read back: the same attachment always
 * gets the same, so DEL and GC find what a crashed ADD left, with no state but the kernel's.
 */
import type { AttachmentId } from '../cni/types.ts';
import { hash64 } from './hash.ts';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** The last `length` base32 digits of a hash; five bits each. */
function digits(hash: bigint, length: number): string {
  let text = '';
  for (let i = 0; i < length; i += 1) text = `${BASE32[Number((hash >> BigInt(5 * i)) & 31n)]}${text}`;
  return text;
}

/** What the names of all host links of a network start with: `veth` and four characters. */
export function hostLinkPrefix(network: string): string {
  return `veth${digits(hash64('network', network), 4)}`;
}

/** The host end of an attachment's veth pair: 15 characters, all that the kernel allows (IFNAMSIZ - 1). */
export function hostLinkName(network: string, id: AttachmentId): string {
  return hostLinkPrefix(network) + digits(hash64('link', network, id.containerId, id.ifname), 7);
}

/** What the names of all ifbs of a network start with. */
export function ifbPrefix(network: string): string {
  return `ifb${digits(hash64('network', network), 4)}`;
}

/** The ifb that an attachment's traffic takes in one direction, seen from the container: 15 characters. */
export function ifbName(network: string, id: AttachmentId, direction: 'ingress' | 'egress'): string {
  return ifbPrefix(network) + digits(hash64('ifb', network, id.containerId, id.ifname, direction), 8);
}

/** How many routing tables an attachment has for itself: one for each of its addresses of a family; the last is no address's. */
export const SOURCE_TABLES = 16;

/** The first of an attachment's own routing tables: nine digits, above those that people number by hand. */
export function sourceTables(network: string, id: AttachmentId): number {
  const hash = hash64('tables', network, id.containerId, id.ifname);
  return 100_000_000 + Number(hash % 56_000_000n) * SOURCE_TABLES;
}

/** Locally administered, unicast (IEEE 802, section 8.4). */
function macOf(hash: bigint): string {
  const bytes = Array.from({ length: 6 }, (_, i) => Number((hash >> BigInt(8 * (5 - i))) & 255n));
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function linkMac(network: string, id: AttachmentId, side: 'host' | 'container'): string {
  return macOf(hash64('mac', network, id.containerId, id.ifname, side));
}

/** A bridge's own MAC: the same after a reboot, different on every host. */
export function bridgeMac(hostId: string, bridge: string): string {
  return macOf(hash64('bridge', hostId, bridge));
}

/** A MAC that is the same on every host of a network: that of its gateway, or of whoever has an address of it. */
export function networkMac(network: string, owner: string): string {
  return macOf(hash64('network', network, owner));
}

/** IFALIASZ - 1, in bytes. */
const LONGEST_ALIAS = 255;

/** Names the owner in `ip link`: `weft <network> <containerId> <ifname>`. */
export function hostLinkAlias(network: string, id: AttachmentId): string {
  const alias = new TextEncoder().encode(`weft ${network} ${id.containerId} ${id.ifname}`);
  if (alias.length <= LONGEST_ALIAS) return new TextDecoder().decode(alias);
  return new TextDecoder().decode(alias.subarray(0, LONGEST_ALIAS)).replace(/\uFFFD+$/, '');
}

/**
 * Whose a host link is by its alias: `foreign` when the alias says another network or none of ours, `unknown` when there is no alias
 * (a crash between the link and its alias) or one too long to hold all.
 */
export function aliasNetwork(alias: string | undefined, network: string): 'ours' | 'foreign' | 'unknown' {
  if (!alias) return 'unknown';
  const start = `weft ${network} `;
  if (alias.startsWith(start)) return 'ours';
  return start.startsWith(alias) ? 'unknown' : 'foreign';
}

/** MAC of a host's VXLAN device: every host can tell that of every other, and it is the same after each restart. */
export function tunnelMac(host: string, vni: number): string {
  return macOf(hash64('tunnel', host, `${vni}`));
}
