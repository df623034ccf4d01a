/** The steps of a packet as hops, in the words and the shape of the prediction. */
import type { Link } from '../../netlink/link.ts';
import type { Owner } from '../owner.ts';
import type { Packet } from '../packet/decode.ts';
import type { Hop, Place, Tuple } from '../path/hop.ts';
import { protocolNumber, sameTuple } from '../path/packet.ts';
import type { Chain, Rule, Ruleset, Table } from '../ruleset/model.ts';
import { isEcho, type Way } from './flow.ts';
import type { Step } from './merge.ts';
import type { ObservedHop, SeenPacket, SeenRule } from './request.ts';

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

const NOBODY: Owner = { who: 'somebody else' };

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
      'seen' in step ? linkHops(step.seen, steps[i - 1], context, tuple) : ruleHops(step.rule, context);
    const at = Number((step.at - context.start) / 1000n);
    for (const hop of made)
      hops.push({ ...hop, tuple: hop.tuple ?? tuple, at, way: context.way } as ObservedHop);
  });
  return hops;
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

function linkHops(seen: SeenPacket, previous: Step | undefined, context: HopContext, _tuple: Tuple): Made[] {
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
    const before = previous && 'seen' in previous ? previous.seen : undefined;
    const isKnown = before?.packet.vxlan !== undefined && before.place.namespace === place.namespace;
    const outer = { ...hop, tuple: packet.tuple };
    if (isKnown) return [outer];
    return direction === 'out' ? [tunnel, outer] : [outer, tunnel];
  }
  const bridge = bridged(seen, previous, known);
  return bridge === undefined ? [hop] : [bridge, hop];
}

/** Out by one port of a bridge, right after it came in by another. */
function bridged(seen: SeenPacket, previous: Step | undefined, known: Known | undefined): Made | undefined {
  const before = previous && 'seen' in previous ? previous.seen : undefined;
  if (before === undefined || before.place.namespace !== seen.place.namespace) return undefined;
  if (before.direction !== 'in' || seen.direction !== 'out') return undefined;
  const [from, to] = [known?.links.get(before.link), known?.links.get(seen.link)];
  if (from?.master === undefined || from.master !== to?.master) return undefined;
  const bridge = [...(known?.links.values() ?? [])].find(({ index }) => index === from.master)?.name;
  if (bridge === undefined) return undefined;
  const words = `bridge ${bridge}, from ${from.name} to ${to.name}`;
  return { place: seen.place, kind: 'bridge', bridge, in: from.name, out: to.name, words } as Made;
}

/** Where a chain ends without a verdict, nothing was decided. */
function ruleHops(seen: SeenRule, context: HopContext): Made[] {
  const { place, family, table, chain, what, handle, position, verdict } = seen;
  if (what === 'return') return [];
  const found = findRule(context.known(place)?.ruleset, seen);
  // An accepting policy is the end of every chain, and says nothing.
  if (what === 'policy' && verdict === 'accept') return [];
  const number = handle === undefined ? `rule ${position ?? '?'}` : `rule with handle ${handle}`;
  const text = what === 'policy' ? `policy ${verdict}` : (found.rule?.text ?? number);
  const words = `${family} ${table} ${chain}: ${text}`;
  return [
    {
      ...{ place, kind: 'rule', family, table, chain, text, words, verdict },
      hook: found.chain?.base?.hook ?? '',
      owner: found.rule?.owner ?? NOBODY,
      ...(handle === undefined ? {} : { handle }),
    } as Made,
  ];
}

interface FoundRule {
  table?: Table | undefined;
  chain?: Chain | undefined;
  rule?: Rule | undefined;
}

/** By handle; legacy iptables' by position. */
function findRule(ruleset: Ruleset | undefined, seen: SeenRule): FoundRule {
  const legacy = seen.position !== undefined;
  const table = ruleset?.tables.find(
    ({ variant, family, name }) =>
      family === seen.family && name === seen.table && (variant === 'iptables-legacy') === legacy,
  );
  const chain = table?.chains.find(({ name }) => name === seen.chain);
  const rule = chain?.rules.find((each) =>
    legacy ? each.position === seen.position : each.handle === seen.handle,
  );
  return { table, chain, rule };
}
