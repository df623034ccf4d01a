/** To which Ethernet address the next hop is sent (net/core/neighbour.c). */
import type { Link } from '../../netlink/link.ts';
import type { Neighbour } from '../../netlink/neighbour.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { Packet } from './packet.ts';
import { type Endpoint, segmentBehind, whoHas } from './segment.ts';
import { whySilent } from './silence.ts';
import { drop, type End, pass, placeWords, type Walk } from './world.ts';

const IFF_NOARP = 0x80;
const ETHERNET = 1;
/** NUD_* (linux/neighbour.h). */
const STATES: readonly (readonly [number, string])[] = [
  [0x80, 'permanent'],
  [0x40, 'noarp'],
  [0x20, 'failed'],
  [0x02, 'reachable'],
  [0x04, 'stale'],
  [0x08, 'delay'],
  [0x10, 'probe'],
  [0x01, 'incomplete'],
];

export function stateWords(state: number): string {
  return STATES.find(([bit]) => (state & bit) !== 0)?.[1] ?? 'none';
}

/** The packet with the Ethernet addresses that it leaves with, or the end of its way. */
export function resolve(
  walk: Walk,
  snapshot: Snapshot,
  link: Link,
  nextHop: string,
  packet: Packet,
): { packet: Packet } | { end: End } {
  if (link.loopback || link.type !== ETHERNET || (link.flags & IFF_NOARP) !== 0) return { packet };
  const entry = snapshot.neighbours.find(
    (one) => one.link === link.index && one.address === nextHop && !one.proxy,
  );
  const withMac = (mac: string | undefined) => ({
    packet: { ...packet, frame: { source: link.mac, destination: mac } },
  });
  const hop = (state: string, words: string, mac: string | undefined) =>
    pass(walk, snapshot.identity, packet, words, {
      kind: 'neighbour',
      ...{ link: link.name, address: nextHop, state },
      ...(mac === undefined ? {} : { mac }),
    });
  if (entry?.mac !== undefined && !entry.failed) {
    const state = stateWords(entry.state);
    hop(state, `neighbour ${nextHop} is ${entry.mac} (${state})`, entry.mac);
    return withMac(entry.mac);
  }
  return ask(walk, { snapshot, link, nextHop, packet, entry }, hop, withMac);
}

interface Asking {
  snapshot: Snapshot;
  link: Link;
  nextHop: string;
  packet: Packet;
  entry: Neighbour | undefined;
}

function ask(
  walk: Walk,
  { snapshot, link, nextHop, packet, entry }: Asking,
  hop: (state: string, words: string, mac: string | undefined) => void,
  withMac: (mac: string | undefined) => { packet: Packet },
): { packet: Packet } | { end: End } {
  if (isAsker(walk, snapshot, link, nextHop)) {
    walk.assumptions.add(`${nextHop} is there, and answers`);
    hop('none', `neighbour ${nextHop}: who asked`, undefined);
    return withMac(undefined);
  }
  const segment = segmentBehind(walk.world, snapshot.identity, link);
  const answers = whoHas(walk.world, segment, nextHop);
  const [first] = answers;
  const state = entry === undefined ? 'none' : stateWords(entry.state);
  const before = entry === undefined ? 'not known yet' : `${state} until now`;
  if (first !== undefined) {
    sayIfSeveral(walk, answers, nextHop);
    hop(state, `neighbour ${nextHop} (${before}): asked, ${first.link.mac} answers`, first.link.mac);
    return withMac(first.link.mac);
  }
  if (segment.open.length > 0 && !entry?.failed) {
    walk.assumptions.add(
      `somebody beyond ${segment.open.map(({ link }) => link.name).join(', ')} answers for ${nextHop}`,
    );
    hop(state, `neighbour ${nextHop} (${before}): asked on ${link.name}`, undefined);
    return withMac(undefined);
  }
  const asked = entry?.failed ? 'nobody answers' : 'nobody there has that address';
  const reason = `neighbour ${nextHop} on ${link.name}: ${asked}`;
  const version = packet.tuple.family === 4 ? 'ARP' : 'neighbour discovery';
  const why =
    `${placeWords(walk.world.placeOf(snapshot.identity))} asks for ${nextHop} on ${link.name} (${version}), and ${asked}: ` +
    (whySilent(walk.world, snapshot.identity, link, nextHop) ??
      `is the address right, is its owner up and on the same network? See "ip neigh show ${nextHop}"`);
  return { end: drop(walk, { namespace: snapshot.identity, packet }, reason, why, { outcome: 'lost' }) };
}

/** Who is said to ask from outside is taken to be there, though nobody sees it. */
function isAsker({ question }: Walk, { identity }: Snapshot, { index }: Link, address: string): boolean {
  return question.link === index && question.namespace === identity && question.tuple.source === address;
}

function sayIfSeveral(walk: Walk, answers: readonly Endpoint[], address: string): void {
  const places = new Set(answers.map(({ namespace }) => namespace));
  if (places.size < 2) return;
  const names = [...places].map((one) => placeWords(walk.world.placeOf(one)));
  walk.notes.add(
    `${address} is there ${places.size} times, at ${names.join(' and ')}: whoever answers first gets the packets`,
  );
}
