/** Which packets belong to what is observed, and which of them are one and the same packet at different places. */

import { parseIp } from '../../netlink/codec.ts';
import type { Bytes, TraceRule } from '../../netlink/nftables-trace.ts';
import type { Packet } from '../packet/decode.ts';
import { PROTOCOL } from '../packet/decode.ts';
import type { Tuple } from '../path/hop.ts';
import { protocolNumber } from '../path/packet.ts';

/** What a packet of the way there looks like; absent fields are not looked at. The way back is the same turned round. */
export type Pattern = Partial<Pick<Tuple, 'source' | 'destination' | 'sourcePort' | 'destinationPort'>>;

export interface Flow {
  family: 4 | 6;
  /** IANA's number. */
  protocol: number;
  /** Any of them. */
  patterns: readonly Pattern[];
  /** Ports on which VXLAN is spoken, through which the flow may go. */
  tunnels: readonly number[];
}

export type Way = 'there' | 'back';

/** Marked packets a second, for each rule and hook: enough to see a flow, too few to hurt a host. */
export const TRACES_PER_SECOND = 20;

/** Requests and replies: RFC 792, RFC 4443. */
const ECHO_TYPES = [8, 0, 128, 129];

function fits(tuple: Tuple, pattern: Pattern): boolean {
  return Object.entries(pattern).every(
    ([field, value]) => value === undefined || tuple[field as keyof Pattern] === value,
  );
}

export function turned<T extends Pattern>(tuple: T): T {
  const { source, destination, sourcePort, destinationPort, ...rest } = tuple;
  const ends: Pattern = {
    ...(destination === undefined ? {} : { source: destination }),
    ...(source === undefined ? {} : { destination: source }),
    ...(destinationPort === undefined ? {} : { sourcePort: destinationPort }),
    ...(sourcePort === undefined ? {} : { destinationPort: sourcePort }),
  };
  return { ...rest, ...ends } as T;
}

/** Whether a packet belongs to the flow; errors about a packet of it go the other way. Through a tunnel, its inner packet counts. */
export function wayOf(flow: Flow, packet: Packet): Way | undefined {
  if (packet.vxlan !== undefined) return wayOf(flow, packet.vxlan.inner);
  const { tuple, icmp } = packet;
  if (icmp?.about !== undefined) {
    const about = wayOf(flow, icmp.about);
    return about && (about === 'there' ? 'back' : 'there');
  }
  if (tuple === undefined || tuple.family !== flow.family) return undefined;
  if (protocolNumber(tuple.protocol) !== flow.protocol) return undefined;
  // Who asks for a neighbour of IPv6 speaks ICMP, too, and between the same addresses.
  if (isEcho(flow.protocol) && !ECHO_TYPES.includes(icmp?.type ?? -1)) return undefined;
  // An echo's number is not in a reply's source, nor the other way round: a reply never looks like a request.
  if (flow.patterns.some((pattern) => fits(tuple, pattern))) return isReply(packet) ? 'back' : 'there';
  return flow.patterns.some((pattern) => fits(turned(tuple), pattern)) ? 'back' : undefined;
}

/** Whether it comes back to the port (or echo identifier) that the other one came from. */
export function isAnswerTo(question: Packet, packet: Packet): boolean {
  const port = (question.vxlan?.inner ?? question).tuple?.sourcePort;
  const { icmp, tuple } = packet.vxlan?.inner ?? packet;
  return (icmp?.about === undefined ? tuple?.destinationPort : icmp.about.tuple?.sourcePort) === port;
}

function isReply({ icmp }: Packet): boolean {
  return icmp?.type === 0 || icmp?.type === 129;
}

/**
 * What stays the same of a packet on its whole way, whatever rewrites its addresses and ports: TCP's numbers, the sender's number of an
 * IPv4 packet, an echo's sequence, the length.
 */
export function fingerprint(packet: Packet): string {
  const inner = packet.vxlan?.inner ?? packet;
  const { ip, tcp, udp, icmp } = inner;
  const parts = [ip?.protocol, ip?.family === 4 ? ip.id : undefined];
  if (tcp !== undefined) parts.push(tcp.flags, tcp.sequence, tcp.acknowledgement);
  if (udp !== undefined) parts.push(udp.length);
  if (icmp !== undefined) parts.push(icmp.type, icmp.code, icmp.sequence);
  return parts.map((part) => part ?? '').join(':');
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

/** Where a packet has what a pattern says: RFC 791, RFC 8200; ports, or an echo's identifier. */
function patternBytes({ family, protocol }: Flow, pattern: Pattern, type: number | undefined): Bytes[] {
  const found: Bytes[] = [];
  const [source, destination] = family === 4 ? [12, 16] : [8, 24];
  const add = (base: Bytes['base'], offset: number, is: Uint8Array | undefined) => {
    if (is !== undefined) found.push({ base, offset, is });
  };
  add('network', source, pattern.source === undefined ? undefined : parseIp(pattern.source));
  add('network', destination, pattern.destination === undefined ? undefined : parseIp(pattern.destination));
  if (isEcho(protocol)) {
    const id = pattern.sourcePort ?? pattern.destinationPort;
    if (type !== undefined) add('transport', 0, Uint8Array.of(type));
    add('transport', 4, id === undefined ? undefined : u16(id));
  } else {
    add('transport', 0, pattern.sourcePort === undefined ? undefined : u16(pattern.sourcePort));
    add('transport', 2, pattern.destinationPort === undefined ? undefined : u16(pattern.destinationPort));
  }
  return found;
}

export function isEcho(protocol: number): boolean {
  return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
}

/** What nf_tables is to mark, both ways. Errors about the flow are not among it. */
export function traceRules(flow: Flow): TraceRule[] {
  const [request, reply] = isEcho(flow.protocol) ? (flow.family === 4 ? [8, 0] : [128, 129]) : [];
  return flow.patterns.flatMap((pattern) => [
    { protocol: flow.protocol, bytes: patternBytes(flow, pattern, request) },
    { protocol: flow.protocol, bytes: patternBytes(flow, turned(pattern), reply) },
  ]);
}
