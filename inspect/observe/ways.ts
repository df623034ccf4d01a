/** The way there and the way back, from the sender to where it ended. */
import type { Link } from '../../netlink/link.ts';
import type { Place, Tuple } from '../path/hop.ts';
import { tupleWords } from '../path/packet.ts';
import { placeWords } from '../path/world.ts';
import type { FoundDrop } from './drops.ts';
import { type Flow, type Way, wayOf } from './flow.ts';
import { type HopContext, hopsOf, type Known, tupleOf } from './hops.ts';
import { firstOf, type Step, type Surroundings, stepsOf } from './merge.ts';
import type { Answer, ObservedHop, SeenPacket, SeenRule, Site } from './request.ts';
import { rankOf } from './rule-words.ts';

/** All that was gathered. */
export interface Gathered {
  flow: Flow;
  packets: readonly SeenPacket[];
  rules: readonly SeenRule[];
  drops: readonly FoundDrop[];
  answer: Answer;
  sender: Site | undefined;
  /** What the probe was, as far as it is known; it may never have come to a link. */
  sent: Tuple | undefined;
  /** Nanoseconds since 1970. */
  start: bigint;
  sites: readonly (Site & { links: ReadonlyMap<number, Link> })[];
}

/** Reasons (include/net/dropreason-core.h) that people meet, in words; others as the kernel names them. */
const REASONS: Readonly<Record<string, string>> = {
  NO_SOCKET: 'nobody listens there',
  IP_NOPROTO: 'nothing there speaks this protocol',
  NETFILTER_DROP: 'a rule dropped it',
  IP_RPFILTER: 'rp_filter: the answer would go another way',
  IP_OUTNOROUTES: 'no route',
  IP_INNOROUTES: 'no route',
  IP_INADDRERRORS: 'not for this host, and forwarding is off',
  NEIGH_FAILED: 'the next hop does not answer ARP or neighbour discovery',
  NEIGH_CREATEFAIL: 'no room for another neighbour',
  NEIGH_QUEUEFULL: 'too many packets wait for this neighbour',
  PKT_TOO_BIG: 'larger than the MTU, and must not be fragmented',
  OTHERHOST: 'its hardware address is that of another host',
  VXLAN_VNI_NOT_FOUND: 'no vxlan link here has this VNI',
  LOCAL_MAC: 'comes from a MAC address of our own',
  NO_TX_TARGET: 'a bridge or tunnel knows nobody to send it to',
  IP_LOCAL_SOURCE: 'comes from outside with an address of our own',
  IP_INVALID_SOURCE: 'its source address is none that may come in here',
  QDISC_DROP: 'a queue discipline dropped it',
  TC_INGRESS: 'a filter of tc dropped it',
  TC_EGRESS: 'a filter of tc dropped it',
  XDP: 'an XDP program dropped it',
  TCP_CSUM: 'wrong checksum',
  UDP_CSUM: 'wrong checksum',
  IP_CSUM: 'wrong checksum',
  TCP_LISTEN_OVERFLOW: 'the program does not accept connections as fast as they come',
  BRIDGE_INGRESS_STP_STATE: 'the bridge port does not forward (spanning tree)',
  DEV_READY: 'the link is down',
};

/** The kernel's reason with what it means. */
export function reasonWords(reason: string): string {
  const words = REASONS[reason];
  return words === undefined ? `the kernel dropped it: ${reason}` : `${words} (${reason})`;
}

export function waysOf(gathered: Gathered): ObservedHop[] {
  return [...there(gathered), ...back(gathered)];
}

function there(gathered: Gathered): ObservedHop[] {
  const { packets, rules, flow, sender, sent } = gathered;
  const first = firstOf(packets, 'there');
  // What a rule of output dropped was on no link.
  const packet =
    first?.packet ?? rules.find((each) => each.packet && wayOf(flow, each.packet) === 'there')?.packet;
  const tuple = (packet && tupleOf(packet)) ?? sent;
  if (tuple === undefined) return [];
  const way = 'there';
  const steps =
    packet === undefined ? [] : stepsOf({ packet, way, flow }, packets, rules, surroundings(gathered));
  const hops = hopsOf(steps, context(gathered, way));
  const at = hops[0]?.at ?? 0;
  if (sender !== undefined)
    hops.unshift({ place: sender.place, tuple, way, at, kind: 'send', words: `sends ${tupleWords(tuple)}` });
  return [...hops, ...ending(gathered, way, steps, hops)];
}

