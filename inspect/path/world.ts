/** What a prediction knows, what it is asked, and what it carries along. Plain data: nothing is read here. */
import type { Link } from '../../netlink/link.ts';
import type { Sketch, Snapshot } from '../host/snapshot.ts';
import type { Owner } from '../owner.ts';
import type { Hop, Path, Place, Tuple } from './hop.ts';
import type { Packet } from './packet.ts';
import type { Tracked } from './tracking.ts';

export interface World {
  /** Every namespace of this machine that could be looked into, by identity. */
  sketches: ReadonlyMap<string, Sketch>;
  /** Those that were read whole. A prediction that needs another one says which, and is made again. */
  snapshots: ReadonlyMap<string, Snapshot>;
  /** How a namespace is called. */
  placeOf(identity: string): Place;
}

export interface Question {
  /** Where it starts; with `link` (index) it comes in by that link instead of being sent there. */
  namespace: string;
  link?: number;
  /** Without a source the kernel's choice is predicted as well. */
  tuple: Omit<Tuple, 'source'> & { source?: string };
  /** Bytes of the IP packet. */
  length: number;
  dontFragment: boolean;
  /** Where it is meant to arrive, where that is known. */
  target?: string;
}

/** Where the packet is, and what happens next. */
export type Step =
  /** A program or the kernel itself sends it. */
  | { at: 'send'; namespace: string; packet: Packet }
  /** It goes out through a link: its hooks are done, its Ethernet addresses known. */
  | { at: 'transmit'; namespace: string; link: Link; packet: Packet }
  /** It comes out of a link, which may be a bridge's port. */
  | { at: 'receive'; namespace: string; link: Link; packet: Packet }
  /** It is handed to the network layer as having come in by this link. */
  | { at: 'input'; namespace: string; link: Link; packet: Packet }
  | End;

export interface End {
  at: 'end';
  namespace: string;
  packet: Packet;
  outcome: Path['outcome'];
  why: string;
  /** The link by which it left the part of the world that can be seen. */
  left?: { link: Link; nextHop: string };
}

export interface Walk {
  world: World;
  question: Question;
  hops: Hop[];
  assumptions: Set<string>;
  notes: Set<string>;
  /** Answers what nobody can know: `usual`, or in another run the opposite. */
  decide(what: string, usual: boolean): boolean;
  /** Conversations that this prediction began, by namespace. */
  tracked: Map<string, Tracked[]>;
}

/** What a hop's kind needs besides what every hop has. */
type HopDetails = Hop extends infer H
  ? H extends Hop
    ? Omit<H, 'place' | 'tuple' | 'words'>
    : never
  : never;

/** Adds a hop to the walk. */
export function pass(
  walk: Walk,
  namespace: string,
  packet: Packet,
  words: string,
  details: HopDetails,
): void {
  walk.hops.push({ place: walk.world.placeOf(namespace), tuple: packet.tuple, words, ...details } as Hop);
}

/** The end of the walk, as a hop where it is a loss. */
export function drop(
  walk: Walk,
  { namespace, packet }: { namespace: string; packet: Packet },
  reason: string,
  why: string,
  more: { owner?: Owner; outcome?: 'dropped' | 'rejected' | 'lost' } = {},
): End {
  const { owner, outcome = 'dropped' } = more;
  pass(walk, namespace, packet, reason, { kind: 'drop', reason, ...(owner && { owner }) });
  return { at: 'end', namespace, packet, outcome, why };
}

export function linkByIndex(sketch: Sketch, index: number | undefined): Link | undefined {
  return index === undefined ? undefined : sketch.links.find((link) => link.index === index);
}

/** The other end of a veth: in the same namespace, or in the one that the survey found; undefined where that is out of view. */
export function otherEnd(
  world: World,
  namespace: string,
  link: Link,
): { namespace: string; link: Link } | undefined {
  const sketch = world.sketches.get(namespace);
  if (sketch === undefined || link.link === undefined) return undefined;
  const there = link.linkNetnsId === undefined ? namespace : sketch.peers.get(link.index);
  const found = there === undefined ? undefined : world.sketches.get(there);
  const other = found && linkByIndex(found, link.link);
  return found === undefined || other === undefined ? undefined : { namespace: found.identity, link: other };
}

/** `this host`, `container web1`, `host2`. */
export function placeWords({ host, container }: Place): string {
  return container === undefined ? host : `container ${container}`;
}
