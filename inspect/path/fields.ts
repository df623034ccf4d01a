/** What a rule sees when it looks at a packet: the value of each field, under every name that it may be compared by. */
import type { Link } from '../../netlink/link.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { Field, HookName } from '../ruleset/model.ts';
import { type Packet, protocolNumber } from './packet.ts';
import { addressType, lookUp } from './routing.ts';
import { STATUS } from './tracking.ts';

/** Where the packet is while rules are asked. */
export interface HookView {
  snapshot: Snapshot;
  hook: HookName;
  packet: Packet;
  iif?: Link | undefined;
  oif?: Link | undefined;
  /** Ports of a bridge. */
  physin?: Link | undefined;
  physout?: Link | undefined;
}

type Names = readonly (string | number)[];

/**
 * All names of a field's value; none where the packet has no such thing (a port of ICMP), undefined where nobody knows (the mark of a
 * connection that is not there).
 */
export function valuesOf(view: HookView, field: Field): Names | undefined {
  const read = READERS[field];
  return read(view);
}

const READERS: Readonly<Record<Field, (view: HookView) => Names | undefined>> = {
  saddr: ({ packet }) => [packet.tuple.source],
  daddr: ({ packet }) => [packet.tuple.destination],
  sport: ({ packet }) => given(packet.tuple.sourcePort),
  dport: ({ packet }) => given(packet.tuple.destinationPort),
  protocol: ({ packet }) => [packet.tuple.protocol, protocolNumber(packet.tuple.protocol)],
  family: ({ packet }) => (packet.tuple.family === 4 ? ['ipv4', 2] : ['ipv6', 10]),
  iifname: ({ iif }) => [iif?.name ?? ''],
  oifname: ({ oif }) => [oif?.name ?? ''],
  iiftype: ({ iif }) => linkType(iif),
  oiftype: ({ oif }) => linkType(oif),
  physin: ({ physin }) => [physin?.name ?? ''],
  physout: ({ physout }) => [physout?.name ?? ''],
  etherSource: ({ packet }) => (packet.frame.source === undefined ? undefined : [packet.frame.source]),
  etherDestination: ({ packet }) =>
    packet.frame.destination === undefined ? undefined : [packet.frame.destination],
  etherType: ({ packet }) => (packet.tuple.family === 4 ? ['ip', 0x0800] : ['ip6', 0x86dd]),
  mark: ({ packet }) => [packet.mark],
  ctState: ({ packet }) => connectionState(packet),
  ctStatus: ({ packet }) => connectionStatus(packet),
  ctMark: ({ packet }) => (packet.tracked ? [packet.tracked.entry.mark] : [0]),
  ctDirection: ({ packet }) => directionNames(packet),
  ctOriginalSource: ({ packet }) => given(packet.tracked?.entry.original.source),
  ctOriginalDestination: ({ packet }) => given(packet.tracked?.entry.original.destination),
  ctOriginalDport: ({ packet }) => given(packet.tracked?.entry.original.destinationPort),
  sourceType: ({ snapshot, packet: { tuple } }) => [addressType(snapshot, tuple.source, tuple.family)],
  destinationType: ({ snapshot, packet: { tuple } }) => [
    addressType(snapshot, tuple.destination, tuple.family),
  ],
  sourceLink,
  icmpType: ({ packet }) => icmpType(packet),
  tcpFlags: ({ packet }) =>
    packet.tuple.protocol === 'tcp' ? [packet.part === 'request' ? SYN : SYN | ACK] : [],
  length: ({ packet }) => [packet.length],
};

const SYN = 2;
const ACK = 16;
/** NF_CT_STATE_BIT and neighbours (linux/netfilter/nf_tables.h, NFT_CT_STATE). */
const STATE_BITS = { established: 2, new: 8, untracked: 64 } as const;

function given(value: string | number | undefined): Names {
  return value === undefined ? [] : [value];
}

function linkType(link: Link | undefined): Names {
  if (link === undefined) return [];
  return link.type === 772 ? ['loopback', 772] : link.type === 1 ? ['ether', 1] : [link.type];
}

/** iptables says of the state what nft says of the status: `--ctstate DNAT`. */
function connectionState(packet: Packet): Names {
  const { tracked, untracked } = packet;
  if (untracked) return ['untracked', STATE_BITS.untracked];
  if (tracked === undefined) return ['invalid', 1];
  const nat = statusNames(packet).filter((name) => name === 'dnat' || name === 'snat');
  return [tracked.state, STATE_BITS[tracked.state], ...nat];
}

function statusNames({ tracked }: Packet): string[] {
  if (tracked === undefined) return [];
  const { status } = tracked.entry;
  const all = Object.entries(STATUS).filter(([, bit]) => (status & bit) !== 0);
  return all.map(([name]) => (name === 'seenReply' ? 'seen-reply' : name));
}

function connectionStatus(packet: Packet): Names {
  return packet.tracked === undefined ? [] : [packet.tracked.entry.status, ...statusNames(packet)];
}

function directionNames({ tracked }: Packet): Names {
  if (tracked === undefined) return [];
  return tracked.direction === 'original' ? ['original', 0] : ['reply', 1];
}

/** Reverse path filters written as rules: `fib saddr . iif oif missing drop`. */
function sourceLink({ snapshot, packet: { tuple, mark }, iif }: HookView): Names {
  const found = lookUp(snapshot, {
    tuple: { family: tuple.family, destination: tuple.source, source: tuple.destination },
    ...(iif && { oif: iif.name }),
    mark,
  });
  const { link } = found;
  return found.kind === 'unicast' && link !== undefined ? [link.name, link.index] : ['0', 0, ''];
}

function icmpType({ tuple: { protocol }, part }: Packet): Names {
  if (protocol === 'icmp') return part === 'request' ? [8, 'echo-request'] : [0, 'echo-reply'];
  if (protocol === 'icmpv6') return part === 'request' ? [128, 'echo-request'] : [129, 'echo-reply'];
  return [];
}
