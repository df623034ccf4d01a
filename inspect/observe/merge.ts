/** One packet's way out of what was seen of it: on links, by rules, in several namespaces. */

import type { Packet } from '../packet/decode.ts';
import type { Place } from '../path/hop.ts';
import { type Flow, fingerprint, type Way, wayOf } from './flow.ts';
import type { SeenPacket, SeenRule } from './request.ts';

/** What one packet did, in order. */
export type Step = { seen: SeenPacket; at: bigint } | { rule: SeenRule; at: bigint };

/** Nanoseconds; the same packet on the same link later than that is a repetition. A bridge may send a frame to two ports at once. */
const REPETITION = 150_000_000n;

/** The first packet that goes this way. When a probe is sent, its own kernel sees it first. */
export function firstOf(packets: readonly SeenPacket[], way: Way): SeenPacket | undefined {
  return packets
    .filter((seen) => seen.way === way)
    .reduce<SeenPacket | undefined>(
      (first, seen) => (first && first.at <= seen.at ? first : seen),
      undefined,
    );
}

/** What is known of the links and rules that names and numbers stand for. */
export interface Surroundings {
  /** Names of a bridge's ports; none for another link. */
  ports(place: Place, link: string): readonly string[];
  /** Sorts rules that one packet meets at one link; undefined where they were not read. */
  rank(rule: SeenRule): number | undefined;
}

/** All that was seen of one packet, told by what nothing on its way changes, and by the way it goes: an answer may look alike. */
export function stepsOf(
  { packet, way, flow }: { packet: Packet; way: Way; flow: Flow },
  packets: readonly SeenPacket[],
  rules: readonly SeenRule[],
  known: Surroundings,
): Step[] {
  const print = fingerprint(packet);
  const seen = withoutRepetitions(
    packets.filter((each) => each.way === way && fingerprint(each.packet) === print),
  );
  const isIt = (other: Packet) => fingerprint(other) === print && wayOf(flow, other) === way;
  const groups = ranked(
    groupsOf(rules).filter(([first]) => first?.packet && isIt(first.packet)),
    known,
  );
  const items = [
    ...seen.map((each, index) => ({
      key: [each.at, index, 0, 0] as const,
      step: { seen: each, at: each.at },
    })),
    ...groups.flatMap((group, order) => {
      const key = placeOf(group, seen, known);
      return group.map((rule) => ({ key: [...key, order] as const, step: { rule, at: key[0] } }));
    }),
  ];
  // Sorting is stable: the rules of a group stay in their order.
  items.sort((a, b) => compare(a.key, b.key));
  return items.map(({ step }) => step);
}

/** They come in order by one socket; by two (legacy iptables has its own), the hook and its priority say it. */
function ranked(groups: SeenRule[][], known: Surroundings): SeenRule[][] {
  const ranks = new Map(groups.map((group) => [group, group[0] && known.rank(group[0])]));
  if ([...ranks.values()].includes(undefined)) return groups;
  return [...groups].sort((a, b) => (ranks.get(a) ?? 0) - (ranks.get(b) ?? 0));
}

type Key = readonly [at: bigint, index: number, side: number, order: number];

function compare(a: Key, b: Key): number {
  if (a[0] !== b[0]) return a[0] < b[0] ? -1 : 1;
  return a[1] - b[1] || a[2] - b[2] || a[3] - b[3];
}

/** Packets of one namespace come in order; time stamps may be equal. */
function withoutRepetitions(packets: readonly SeenPacket[]): SeenPacket[] {
  const known = new Map<string, bigint>();
  return packets.filter(({ place, link, direction, packet, at }) => {
    const inner = packet.vxlan?.inner ?? packet;
    const key = [place.namespace, link, direction, inner.ip?.ttl, packet.vxlan?.vni].join(' ');
    const first = known.get(key);
    if (first === undefined) known.set(key, at);
    return first === undefined || at - first < REPETITION;
  });
}

/** Events of one walk through one base chain: the first of them has the packet. */
function groupsOf(rules: readonly SeenRule[]): SeenRule[][] {
  const groups: SeenRule[][] = [];
  const open = new Map<string, SeenRule[]>();
  for (const rule of rules) {
    const key = `${rule.place.namespace} ${rule.id}`;
    const group = open.get(key);
    if (rule.packet === undefined && group !== undefined) {
      group.push(rule);
      continue;
    }
    const fresh = [rule];
    open.set(key, fresh);
    groups.push(fresh);
  }
  return groups;
}

/**
 * Netfilter tells no time, but its links: what has an incoming one comes after the packet came in there; what has only an outgoing one,
 * before it left there. A packet that was made here and never left was first of all.
 */
function placeOf(
  [first]: readonly SeenRule[],
  seen: readonly SeenPacket[],
  known: Surroundings,
): readonly [bigint, number, number] {
  const here = seen
    .map((each, index) => ({ each, index }))
    .filter(({ each }) => each.place.namespace === first?.place.namespace);
  // A bridge that calls iptables for what it forwards says that it comes in by itself, which no packet socket sees.
  const on = (direction: 'in' | 'out', link: string) =>
    [[link], first === undefined ? [] : known.ports(first.place, link)]
      .map((names) => here.find(({ each }) => each.direction === direction && names.includes(each.link)))
      .find((found) => found !== undefined);
  const entered = first?.iif === undefined ? undefined : on('in', first.iif);
  if (entered !== undefined) return [entered.each.at, entered.index, 1];
  const left = first?.oif === undefined ? undefined : on('out', first.oif);
  if (left !== undefined) return [left.each.at, left.index, -1];
  const last = here.at(-1);
  if (first?.iif !== undefined && last !== undefined) return [last.each.at, last.index, 1];
  return [seen[0]?.at ?? 0n, -1, 0];
}
