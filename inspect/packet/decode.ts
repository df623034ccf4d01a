/**
 * Headers of a captured packet, from Ethernet down to ports, through VXLAN where there is one. What is cut off or unknown is left out: a
 * capture may be of anything. No IPv6 extension headers but fragments' and options'.
 */
import { formatAddress } from '../../cni/prefix.ts';
import type { Tuple } from '../path/hop.ts';

export interface Packet {
  ether?: { source: string; destination: string; type: number };
  /** VLAN identifier of an 802.1Q tag. */
  vlan?: number;
  arp?: { isReply: boolean; source: string; mac: string; target: string };
  ip?: Ip;
  tcp?: { flags: number; sequence: number; acknowledgement: number; data: number };
  udp?: { length: number; hasChecksum: boolean };
  icmp?: Icmp;
  /** Addresses and ports together; an echo's identifier stands as source port of a request, as destination port of a reply. */
  tuple?: Tuple;
  vxlan?: { vni: number; inner: Packet };
}

export interface Ip {
  family: 4 | 6;
  source: string;
  destination: string;
  protocol: number;
  ttl: number;
  /** Bytes, header included. */
  length: number;
  /** IPv4. */
  id?: number;
  /** All but the first have no ports. */
  isLaterFragment: boolean;
}

export interface Icmp {
  type: number;
  code: number;
  /** Echo messages. */
  id?: number;
  sequence?: number;
  /** Errors: the beginning of the packet that they are about. */
  about?: Packet;
  /** Neighbour discovery: whose link-layer address is asked for or told. */
  target?: string;
  /** Packet too big, fragmentation needed: what fits. */
  mtu?: number;
}

/** IANA's port for VXLAN (RFC 7348, section 8). */
export const VXLAN_PORT = 4789;
export const ETHER = { ip: 0x0800, arp: 0x0806, vlan: 0x8100, ip6: 0x86dd } as const;
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const TUPLE_PROTOCOL: Readonly<Record<number, Tuple['protocol']>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  58: 'icmpv6',
  132: 'sctp',
};
/** Headers that may stand between IPv6 and what it carries: hop-by-hop, routing, destination options (RFC 8200, section 4). */
const OPTIONS = [0, 43, 60];
const FRAGMENT = 44;

/** `ports` are those that VXLAN is spoken on. */
export function decodeFrame(frame: Uint8Array, ports: readonly number[] = [VXLAN_PORT]): Packet {
  const packet: Packet = {};
  ethernet(new View(frame), packet, ports);
  return packet;
}

/** From the IP header on. `type` is what Ethernet would say (ETH_P_*). */
export function decodeNetwork(
  bytes: Uint8Array,
  type: number,
  ports: readonly number[] = [VXLAN_PORT],
): Packet {
  const packet: Packet = {};
  network(new View(bytes), type, packet, ports);
  return packet;
}

/** A window on bytes that says how many it has. */
class View {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at);
  }

  u32(at: number): number {
    return this.#view.getUint32(at);
  }

  from(at: number, end?: number): View {
    return new View(this.bytes.subarray(at, end));
  }

  mac(at: number): string {
    return [...this.bytes.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  }

  /** Throws RangeError when it is cut off. */
  address(at: number, family: 4 | 6): string {
    if (family === 4) return [0, 1, 2, 3].map((i) => this.u8(at + i)).join('.');
    let value = 0n;
    for (let i = 0; i < 16; i += 1) value = (value << 8n) | BigInt(this.u8(at + i));
    return formatAddress({ family, value });
  }
}

function ethernet(view: View, packet: Packet, ports: readonly number[]): void {
  if (view.length < 14) return;
  const outer = view.u16(12);
  const tagged = outer === ETHER.vlan && view.length >= 18;
  const type = tagged ? view.u16(16) : outer;
  packet.ether = { source: view.mac(6), destination: view.mac(0), type };
  if (tagged) packet.vlan = view.u16(14) & 0xfff;
  network(view.from(tagged ? 18 : 14), type, packet, ports);
}

function network(view: View, type: number, packet: Packet, ports: readonly number[]): void {
  if (type === ETHER.ip) ipv4(view, packet, ports);
  if (type === ETHER.ip6) ipv6(view, packet, ports);
  if (type === ETHER.arp) arp(view, packet);
}

/** RFC 826, of Ethernet and IPv4. */
function arp(view: View, packet: Packet): void {
  if (view.length < 28 || view.u16(2) !== ETHER.ip) return;
  packet.arp = {
    isReply: view.u16(6) === 2,
    mac: view.mac(8),
    source: view.address(14, 4),
    target: view.address(24, 4),
  };
}

