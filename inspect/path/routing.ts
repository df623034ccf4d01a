/** Where a packet goes next, as net/ipv4/fib_rules.c, fib_trie.c and net/ipv6/route.c decide it. */
import { type Address, contains, lengthOf, parseAddress, parsePrefix } from '../../cni/prefix.ts';
import { AF_INET, AF_INET6 } from '../../netlink/codec.ts';
import type { Link } from '../../netlink/link.ts';
import type { Route } from '../../netlink/route.ts';
import type { PolicyRule } from '../../netlink/rule.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { Tuple } from './hop.ts';
import { protocolNumber } from './packet.ts';

/** What is asked. Links by name, as policy rules have them; `lo` came in what the host itself sends. */
export interface RouteQuestion {
  tuple: Pick<Tuple, 'family' | 'destination'> & Partial<Tuple>;
  iif?: string | undefined;
  oif?: string | undefined;
  mark?: number;
}

export interface RouteDecision {
  kind: 'unicast' | 'local' | 'broadcast' | 'multicast' | 'blackhole' | 'unreachable' | 'prohibit' | 'none';
  route?: Route;
  link?: Link;
  rule?: PolicyRule;
  /** All that the route may send it to; one is taken by a hash of the packet. */
  choices: readonly Route[];
}

/** RTN_* (linux/rtnetlink.h). */
const KINDS: Readonly<Record<number, RouteDecision['kind'] | 'throw'>> = {
  1: 'unicast',
  2: 'local',
  3: 'broadcast',
  4: 'local',
  5: 'multicast',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
  9: 'throw',
};
const RTNH_F_DEAD = 1;

/** Every address and prefix is read once a question: a table may be long. */
function reader(destination: string): (prefix: string) => boolean {
  const address = parseAddress(destination);
  return (prefix) => address !== undefined && inPrefix(address, prefix);
}

function inPrefix(address: Address, text: string): boolean {
  const prefix = parsePrefix(text);
  return prefix !== undefined && contains(prefix, address);
}

/** Whether an address is in a prefix; false where either is none. */
export function within(address: string, prefix: string): boolean {
  if (address === prefix) return true;
  if (!prefix.includes('/')) return false;
  const found = parseAddress(address);
  return found !== undefined && inPrefix(found, prefix);
}

/** Asks the policy rules in order, and the tables they name. */
export function lookUp(snapshot: Snapshot, question: RouteQuestion): RouteDecision {
  const group = groupOf(question.tuple);
  if (group !== undefined) return { kind: group, choices: [] };
  const family = question.tuple.family === 4 ? AF_INET : AF_INET6;
  const rules = snapshot.policy.filter((rule) => rule.family === family);
  for (let at = 0; at < rules.length; at += 1) {
    const rule = ofVrf(snapshot, rules[at], question);
    if (rule === undefined || !ruleMatches(rule, question)) continue;
    if (rule.action === 'goto') {
      const next = rules.findIndex(({ priority }) => priority === rule.target);
      if (next > at) at = next - 1;
      continue;
    }
    if (rule.action === 'nothing' || rule.action === 'unknown') continue;
    if (rule.action !== 'table') return { kind: rule.action, rule, choices: [] };
    const found = inTable(snapshot, rule, family, question);
    if (found !== undefined) return found;
  }
  return { kind: 'none', choices: [] };
}

/** A rule for links of VRFs names no table: it is that of the VRF (net/l3mdev/l3mdev.c). Undefined: it is about none of this packet's. */
function ofVrf(
  { links }: Snapshot,
  rule: PolicyRule | undefined,
  { iif, oif }: RouteQuestion,
): PolicyRule | undefined {
  if (!rule?.l3mdev) return rule;
  for (const name of [oif, iif]) {
    const link = links.find((one) => one.name === name);
    const device = [link, links.find(({ index }) => index === link?.master)].find(
      (one) => one?.kind === 'vrf',
    );
    if (device?.vrf?.table !== undefined) return { ...rule, table: device.vrf.table };
  }
  return undefined;
}

/** What IPv4 has no routes for in its tables, but knows (ip_route_output_key_hash_rcu); IPv6 has them there. */
function groupOf({ family, destination }: RouteQuestion['tuple']): 'multicast' | 'broadcast' | undefined {
  if (family !== 4) return undefined;
  if (destination === '255.255.255.255') return 'broadcast';
  const first = Number.parseInt(destination, 10);
  return first >= 224 && first < 240 ? 'multicast' : undefined;
}

