/** What a host's kernel says of its links to other hosts, and of routes that stand in the way. */
import { canonical, familyOf, hostPrefix, lengthOf, networkOf, overlap } from '../../cni/prefix.ts';
import { type Address, listAddresses } from '../../netlink/address.ts';
import type { Namespace, Reply } from '../../netlink/door.ts';
import { type Link, listLinks } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import { listRoutes, lookupRoute, type Route, RT_TABLE_MAIN } from '../../netlink/route.ts';
import type { Uplink } from './builder.ts';
import { isWithin } from './prefixes.ts';
import { RTPROT_WEFT } from './state.ts';

/** rtnetlink.h: RT_SCOPE_UNIVERSE, RTN_UNICAST. */
const GLOBAL = 0;
const UNICAST = 1;
/** Any public address of each family: only the route to it is looked up, nothing is sent. */
const OUTSIDE = ['1.1.1.1', '2606:4700:4700::1111'];
const NO_ROUTE = ['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL', 'EAFNOSUPPORT', 'EOPNOTSUPP'];
/** Who announces our own subnets in the `bgp` backend (rt_protos): BIRD, FRR's zebra and bgpd. */
const ROUTING_DAEMONS = [12, 11, 186];

export function answerOf<T>(reply: Reply<T>): T {
  if (!reply.ok) throw reply.error;
  return reply.value;
}

/** Those of a host's addresses that are on links, with the links. Pure. */
export function uplinksOf(
  addresses: readonly string[],
  links: readonly Link[],
  found: readonly Address[],
): Uplink[] {
  return addresses.flatMap((text) => {
    const address = found.find((one) => canonical(one.address) === canonical(text));
    const link = links.find(({ index }) => index === address?.link);
    return address && link ? [{ address: address.cidr, dev: link.name, mtu: link.mtu }] : [];
  });
}

/** Those of a host's addresses that are on links, with the links. Throws NetlinkError. */
export async function readUplinks(host: Namespace, addresses: readonly string[]): Promise<Uplink[]> {
  const [links, found] = await host.send(listLinks(), listAddresses());
  return uplinksOf(addresses, answerOf(links), answerOf(found));
}

/**
 * The addresses by which other hosts reach this one, IPv4 first, at most one of each family: those that the kernel sends to the outside
 * with; on a host without a default route, those of its only link that has any. Empty where that says nothing.
 * @param asked addresses or names of links, as an administrator gives them; they count instead
 * Throws an Error with a sentence where the host has none of what was asked for, NetlinkError.
 */
export async function underlayAddresses(host: Namespace, asked: readonly string[] = []): Promise<string[]> {
  const lookups = OUTSIDE.map((address) => tolerating(lookupRoute(address), ...NO_ROUTE));
  const [links, addresses, ...routes] = await host.send(listLinks(), listAddresses(), ...lookups);
  const usable = globalAddresses(answerOf(links), answerOf(addresses));
  if (asked.length > 0) return onePerFamily(asked.flatMap((one) => askedFor(one, usable)));
  const sources = (routes as Reply<Route>[]).flatMap((reply) => (reply.ok ? [reply.value.source] : []));
  const byRoute = sources.filter((source): source is string =>
    usable.some(({ address }) => address === source),
  );
  if (byRoute.length > 0) return onePerFamily(byRoute);
  const devs = new Set(usable.map(({ dev }) => dev));
  return devs.size === 1 ? onePerFamily(usable.map(({ address }) => address)) : [];
}

interface Usable {
  dev: string;
  address: string;
}

/** Without loopback, without what is for a link alone, and without devices for containers. */
function globalAddresses(links: readonly Link[], addresses: readonly Address[]): Usable[] {
  const inner = ['bridge', 'vxlan'];
  return addresses.flatMap(({ address, scope, link }) => {
    const on = links.find(({ index }) => index === link);
    if (scope !== GLOBAL || on === undefined || on.loopback) return [];
    // A bridge that a physical link is a port of is how many hosts are connected; one with ports of containers alone is not.
    const ports = links.filter(({ master }) => master === on.index);
    const ours =
      inner.includes(on.kind ?? '') && ports.every(({ kind }) => kind === 'veth' || kind === 'vxlan');
    return ours || on.alias?.startsWith('weft ') ? [] : [{ dev: on.name, address }];
  });
}

function askedFor(asked: string, usable: readonly Usable[]): string[] {
  const found = usable.filter(({ dev, address }) => dev === asked || address === asked);
  if (found.length > 0) return found.map(({ address }) => address);
  const there = usable.map(({ dev, address }) => `${address} on ${dev}`).join(', ') || 'no address';
  throw new Error(
    `wanted ${asked} as this host's address, found ${there}: name one of these addresses or links`,
  );
}

function onePerFamily(addresses: readonly string[]): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const first = addresses.find((address) => familyOf(address) === family);
    return first === undefined ? [] : [canonical(first)];
  });
}

/** A route of the host's own that shares addresses with a pool. */
export interface Overlap {
  pool: string;
  /** CIDR. */
  dst: string;
  /** As `ip route` has it: `10.244.0.0/16 via 192.0.2.1 dev eth0`. */
  route: string;
}

/**
 * The host's routes that share addresses with pools of a network. Left out are default routes, our own, those of routing daemons that
 * announce us, what is inside of the subnets the host holds already (its bridge, its containers), and what is on links of the network.
 * @param own names of such links: the bridge of a stretched subnet has a route to all of it
 * Throws NetlinkError.
 */
export async function overlaps(
  host: Namespace,
  pools: readonly string[],
  held: readonly string[] = [],
  own: readonly (string | undefined)[] = [],
): Promise<Overlap[]> {
  const [links, routes] = await host.send(listLinks(), listRoutes({ table: RT_TABLE_MAIN }));
  const names = new Map(answerOf(links).map(({ index, name }) => [index, name]));
  const foreign = answerOf(routes).filter(
    ({ dst, type, protocol, link }) =>
      type === UNICAST &&
      lengthOf(dst) > 0 &&
      protocol !== RTPROT_WEFT &&
      !(link !== undefined && own.includes(names.get(link))) &&
      !held.some((subnet) => isWithin(dst, subnet)),
  );
  return pools.flatMap((pool) =>
    foreign
      .filter(({ dst, protocol }) =>
        ROUTING_DAEMONS.includes(protocol) ? isWithin(pool, dst) : overlap(dst, pool),
      )
      .map((route) => ({ pool, dst: networkOf(route.dst), route: routeWords(route, names) })),
  );
}

export function routeWords({ dst, gateway, link }: Route, names: ReadonlyMap<number, string>): string {
  const dev = link === undefined ? undefined : (names.get(link) ?? `link ${link}`);
  const single = dst === hostPrefix(dst);
  return [single ? dst.split('/')[0] : dst, gateway && `via ${gateway}`, dev && `dev ${dev}`]
    .filter(Boolean)
    .join(' ');
}
