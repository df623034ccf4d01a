/**
 * Connection tracking as the kernel does it (net/netfilter/nf_conntrack_core.c, nf_nat_core.c): a conversation is known by the tuple
 * that began it and by the one its answers will have, and address translation is the difference between the two.
 */
import type { Connection, Flow } from '../../netlink/conntrack.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { Tuple } from './hop.ts';
import { type Packet, protocolNumber, protocolOf, reversed, sameTuple } from './packet.ts';

/** IPS_SEEN_REPLY, IPS_ASSURED, IPS_SRC_NAT, IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h). */
export const STATUS = { seenReply: 2, assured: 4, confirmed: 8, snat: 16, dnat: 32 } as const;

/** One conversation in one namespace. It is changed while its first packet passes: by the rules for addresses, and by marks. */
export interface Tracked {
  original: Tuple;
  reply: Tuple;
  mark: number;
  status: number;
  /** It was in the kernel's table: the rules for addresses are not asked any more. */
  found: boolean;
  /** Rules for this end of the packet have been asked: the first that rewrites wins, none is an answer as well. */
  asked: { source: boolean; destination: boolean };
}

function tupleOf(family: 4 | 6, flow: Flow): Tuple {
  const ports = flow.sourcePort !== undefined && flow.destinationPort !== undefined;
  return {
    family,
    protocol: protocolOf(flow.protocol),
    source: flow.source,
    destination: flow.destination,
    ...(ports ? { sourcePort: flow.sourcePort, destinationPort: flow.destinationPort } : {}),
  } as Tuple;
}

/** An entry of the kernel's table. */
export function trackedOf({ family, original, reply, mark, status }: Connection): Tracked {
  const version = family === 2 ? 4 : 6;
  return {
    original: tupleOf(version, original),
    reply: tupleOf(version, reply),
    mark,
    status,
    found: true,
    asked: { source: true, destination: true },
  };
}

/**
 * Gives a packet its conversation: one that this prediction has seen begin, one that the kernel has in its table, or a new one,
 * which is added to `own`.
 */
export function track(packet: Packet, own: Tracked[], snapshot: Pick<Snapshot, 'connections'>): Packet {
  if (packet.tracked !== undefined || packet.untracked) return packet;
  const { tuple } = packet;
  for (const entry of own) {
    if (sameTuple(entry.reply, tuple))
      return { ...packet, tracked: { entry, direction: 'reply', state: 'established' } };
    if (sameTuple(entry.original, tuple))
      return { ...packet, tracked: { entry, direction: 'original', state: 'new' } };
  }
  const known = findConnection(tuple, snapshot);
  const entry: Tracked = known?.entry ?? {
    original: tuple,
    reply: reversed(tuple),
    mark: 0,
    status: 0,
    found: false,
    asked: { source: false, destination: false },
  };
  own.push(entry);
  const direction = known?.direction ?? 'original';
  const answered = direction === 'reply' || (entry.status & STATUS.seenReply) !== 0;
  return { ...packet, tracked: { entry, direction, state: answered ? 'established' : 'new' } };
}

/** The kernel's entry for exactly this tuple, in either direction. Of ICMP there is none to be found: its id is not known before. */
export function findConnection(
  tuple: Tuple,
  { connections }: Pick<Snapshot, 'connections'>,
): { entry: Tracked; direction: 'original' | 'reply' } | undefined {
  if (tuple.sourcePort === undefined) return undefined;
  const number = protocolNumber(tuple.protocol);
  for (const connection of connections) {
    const { original, reply } = connection;
    if (original.protocol !== number) continue;
    if (sameFlow(original, tuple)) return { entry: trackedOf(connection), direction: 'original' };
    if (sameFlow(reply, tuple)) return { entry: trackedOf(connection), direction: 'reply' };
  }
  return undefined;
}

function sameFlow(flow: Flow, tuple: Tuple): boolean {
  return (
    flow.source === tuple.source &&
    flow.destination === tuple.destination &&
    flow.sourcePort === tuple.sourcePort &&
    flow.destinationPort === tuple.destinationPort
  );
}

/**
 * The tuple that a packet of a tracked conversation has behind the place where this end is rewritten: the destination before
 * routing, the source behind it (nf_nat_packet).
 */
export function translated({ tuple, tracked }: Packet, end: 'source' | 'destination'): Tuple {
  if (tracked === undefined) return tuple;
  const { entry, direction } = tracked;
  // What answers look like, seen from here.
  const other = direction === 'original' ? entry.reply : entry.original;
  return end === 'destination'
    ? withDestination(tuple, other.source, other.sourcePort)
    : withSource(tuple, other.destination, other.destinationPort);
}

export function withDestination(tuple: Tuple, address: string, port = tuple.destinationPort): Tuple {
  return { ...tuple, destination: address, ...(port === undefined ? {} : { destinationPort: port }) };
}

export function withSource(tuple: Tuple, address: string, port = tuple.sourcePort): Tuple {
  return { ...tuple, source: address, ...(port === undefined ? {} : { sourcePort: port }) };
}
