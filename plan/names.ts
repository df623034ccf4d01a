/**
 * Names and addresses of what a plan makes on the host. They are derived, never read back: the same attachment always
 * gets the same, so DEL and GC find what a crashed ADD left, with no state but the kernel's.
 */
import type { AttachmentId } from '../cni/types.ts';
import { hash64, hashWords, type Words } from './hash.ts';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const HEX = '0123456789abcdef';

/** The last `length` base32 digits of a hash; five bits each. */
function digits({ high, low }: Words, length: number): string {
  let text = '';
  for (let at = 0; at < 5 * length; at += 5) {
    const bits = at < 32 ? (low >>> at) | (at > 27 ? high << (32 - at) : 0) : high >>> (at - 32);
    text = `${BASE32[bits & 31]}${text}`;
  }
  return text;
}

/** What the names of all host links of a network start with: `veth` and four characters. */
export function hostLinkPrefix(network: string): string {
  return `veth${digits(hashWords('network', network), 4)}`;
}

/** The host end of an attachment's veth pair: 15 characters, all that the kernel allows (IFNAMSIZ - 1). */
export function hostLinkName(network: string, id: AttachmentId): string {
  return hostLinkPrefix(network) + digits(hashWords('link', network, id.containerId, id.ifname), 7);
}

/** What the names of all ifbs of a network start with. */
export function ifbPrefix(network: string): string {
  return `ifb${digits(hashWords('network', network), 4)}`;
}

/** The ifb that an attachment's traffic takes in one direction, seen from the container: 15 characters. */
export function ifbName(network: string, id: AttachmentId, direction: 'ingress' | 'egress'): string {
  return ifbPrefix(network) + digits(hashWords('ifb', network, id.containerId, id.ifname, direction), 8);
}

/** How many routing tables an attachment has for itself: one for each of its addresses of a family; the last is no address's. */
export const SOURCE_TABLES = 16;

/** The first of an attachment's own routing tables: nine digits, above those that people number by hand. */
export function sourceTables(network: string, id: AttachmentId): number {
  const hash = hash64('tables', network, id.containerId, id.ifname);
  return 100_000_000 + Number(hash % 56_000_000n) * SOURCE_TABLES;
}

/** Locally administered, unicast (IEEE 802, section 8.4). */
function macOf({ high, low }: Words): string {
  const pairs = [((high >>> 8) & 0xfc) | 0x02, high, low >>> 24, low >>> 16, low >>> 8, low];
  let text = '';
  for (const pair of pairs) text += `${text === '' ? '' : ':'}${HEX[(pair >>> 4) & 15]}${HEX[pair & 15]}`;
  return text;
}

export function linkMac(network: string, id: AttachmentId, side: 'host' | 'container'): string {
  return macOf(hashWords('mac', network, id.containerId, id.ifname, side));
}

/** A bridge's own MAC: the same after a reboot, different on every host. */
export function bridgeMac(hostId: string, bridge: string): string {
  return macOf(hashWords('bridge', hostId, bridge));
}

/** A MAC that is the same on every host of a network: that of its gateway, or of whoever has an address of it. */
export function networkMac(network: string, owner: string): string {
  return macOf(hashWords('network', network, owner));
}

/** IFALIASZ - 1, in bytes. */
const LONGEST_ALIAS = 255;

/** Names the owner in `ip link`: `weft <network> <containerId> <ifname>`. */
export function hostLinkAlias(network: string, id: AttachmentId): string {
  const text = `weft ${network} ${id.containerId} ${id.ifname}`;
  if (Buffer.byteLength(text) <= LONGEST_ALIAS) return text;
  const alias = Buffer.from(text);
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
  return macOf(hashWords('tunnel', host, `${vni}`));
}
