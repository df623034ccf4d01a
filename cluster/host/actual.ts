/** What of a network is in a host's kernel, by dumps. */
import { canonical, networkOf, overlap } from '../../cni/prefix.ts';
import { type Address, listAddresses } from '../../netlink/address.ts';
import type { Namespace } from '../../netlink/door.ts';
import { type Link, listLinks } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import { type FdbEntry as Fdb, listFdb, listNeighbours, type Neighbour } from '../../netlink/neighbour.ts';
import { checksumOffload } from '../../netlink/offload.ts';
import { listRoutes, type Route, RT_TABLE_MAIN } from '../../netlink/route.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Member } from '../registry.ts';
import { macOf, type Uplink } from './builder.ts';
import { isWithin } from './prefixes.ts';
import { type Device, type Entry, entriesOf, type HostState, RTPROT_WEFT } from './state.ts';
import { answerOf, uplinksOf } from './underlay.ts';

const UNICAST = 1;
const UNREACHABLE = 7;
const FAMILIES = [2, 10];

/** One look at a host. */
export interface HostLook {
  state: HostState;
  uplinks: readonly Uplink[];
  /** By name, as they were. */
  links: ReadonlyMap<string, Link>;
  /** Another link that has the name, or the VNI and port, of our device; a bridge that is none. One sentence. */
  conflict: string | undefined;
}

/** Whether a device is ours: by its alias, or, after a crash before it had one, by what is derived. */
function isOurs(link: Link, alias: string, mac: string): boolean {
  return link.kind === 'vxlan' && (link.alias === alias || (link.alias === undefined && link.mac === mac));
}

/** Whose the link in the way is, and what is to be done: links of ours have their network's name in the alias. */
function blame({ name, kind, alias }: Link, ways: string): string {
  const other = alias?.match(/^weft (\S+)$/)?.[1];
  const what = `${name} (${kind ?? 'no virtual link'}${alias === undefined ? '' : `, "${alias}"`})`;
  return other === undefined
    ? `${what}: remove it, or choose ${ways}`
    : `${what}, which is network ${other}'s on this host: choose ${ways}`;
}

function conflictOf(
  network: ClusterNetwork,
  links: readonly Link[],
  ours: Link | undefined,
): string | undefined {
  const { vxlan } = network;
  if (vxlan === undefined) return undefined;
  const { device, vni, port, bridge } = vxlan;
  const named = links.find(({ name }) => name === device);
  if (named !== undefined && named !== ours) {
    return `wanted a VXLAN device ${device}, found a link of that name that is not ours: ${blame(named, 'another name')}`;
  }
  const same = links.find((link) => link !== ours && link.vxlan?.vni === vni && link.vxlan.port === port);
  if (same !== undefined) {
    return `VNI ${vni} on UDP port ${port} is in use by ${blame(same, 'another vni or port')}`;
  }
  const notBridge = links.find(({ name, kind }) => name === bridge && kind !== 'bridge');
  if (notBridge === undefined) return undefined;
  return `wanted a bridge ${bridge}, found a link of that name that is none: ${blame(notBridge, 'another name')}`;
}

function deviceOf(link: Link, links: readonly Link[], offload: boolean): Device {
  const { vxlan, port } = link;
  const bridge = links.find(({ index }) => index === link.master)?.name;
  const quiet =
    port !== undefined &&
    port.neighbourSuppress === true &&
    ![port.learning, port.unicastFlood, port.multicastFlood, port.broadcastFlood].includes(true);
  return {
    name: link.name,
    alias: link.alias ?? '',
    vni: vxlan?.vni ?? 0,
    port: vxlan?.port ?? 0,
    local: canonical(vxlan?.local ?? vxlan?.local6 ?? '::'),
    mac: link.mac ?? '',
    mtu: link.mtu,
    up: link.up,
    learning: vxlan?.learning ?? false,
    checksumOffload: offload,
    ...(bridge !== undefined && { bridge, quiet }),
  };
}

/** Our routes of one network: by protocol, and by device or destination; what is inside of the host's subnet is its containers'. */
export function isOurRoute(
  route: Pick<Route, 'dst' | 'type' | 'protocol' | 'table'>,
  dev: string | undefined,
  network: ClusterNetwork,
  self: Member,
): boolean {
  if (route.protocol !== RTPROT_WEFT || route.table !== RT_TABLE_MAIN) return false;
  if (dev !== undefined && dev === network.vxlan?.device) return true;
  if (!network.pools.some(({ prefix }) => overlap(prefix, route.dst))) return false;
  const inside = self.subnets.some(
    (own) => isWithin(route.dst, own) && networkOf(own) !== networkOf(route.dst),
  );
  return route.type !== UNICAST || !inside;
}

