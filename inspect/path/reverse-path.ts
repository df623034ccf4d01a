/** What the kernel holds against where a packet comes from (net/ipv4/fib_frontend.c, fib_validate_source; route.c, martians). */
import type { Link } from '../../netlink/link.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { Here } from './layer3.ts';
import type { Packet } from './packet.ts';
import { lookUp, type RouteDecision, within } from './routing.ts';
import { drop, type End, placeWords } from './world.ts';

/** Of IPv4 only: IPv6 has no such check but in rules. */
export function reverseProblem(
  here: Here,
  link: Link,
  packet: Packet,
  decision: RouteDecision,
): End | undefined {
  const { tuple } = packet;
  if (tuple.family !== 4) return undefined;
  const { snapshot } = here;
  const localnet = setting(snapshot, link, 'route_localnet') === 1;
  if (within(tuple.destination, '127.0.0.0/8') && !localnet)
    return martian(
      here,
      packet,
      `${tuple.destination} comes in by ${link.name}`,
      `net.ipv4.conf.${link.name}.route_localnet is 0`,
    );
  if (within(tuple.source, '127.0.0.0/8') && !localnet)
    return martian(
      here,
      packet,
      `source ${tuple.source} comes in by ${link.name}`,
      'localhost stays in its host',
    );
  if (decision.kind !== 'unicast' && decision.kind !== 'local') return undefined;
  const marked = setting(snapshot, link, 'src_valid_mark') === 1;
  const back = lookUp(snapshot, {
    tuple: { ...tuple, source: tuple.destination, destination: tuple.source },
    iif: link.name,
    mark: marked ? packet.mark : 0,
  });
  if (back.kind === 'local' && setting(snapshot, link, 'accept_local') !== 1) {
    return martian(
      here,
      packet,
      `source ${tuple.source} is an address of this host itself`,
      `it comes in by ${link.name}: somebody else has the same address, or a packet of the host came back`,
    );
  }
  return filtered(here, link, packet, back);
}

/** IPv6's localhost comes in by no link, whatever is set, and before any rule is asked (net/ipv6/ip6_input.c). */
export function localhost6(here: Here, link: Link, packet: Packet): End | undefined {
  const { source, destination } = packet.tuple;
  const what =
    source === '::1' ? `source ${source}` : destination === '::1' ? `destination ${destination}` : undefined;
  if (what === undefined) return undefined;
  const because =
    source === '::1'
      ? 'localhost stays in its host: IPv6 has no route_localnet. Ask at another address of the host'
      : 'localhost stays in its host';
  return martian(here, packet, `${what} comes in by ${link.name}`, because);
}

/** Of `all` and the link's own the larger counts; for what is a switch, either. */
function setting({ sysctls }: Snapshot, link: Link, name: string): number {
  return Math.max(...['all', link.name].map((one) => sysctls.get(`ipv4/conf/${one}/${name}`) ?? 0));
}

function filtered(here: Here, link: Link, packet: Packet, back: RouteDecision): End | undefined {
  const mode = setting(here.snapshot, link, 'rp_filter');
  if (mode === 0) return undefined;
  const known = back.kind === 'unicast' || back.kind === 'local';
  const same = back.choices.some((route) => route.link === link.index) || back.link?.index === link.index;
  if (known && (same || mode === 2)) return undefined;
  const other = back.link === undefined ? 'nowhere' : `through ${back.link.name}`;
  const { source } = packet.tuple;
  const reason = `reverse path filter: ${source} comes in by ${link.name}, but its way back is ${other}`;
  const why =
    `${placeWords(here.walk.world.placeOf(here.snapshot.identity))} drops it silently (net.ipv4.conf.${link.name}.rp_filter, or that of all, is ${mode}): ` +
    `${source} comes in by ${link.name}, but the way back to it is ${other}. ` +
    (mode === 1 && known
      ? `"sysctl -w net.ipv4.conf.${link.name}.rp_filter=2" takes any way back; or add the route`
      : 'Add a route to it');
  return drop(here.walk, { namespace: here.snapshot.identity, packet }, reason, why);
}

function martian(here: Here, packet: Packet, what: string, because: string): End {
  const reason = `martian: ${what}`;
  const place = placeWords(here.walk.world.placeOf(here.snapshot.identity));
  return drop(
    here.walk,
    { namespace: here.snapshot.identity, packet },
    reason,
    `${place} drops it silently: ${what}, and ${because}`,
  );
}
