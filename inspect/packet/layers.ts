/** A packet's headers for people, one after the other, through a tunnel where there is one. */
import { decodeFrame, type Packet, VXLAN_PORT } from './decode.ts';

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

const ETHER: Readonly<Record<number, string>> = { 2048: 'IPv4', 2054: 'ARP', 34525: 'IPv6' };
const PROTOCOL: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};
const ICMP: Readonly<Record<number, string>> = {
  0: 'echo reply',
  3: 'destination unreachable',
  8: 'echo request',
};
const ICMP6: Readonly<Record<number, string>> = {
  1: 'destination unreachable',
  2: 'packet too big',
  128: 'echo request',
  129: 'echo reply',
  135: 'neighbour solicitation',
  136: 'neighbour advertisement',
};
const TCP_FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'] as const;

/** What is cut off or unknown ends the list. `port`: the one that VXLAN is spoken on. */
export function layersOf(frame: Uint8Array, port = VXLAN_PORT): Layer[] {
  return layers(decodeFrame(frame, [port]), 'outer');
}

function layers({ ether, ip, icmp, tcp, udp, tuple, vxlan }: Packet, part: Layer['part']): Layer[] {
  const found: Layer[] = [];
  const add = (name: string, from: string | number, to: string | number, more: string) =>
    found.push({ part, name, from: `${from}`, to: `${to}`, more });
  const { sourcePort = '', destinationPort = '' } = tuple ?? {};
  if (ether !== undefined) add('Ethernet', ether.source, ether.destination, named(ETHER, ether.type));
  if (ip !== undefined) {
    const life = ip.family === 4 ? 'TTL' : 'hop limit';
    const more = `${named(PROTOCOL, ip.protocol)}, ${life} ${ip.ttl}, ${ip.length} bytes`;
    add(`IPv${ip.family}`, ip.source, ip.destination, more);
  }
  if (icmp !== undefined) {
    const [name, types] = ip?.family === 4 ? ['ICMP', ICMP] : ['ICMPv6', ICMP6];
    const echo = icmp.id === undefined ? '' : `, id ${icmp.id}, sequence ${icmp.sequence}`;
    add(name, '', '', named(types, icmp.type) + echo);
  }
  if (tcp !== undefined) {
    const flags = TCP_FLAGS.filter((_, bit) => tcp.flags & (1 << bit));
    add('TCP', sourcePort, destinationPort, `${flags.join(' ')}, ${tcp.data} bytes of data`);
  }
  if (udp !== undefined) {
    const checksum = udp.hasChecksum ? 'checksum' : 'no checksum';
    add('UDP', sourcePort, destinationPort, `${udp.length} bytes, ${checksum}`);
  }
  if (vxlan === undefined) return found;
  const tunnel = { part: 'tunnel', name: 'VXLAN', from: '', to: '', more: `VNI ${vxlan.vni}` } as const;
  return [...found, tunnel, ...layers(vxlan.inner, 'inner')];
}

function named(table: Readonly<Record<number, string>>, number: number): string {
  return table[number] ?? `${number}`;
}