function routeEntry(route: Route, dev: string | undefined): Entry {
  const { type, gateway, onlink } = route;
  return {
    kind: 'route',
    dst: canonical(route.dst),
    metric: route.priority ?? 0,
    ...(type !== UNREACHABLE && {
      dev: dev ?? '',
      ...(gateway !== undefined && { via: canonical(gateway) }),
      ...(onlink && { onlink }),
    }),
  };
}

/** One entry for each MAC, of what the device's and the bridge's databases say. */
function fdbEntries(found: readonly Fdb[], device: Device): Entry[] {
  const self = new Map(
    found.flatMap(({ self, mac, dst }) => (self && dst !== undefined ? [[mac, dst]] : [])),
  );
  const inBridge = new Set(
    found.flatMap(({ self, mac, permanent, master }) => (!self && !permanent && master ? [mac] : [])),
  );
  return [...new Set([...self.keys(), ...inBridge])].map((mac) => ({
    kind: 'fdb',
    dev: device.name,
    mac,
    dst: canonical(self.get(mac) ?? '::'),
    inBridge: inBridge.has(mac),
  }));
}

function neighbourEntries(found: readonly Neighbour[], dev: string): Entry[] {
  return found.flatMap(({ permanent, protocol, address, mac }) =>
    permanent && protocol === RTPROT_WEFT
      ? [{ kind: 'neighbour', dev, address: canonical(address), mac: mac ?? '' } as const]
      : [],
  );
}

function addressEntries(found: readonly Address[], link: Link): Entry[] {
  return found.flatMap((address) =>
    address.link === link.index && address.scope === 0
      ? [{ kind: 'address', dev: link.name, address: canonical(address.cidr) } as const]
      : [],
  );
}

/** Undefined where the link is gone. */
async function offloadOf(host: Namespace, name: string): Promise<boolean | undefined> {
  try {
    return await checksumOffload(host, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENODEV') return undefined;
    throw error;
  }
}

/** Looks at a host. Two native calls, whatever it has. Throws NetlinkError. */
export async function lookAtHost(host: Namespace, network: ClusterNetwork, self: Member): Promise<HostLook> {
  const [linkReply, addressReply, ...routeReplies] = await host.send(
    listLinks(),
    listAddresses(),
    ...FAMILIES.map((family) => listRoutes({ family, table: RT_TABLE_MAIN, protocol: RTPROT_WEFT })),
  );
  const links = answerOf(linkReply);
  const addresses = answerOf(addressReply);
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const routes = routeReplies.flatMap((reply) => answerOf(reply as (typeof routeReplies)[0]) as Route[]);
  const own = routes
    .map((route) => ({ route, dev: route.link === undefined ? undefined : names.get(route.link) }))
    .filter(({ route, dev }) => isOurRoute(route, dev, network, self))
    .map(({ route, dev }) => routeEntry(route, dev));
  const { conflict, entries, ...found } = await lookAtTunnel(host, network, self, links, addresses);
  return {
    state: { ...found, entries: entriesOf([...entries, ...own]) },
    uplinks: uplinksOf(self.addresses, links, addresses),
    links: new Map(links.map((link) => [link.name, link])),
    conflict,
  };
}

async function lookAtTunnel(
  host: Namespace,
  network: ClusterNetwork,
  self: Member,
  links: readonly Link[],
  addresses: readonly Address[],
): Promise<Omit<HostState, 'entries'> & { entries: readonly Entry[]; conflict: string | undefined }> {
  const { vxlan, name } = network;
  if (vxlan === undefined) return { entries: [], conflict: undefined };
  const link = links.find(
    (one) => one.name === vxlan.device && isOurs(one, `weft ${name}`, macOf(network, self)),
  );
  const bridge = links.find((one) => one.name === vxlan.bridge && one.kind === 'bridge');
  const conflict = conflictOf(network, links, link);
  const found = {
    ...(bridge && { bridge: { name: bridge.name, mac: bridge.mac ?? '', mtu: bridge.mtu } }),
  };
  const neighbourLink = bridge ?? link;
  if (neighbourLink === undefined) return { entries: [], conflict };
  // Either may go away while we look.
  const [neighbours, fdb] = await host.send(
    tolerating(listNeighbours({ link: neighbourLink.index }), 'ENODEV'),
    ...(link ? [tolerating(listFdb({ link: link.index }), 'ENODEV')] : []),
  );
  const entries = neighbours.ok ? neighbourEntries(neighbours.value, neighbourLink.name) : [];
  const offload = fdb?.ok && link ? await offloadOf(host, link.name) : undefined;
  if (link === undefined || !fdb?.ok || offload === undefined) return { ...found, entries, conflict };
  const device = deviceOf(link, links, offload);
  const onDevice = [...addressEntries(addresses, link), ...fdbEntries(fdb.value, device)];
  return { ...found, device, entries: [...entries, ...onDevice], conflict };
}