function back(gathered: Gathered): ObservedHop[] {
  const { packets, rules, flow } = gathered;
  const packet = firstOf(packets, 'back')?.packet;
  if (packet === undefined) return [];
  const steps = stepsOf({ packet, way: 'back', flow }, packets, rules, surroundings(gathered));
  const hops = hopsOf(steps, context(gathered, 'back'));
  return [...hops, ...ending(gathered, 'back', steps, hops)];
}

/** Given up, or delivered; nothing where nobody knows. */
function ending(
  gathered: Gathered,
  way: Way,
  steps: readonly Step[],
  hops: readonly ObservedHop[],
): ObservedHop[] {
  const last = hops.at(-1);
  const seen = steps.flatMap((step) => ('seen' in step ? [step.seen] : [])).at(-1);
  if (last === undefined || (last.kind === 'rule' && last.verdict === 'drop')) return [];
  if (way === 'back' && seen !== undefined && isSender(gathered, seen.place))
    return [deliver(last, seen.place)];
  const drop = gathered.drops.findLast(({ packet }) => packet !== undefined && packet === seen);
  const own = seen === undefined ? gathered.drops.at(-1) : undefined;
  const found = drop ?? own;
  const common = { tuple: last.rewritten ?? last.tuple, way } as const;
  if (found !== undefined) {
    const { reason, place = last.place } = found;
    const at = Number((found.at - startOf(gathered)) / 1000n);
    return [{ ...common, place, at, kind: 'drop', reason, words: reasonWords(reason) }];
  }
  if (seen?.direction !== 'out') {
    const asked = unanswered(gathered.packets, seen?.place ?? last.place, seen?.at ?? gathered.start);
    if (asked !== undefined)
      return [{ ...common, place: last.place, kind: 'drop', reason: 'NEIGH_FAILED', words: asked }];
  }
  const isAnswered = way === 'there' && seen?.direction === 'in' && answersAt(gathered, seen.place);
  return isAnswered && seen ? [deliver(last, seen.place)] : [];
}

/** A hardware address that this namespace asks for in vain, in words. */
function unanswered(packets: readonly SeenPacket[], place: Place, since: bigint): string | undefined {
  const here = packets.filter((each) => each.way === undefined && each.place.namespace === place.namespace);
  const asked = new Map<string, { link: string; count: number }>();
  for (const { direction, link, packet, at } of here) {
    const { arp, icmp } = packet.vxlan?.inner ?? packet;
    const target = arp && !arp.isReply ? arp.target : icmp?.type === 135 ? icmp.target : undefined;
    if (target !== undefined && direction === 'out' && at >= since)
      asked.set(target, { link, count: (asked.get(target)?.count ?? 0) + 1 });
    const answered = arp?.isReply ? arp.source : icmp?.type === 136 ? icmp.target : undefined;
    if (answered !== undefined) asked.delete(answered);
  }
  const [found] = asked;
  if (found === undefined) return undefined;
  const [target, { link, count }] = found;
  const times = count === 1 ? 'once' : `${count} times`;
  return `nobody on ${link} has ${target}: asked for its hardware address ${times}, no answer`;
}

function deliver(last: ObservedHop, place: Place): ObservedHop {
  const { way, at = 0, tuple, rewritten = tuple } = last;
  return { place, way, at, tuple: rewritten, kind: 'deliver', words: `delivered to ${placeWords(place)}` };
}

function isSender({ sender }: Gathered, place: Place): boolean {
  return sender?.place.namespace === place.namespace;
}

/** Whether what came back began there, and is no error that the network itself tells. */
function answersAt({ packets, answer }: Gathered, place: Place): boolean {
  const first = firstOf(packets, 'back');
  const isError = answer.kind === 'icmp' && !/^(port|protocol) /.test(answer.words);
  return first?.place.namespace === place.namespace && !isError;
}

function startOf({ packets, start }: Gathered): bigint {
  return firstOf(packets, 'there')?.at ?? start;
}

function context(gathered: Gathered, way: Way): HopContext {
  return { way, start: startOf(gathered), known: knownOf(gathered) };
}

function knownOf({ sites }: Gathered): (place: Place) => Known | undefined {
  const all = new Map(
    sites.map((site) => {
      const links = new Map([...site.links.values()].map((link) => [link.name, link]));
      return [site.place.namespace, { links, ruleset: site.ruleset }];
    }),
  );
  return ({ namespace }) => all.get(namespace);
}

function surroundings(gathered: Gathered): Surroundings {
  const known = knownOf(gathered);
  return {
    ports: (place, name) => {
      const links = known(place)?.links;
      const index = links?.get(name)?.index;
      return [...(links?.values() ?? [])]
        .filter(({ master }) => master !== undefined && master === index)
        .map((link) => link.name);
    },
    rank: (rule) => rankOf(known(rule.place)?.ruleset, rule),
  };
}
