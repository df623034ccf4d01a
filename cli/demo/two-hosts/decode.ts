/**
 * Headers of a captured packet, from Ethernet down to what a container said, through a tunnel where there is one. Only what travels
 * between the simulated hosts: no VLAN tags, no IPv6 extension headers.
 */
import { formatAddress } from '../../../cni/prefix.ts';

/** One header. */
export interface Layer {
  /** `outer` is what the wire between the hosts sees; `inner` is within a tunnel. */
  part: 'outer' | 'tunnel' | 'inner';
  name: string;
  from: string;
  to: string;
  /** Everything else worth knowing: `TTL 63, 84 bytes`. */
  more: string;
}

/** IANA's port for VXLAN (RFC 7348, section 8). */
const VXLAN_PORT = 4789;
const ETHER = { 2048: 'IPv4', 2054: 'ARP', 34525: 'IPv6' } as const;
const PROTOCOL = { 1: 'ICMP', 6: 'TCP', 17: 'UDP', 58: 'ICMPv6' } as const;
const ICMP = { 0: 'echo reply', 3: 'destination unreachable', 8: 'echo request' } as const;
const ICMP6 = {
  1: 'destination unreachable',
  2: 'packet too big',
  128: 'echo request',
  129: 'echo reply',
  135: 'neighbour solicitation',
  136: 'neighbour advertisement',
} as const;
const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'] as const;

/** What is cut off or unknown ends the list: a capture may be of anything. */
export function decodeFrame(frame: Uint8Array, port = VXLAN_PORT): Layer[] {
  const layers: Layer[] = [];
  ethernet(new View(frame), { layers, part: 'outer', port });
  return layers;
}

interface Walk {
  layers: Layer[];
  part: Layer['part'];
  port: number;
}

/** A window on bytes that says how many it has. */
class View {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.#bytes.length;
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at);
  }

  u24(at: number): number {
    return (this.u16(at) << 8) | this.u8(at + 2);
  }

  u32(at: number): number {
    return this.#view.getUint32(at);
  }

  from(at: number, end?: number): View {
    return new View(this.#bytes.subarray(at, end));
  }

  mac(at: number): string {
    return [...this.#bytes.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  }

  /** Throws RangeError when it is cut off. */
  address(at: number, family: 4 | 6): string {
    let value = 0n;
    for (let i = 0; i < (family === 4 ? 4 : 16); i += 1) value = (value << 8n) | BigInt(this.u8(at + i));
    return formatAddress({ family, value });
  }
}

function named<T extends Readonly<Record<number, string>>>(table: T, number: number): string {
  return table[number] ?? `${number}`;
}

function ethernet(view: View, walk: Walk): void {
  if (view.length < 14) return;
  const type = view.u16(12);
  const more = named(ETHER, type);
  walk.layers.push({ part: walk.part, name: 'Ethernet', from: view.mac(6), to: view.mac(0), more });
  if (type === 0x0800) ipv4(view.from(14), walk);
  if (type === 0x86dd) ipv6(view.from(14), walk);
}

/** RFC 791, section 3.1. */
function ipv4(view: View, walk: Walk): void {
  if (view.length < 20) return;
  const total = view.u16(2);
  const protocol = view.u8(9);
  const notFirst = (view.u16(6) & 0x1fff) !== 0;
  walk.layers.push({
    ...{ part: walk.part, name: 'IPv4', from: view.address(12, 4), to: view.address(16, 4) },
    more: `${named(PROTOCOL, protocol)}, TTL ${view.u8(8)}, ${total} bytes`,
  });
  // A segment that the sender leaves to its network card may have no length.
  if (!notFirst) transport(view.from((view.u8(0) & 15) * 4, total || undefined), protocol, walk);
}

/** RFC 8200, section 3. */
function ipv6(view: View, walk: Walk): void {
  if (view.length < 40) return;
  const payload = view.u16(4);
  const next = view.u8(6);
  walk.layers.push({
    ...{ part: walk.part, name: 'IPv6', from: view.address(8, 6), to: view.address(24, 6) },
    more: `${named(PROTOCOL, next)}, hop limit ${view.u8(7)}, ${payload + 40} bytes`,
  });
  transport(view.from(40, payload === 0 ? undefined : 40 + payload), next, walk);
}

function transport(view: View, protocol: number, walk: Walk): void {
  if (view.length < 8) return;
  if (protocol === 1 || protocol === 58) icmp(view, protocol === 1 ? ICMP : ICMP6, walk);
  if (protocol === 6) tcp(view, walk);
  if (protocol === 17) udp(view, walk);
}

/** RFC 792, RFC 4443: echo messages have an identifier and a sequence number. */
function icmp(view: View, types: Readonly<Record<number, string>>, walk: Walk): void {
  const type = named(types, view.u8(0));
  const echo = type.startsWith('echo') ? `, id ${view.u16(4)}, sequence ${view.u16(6)}` : '';
  const name = types === ICMP ? 'ICMP' : 'ICMPv6';
  walk.layers.push({ part: walk.part, name, from: '', to: '', more: type + echo });
}

/** RFC 9293, section 3.1. */
function tcp(view: View, walk: Walk): void {
  if (view.length < 20) return;
  const flags = TCP_FLAGS.filter((_, bit) => view.u8(13) & (1 << bit));
  const data = view.length - (view.u8(12) >> 4) * 4;
  const more = `${flags.join(' ')}, ${data} bytes of data`;
  walk.layers.push({ part: walk.part, name: 'TCP', from: `${view.u16(0)}`, to: `${view.u16(2)}`, more });
}

function udp(view: View, walk: Walk): void {
  const more = `${view.u16(4)} bytes, ${view.u16(6) === 0 ? 'no checksum' : 'checksum'}`;
  walk.layers.push({ part: walk.part, name: 'UDP', from: `${view.u16(0)}`, to: `${view.u16(2)}`, more });
  if (view.u16(2) === walk.port) vxlan(view.from(8), walk);
}

/** RFC 7348, section 5: flags with I set, then the network's identifier in 24 bits. */
function vxlan(view: View, walk: Walk): void {
  if (view.length < 8 || (view.u8(0) & 0x08) === 0) return;
  walk.layers.push({ part: 'tunnel', name: 'VXLAN', from: '', to: '', more: `VNI ${view.u24(4)}` });
  ethernet(view.from(8), { ...walk, part: 'inner' });
}