/** RFC 791, section 3.1. */
function ipv4(view: View, packet: Packet, ports: readonly number[]): void {
  if (view.length < 20 || view.u8(0) >> 4 !== 4) return;
  const length = view.u16(2);
  const protocol = view.u8(9);
  const isLaterFragment = (view.u16(6) & 0x1fff) !== 0;
  packet.ip = {
    ...{ family: 4, source: view.address(12, 4), destination: view.address(16, 4), protocol },
    ...{ ttl: view.u8(8), length, id: view.u16(4), isLaterFragment },
  };
  // A segment that the sender leaves to its network card may have no length.
  transport(view.from((view.u8(0) & 15) * 4, length || undefined), packet, packet.ip, ports);
}

/** RFC 8200, section 3. */
function ipv6(view: View, packet: Packet, ports: readonly number[]): void {
  if (view.length < 40 || view.u8(0) >> 4 !== 6) return;
  const payload = view.u16(4);
  let next = view.u8(6);
  let at = 40;
  let isLaterFragment = false;
  while ((OPTIONS.includes(next) || next === FRAGMENT) && at + 8 <= view.length) {
    if (next === FRAGMENT) isLaterFragment = (view.u16(at + 2) & 0xfff8) !== 0;
    const size = next === FRAGMENT ? 8 : (view.u8(at + 1) + 1) * 8;
    next = view.u8(at);
    at += size;
  }
  packet.ip = {
    ...{ family: 6, source: view.address(8, 6), destination: view.address(24, 6), protocol: next },
    ...{ ttl: view.u8(7), length: payload + 40, isLaterFragment },
  };
  transport(view.from(at, payload === 0 ? undefined : 40 + payload), packet, packet.ip, ports);
}

function transport(view: View, packet: Packet, ip: Ip, ports: readonly number[]): void {
  const { family, source, destination, protocol } = ip;
  const tuple: Tuple = { family, source, destination, protocol: TUPLE_PROTOCOL[protocol] ?? protocol };
  packet.tuple = tuple;
  if (ip.isLaterFragment || view.length < 8) return;
  if (protocol === (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) icmp(view, packet, tuple);
  if (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp && protocol !== PROTOCOL.sctp) return;
  tuple.sourcePort = view.u16(0);
  tuple.destinationPort = view.u16(2);
  if (protocol === PROTOCOL.tcp) tcp(view, packet);
  if (protocol === PROTOCOL.udp) udp(view, packet, tuple.destinationPort, ports);
}

/** RFC 792, RFC 4443, RFC 4861. */
function icmp(view: View, packet: Packet, tuple: Tuple): void {
  const isV4 = tuple.family === 4;
  const [type, code] = [view.u8(0), view.u8(1)];
  packet.icmp = { type, code };
  if (isV4 ? type === 8 || type === 0 : type === 128 || type === 129) {
    packet.icmp.id = view.u16(4);
    packet.icmp.sequence = view.u16(6);
    // As connection tracking has it: what comes back is told by the identifier.
    if (type === 8 || type === 128) tuple.sourcePort = view.u16(4);
    else tuple.destinationPort = view.u16(4);
  } else if (isV4 ? [3, 4, 5, 11, 12].includes(type) : type >= 1 && type <= 4) {
    packet.icmp.about = decodeNetwork(view.from(8).bytes, isV4 ? ETHER.ip : ETHER.ip6, []);
    if (isV4 && type === 3 && code === 4) packet.icmp.mtu = view.u16(6);
    if (!isV4 && type === 2) packet.icmp.mtu = view.u32(4);
  } else if (!isV4 && (type === 135 || type === 136) && view.length >= 24) {
    packet.icmp.target = view.address(8, 6);
  }
}

/** RFC 9293, section 3.1. */
function tcp(view: View, packet: Packet): void {
  if (view.length < 20) return;
  const data = Math.max(0, view.length - (view.u8(12) >> 4) * 4);
  packet.tcp = { flags: view.u8(13), sequence: view.u32(4), acknowledgement: view.u32(8), data };
}

function udp(view: View, packet: Packet, port: number, ports: readonly number[]): void {
  packet.udp = { length: view.u16(4), hasChecksum: view.u16(6) !== 0 };
  // RFC 7348, section 5: flags with I set, then the network's identifier in 24 bits.
  if (!ports.includes(port) || view.length < 16 || (view.u8(8) & 0x08) === 0) return;
  const inner: Packet = {};
  ethernet(view.from(16), inner, []);
  packet.vxlan = { vni: view.u32(12) >>> 8, inner };
}