function ruleMatches(rule: PolicyRule, { tuple, iif, oif, mark = 0 }: RouteQuestion): boolean {
  const between = (value: number | undefined, range: { from: number; to: number } | undefined) =>
    range === undefined || (value !== undefined && value >= range.from && value <= range.to);
  const matches =
    (rule.from === undefined || (tuple.source !== undefined && within(tuple.source, rule.from))) &&
    (rule.to === undefined || within(tuple.destination, rule.to)) &&
    (rule.iif === undefined || rule.iif === iif) &&
    (rule.oif === undefined || rule.oif === oif) &&
    (rule.mark === undefined || ((mark ^ rule.mark.value) & rule.mark.mask) === 0) &&
    (rule.ipProtocol === undefined ||
      (tuple.protocol !== undefined && protocolNumber(tuple.protocol) === rule.ipProtocol)) &&
    between(tuple.sourcePort, rule.sourcePorts) &&
    between(tuple.destinationPort, rule.destinationPorts) &&
    rule.tos === 0;
  return matches !== rule.not;
}

/** The longest prefix, and of those with the same the lowest metric. Undefined: the next rule is asked. */
function inTable(
  snapshot: Snapshot,
  rule: PolicyRule,
  family: number,
  { tuple, oif }: RouteQuestion,
): RouteDecision | undefined {
  const matches = reader(tuple.destination);
  let best: Route[] = [];
  for (const route of snapshot.routes) {
    if (route.table !== rule.table || route.family !== family || !usable(snapshot, route, oif)) continue;
    const [first] = best;
    const order = first === undefined ? -1 : compare(route, first);
    if (order > 0 || !matches(route.dst)) continue;
    best = order < 0 ? [route] : [...best, route];
  }
  const [route] = best;
  if (route === undefined) return undefined;
  if (rule.suppressPrefixLength !== undefined && lengthOf(route.dst) <= rule.suppressPrefixLength)
    return undefined;
  const kind = KINDS[route.type] ?? 'none';
  if (kind === 'throw') return undefined;
  const link = snapshot.links.find(({ index }) => index === route.link);
  return { kind, route, rule, choices: best, ...(link && { link }) };
}

function compare(a: Route, b: Route): number {
  return lengthOf(b.dst) - lengthOf(a.dst) || (a.priority ?? 0) - (b.priority ?? 0);
}

function usable(snapshot: Snapshot, route: Route, oif: string | undefined): boolean {
  if ((route.flags & RTNH_F_DEAD) !== 0) return false;
  if (route.link === undefined) return oif === undefined;
  const link = snapshot.links.find(({ index }) => index === route.link);
  // The kernel takes a local address whatever link it is on.
  const local = KINDS[route.type] === 'local' || KINDS[route.type] === 'broadcast';
  return link !== undefined && (local || (link.up && (oif === undefined || link.name === oif)));
}

/** `local`, `unicast`, ...: what rules ask by `fib daddr type` and `addrtype`. The local table alone knows. */
export function addressType(snapshot: Snapshot, address: string, family: 4 | 6): string {
  const { kind } = lookUp(snapshot, { tuple: { family, destination: address } });
  return kind === 'none' ? 'unreachable' : kind;
}

export function isLocal(snapshot: Snapshot, address: string): boolean {
  return addressType(snapshot, address, address.includes(':') ? 6 : 4) === 'local';
}

/** The source that the kernel gives a packet which is sent this way and has none (inet_select_addr, ipv6_dev_get_saddr). */
export function sourceFor(
  snapshot: Snapshot,
  { route, link, kind }: RouteDecision,
  destination: string,
): string | undefined {
  if (route?.source !== undefined) return route.source;
  if (kind === 'local') return destination;
  return (
    addressOn(snapshot, link?.index, route?.gateway ?? destination) ??
    addressOn(snapshot, undefined, destination)
  );
}

/** An address of a link (of any, where none is given) from which a next hop is spoken to; also what masquerade takes. */
export function addressOn(snapshot: Snapshot, link: number | undefined, nextHop: string): string | undefined {
  const family = nextHop.includes(':') ? AF_INET6 : AF_INET;
  const linkLocal = (address: string) => /^fe[89ab]/i.test(address);
  const candidates = snapshot.addresses.filter(
    (one) =>
      one.family === family &&
      (link === undefined ? one.scope === 0 : one.link === link) &&
      (link === undefined || one.scope < 254) &&
      !one.deprecated &&
      !(one.tentative && !one.optimistic) &&
      (family === AF_INET || linkLocal(one.address) === linkLocal(nextHop)),
  );
  const same = candidates.find(({ cidr }) => within(nextHop, cidr));
  return (same ?? candidates[0])?.address;
}
