/** The steps of a packet as hops, in the words and the shape of the prediction. */
import type { Link } from '../../netlink/link.ts';
import { NOBODY } from '../owner.ts';
import { chainOwner } from '../owners.ts';
import type { Packet } from '../packet/decode.ts';
import type { Hop, Place, Tuple } from '../path/hop.ts';
import { protocolNumber, sameTuple } from '../path/packet.ts';
import type { Ruleset } from '../ruleset/model.ts';
import { isEcho, type Way } from './flow.ts';
import type { Step } from './merge.ts';
import type { ObservedHop, SeenPacket, SeenRule } from './request.ts';
import { findRule } from './rule-words.ts';

/** What is known of a namespace besides what was seen. */
export interface Known {
  links: ReadonlyMap<string, Link>;
  ruleset: Ruleset | undefined;
}

export interface HopContext {
  way: Way;
  /** When observing began, in nanoseconds since 1970. */
  start: bigint;
  known: (place: Place) => Known | undefined;
}

/** Addresses and ports of what people mean by the packet: within a tunnel, the inner one; of an echo, no identifier. */
export function tupleOf(packet: Packet): Tuple | undefined {
  const tuple = packet.vxlan?.inner.tuple ?? packet.tuple;
  return tuple && withoutIdentifier(tuple);
}

function withoutIdentifier(tuple: Tuple): Tuple {
  if (!isEcho(protocolNumber(tuple.protocol))) return tuple;
  const { sourcePort: _, destinationPort: __, ...rest } = tuple;
  return rest;
}

export function hopsOf(steps: readonly Step[], context: HopContext): ObservedHop[] {
  const hops: ObservedHop[] = [];
  let tuple: Tuple | undefined;
  steps.forEach((step, i) => {
    const found = 'seen' in step ? tupleOf(step.seen.packet) : step.rule.packet && tupleOf(step.rule.packet);
    const before = tuple;
    tuple = found ?? tuple;
    if (tuple === undefined) return;
    if (before !== undefined && !sameTuple(before, tuple)) rewrite(hops, before, tuple);
    const made =
      'seen' in step
        ? linkHops(step.seen, seenBefore(steps, i, step.seen.place), context)
        : ruleHops(step.rule, context);
    const at = Number((step.at - context.start) / 1000n);
    for (const hop of made)
      hops.push({ ...hop, tuple: hop.tuple ?? tuple, at, way: context.way } as ObservedHop);
  });
  return hops;
}

/** The last sight of it in this namespace. */
function seenBefore(steps: readonly Step[], i: number, place: Place): SeenPacket | undefined {
  const step = steps.slice(0, i).findLast((each) => 'seen' in each);
  return step && 'seen' in step && step.seen.place.namespace === place.namespace ? step.seen : undefined;
}

/** Says where addresses changed: at the last rule of a nat chain, else by connection tracking alone. */
function rewrite(hops: ObservedHop[], before: Tuple, after: Tuple): void {
  const last = hops.at(-1);
  if (last === undefined) return;
  const nat = hops.findLast(
    (hop) => hop.kind === 'rule' && hop.place.namespace === last.place.namespace && TRANSLATES.test(hop.text),
  );
  if (nat !== undefined && nat.rewritten === undefined && sameTuple(nat.tuple, before)) {
    nat.rewritten = after;
    return;
  }
  const end = before.destination !== after.destination || before.destinationPort !== after.destinationPort;
  const { place, at, way } = last;
  hops.push({
    ...{ place, way, kind: 'translate', tuple: before, rewritten: after },
    ...{ end: end ? 'destination' : 'source', known: true },
    ...(at === undefined ? {} : { at }),
    words: 'rewritten as the known conversation says',
  });
}

const TRANSLATES = /\b(?:[ds]nat|masquerade|redirect|SNAT|DNAT|MASQUERADE|REDIRECT|NETMAP)\b/;

/** `tuple` where it is another than the packet's own. */
type Made = Omit<Hop, 'tuple'> & { tuple?: Tuple };

function linkHops(seen: SeenPacket, before: SeenPacket | undefined, context: HopContext): Made[] {
  const { place, link, direction, packet, length } = seen;
  const known = context.known(place);
  const found = known?.links.get(link);
  const hop: Made = {
    ...{ place, kind: 'link', link, direction, length, words: `${direction} ${link}, ${length} bytes` },
    ...(found === undefined ? {} : { mtu: found.mtu }),
  } as Made;
  if (packet.vxlan !== undefined && packet.tuple !== undefined) {
    const { vni } = packet.vxlan;
    const device = [...(known?.links.values() ?? [])].find(({ vxlan }) => vxlan?.vni === vni)?.name;
    const { source, destination } = packet.tuple;
    const words = `in a tunnel, VNI ${vni}, from ${source} to ${destination}`;
    const tunnel = { place, kind: 'tunnel', link: device ?? link, outer: packet.tuple, vni, words } as Made;
    const isKnown = before?.packet.vxlan !== undefined;
    const outer = { ...hop, tuple: packet.tuple };
    if (isKnown) return [outer];
    return direction === 'out' ? [tunnel, outer] : [outer, tunnel];
  }
  const bridge = bridged(seen, before, known);
  return bridge === undefined ? [hop] : [bridge, hop];
}

/** Out by one port of a bridge, right after it came in by another. */
function bridged(
  seen: SeenPacket,
  before: SeenPacket | undefined,
  known: Known | undefined,
): Made | undefined {
  if (before?.direction !== 'in' || seen.direction !== 'out') return undefined;
  const [from, to] = [known?.links.get(before.link), known?.links.get(seen.link)];
  if (from?.master === undefined || from.master !== to?.master) return undefined;
  const bridge = [...(known?.links.values() ?? [])].find(({ index }) => index === from.master)?.name;
  if (bridge === undefined) return undefined;
  const words = `bridge ${bridge}, from ${from.name} to ${to.name}`;
  return { place: seen.place, kind: 'bridge', bridge, in: from.name, out: to.name, words } as Made;
}

/** Where a chain ends without a verdict, nothing was decided; and an accepting policy is the end of every base chain. */
function ruleHops(seen: SeenRule, context: HopContext): Made[] {
  const { place, family, table, chain, what, handle, position, verdict } = seen;
  if (what === 'return' || (what === 'policy' && verdict === 'accept')) return [];
  const found = findRule(context.known(place)?.ruleset, seen);
  const number = handle === undefined ? `rule ${position ?? '?'}` : `rule with handle ${handle}`;
  const text = what === 'policy' ? `policy ${verdict}` : (found.rule?.text ?? number);
  const words = `${family} ${table} ${chain}: ${text}`;
  return [
    {
      ...{ place, kind: 'rule', family, table, chain, text, words, verdict },
      hook: seen.hook ?? found.chain?.base?.hook ?? '',
      owner: found.rule?.owner ?? (found.table && chainOwner(found.table, chain)) ?? NOBODY,
      ...(handle === undefined ? {} : { handle }),
    } as Made,
  ];
}
