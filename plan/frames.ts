/**
 * Announcements of an address, as Ethernet frames: neighbours that still have the address of a former container in their caches
 * learn the new MAC at once.
 */
import { familyOf, parsePrefix } from './prefix.ts';

const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const BROADCAST = [255, 255, 255, 255, 255, 255];

const word = (value: number) => [(value >> 8) & 0xff, value & 0xff];

function macBytes(mac: string): number[] {
  return mac.split(':').map((byte) => Number.parseInt(byte, 16));
}

/** RFC 826; RFC 5227, section 3: an announcement has the same sender and target address. `operation`: 1 request, 2 reply. */
function arpFrame(mac: readonly number[], address: readonly number[], operation: 1 | 2): Uint8Array {
  const target = operation === 1 ? [0, 0, 0, 0, 0, 0] : BROADCAST;
  const ethernet = [...BROADCAST, ...mac, ...word(ETH_P_ARP)];
  const fixed = [...word(1), ...word(0x0800), 6, 4, ...word(operation)];
  return Uint8Array.from([...ethernet, ...fixed, ...mac, ...address, ...target, ...address]);
}

/** RFC 1071 over the pseudo header (RFC 8200, section 8.1) and the ICMPv6 message. */
function icmp6Checksum(
  source: readonly number[],
  target: readonly number[],
  body: readonly number[],
): number {
  const ICMPV6 = 58;
  const bytes = [...source, ...target, 0, 0, ...word(body.length), 0, 0, 0, ICMPV6, ...body];
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Unsolicited neighbour advertisement to all nodes, override set (RFC 4861, sections 4.4 and 7.2.6). */
function neighbourAdvertisement(mac: readonly number[], address: readonly number[]): Uint8Array {
  const allNodes = [0xff, 0x02, ...Array<number>(13).fill(0), 1];
  const OVERRIDE = 0x20;
  const TARGET_LINK_LAYER_ADDRESS = 2;
  const message = (checksum: number) => [
    ...[136, 0, ...word(checksum), OVERRIDE, 0, 0, 0, ...address],
    ...[TARGET_LINK_LAYER_ADDRESS, 1, ...mac],
  ];
  const body = message(icmp6Checksum(address, allNodes, message(0)));
  const header = [0x60, 0, 0, 0, ...word(body.length), 58, 255, ...address, ...allNodes];
  return Uint8Array.from([0x33, 0x33, 0, 0, 0, 1, ...mac, ...word(ETH_P_IPV6), ...header, ...body]);
}

/** The frames that announce `address` (no prefix length) at `mac`: two for IPv4 (request and reply form), one for IPv6. */
export function announcements(mac: string, address: string): Uint8Array[] {
  const { bytes } = parsePrefix(address);
  const from = macBytes(mac);
  if (familyOf(address) === 6) return [neighbourAdvertisement(from, bytes)];
  return [arpFrame(from, bytes, 1), arpFrame(from, bytes, 2)];
}
