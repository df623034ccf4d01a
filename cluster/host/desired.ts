/** What a registry's state means for one host's kernel. Pure: nothing is asked, nothing is opened. */
import { addressOf, canonical, familyOf, hostPrefix, parseAddress } from '../../cni/prefix.ts';
import { networkMac, tunnelMac } from '../../plan/names.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Endpoint, Member, NetworkState } from '../registry.ts';
import { Prefixes } from './prefixes.ts';
import { type Entry, GUARD_METRIC, type HostState, keyOf, METRIC, type RouteEntry } from './state.ts';

/** One of this host's links between hosts, with the address that others know it by. */
export interface Uplink {
  /** CIDR as on the link: who else is in it can be reached without a router. */
  address: string;
  dev: string;
  /** Bytes. */
  mtu: number;
}

/** Bytes: outer IP header, UDP, VXLAN, inner Ethernet header (RFC 7348, section 5). */
export const OVERHEAD = { 4: 50, 6: 70 } as const;
/** ETH_DATA_LEN. */
const ETHERNET = 1500;
/** IPv6 wants at least that of a link (RFC 8200, section 5). */
const LEAST_MTU_6 = 1280;
const LEAST_MTU_4 = 576;

export interface Wanted extends HostState {
  /** Bytes that fit between containers. */
  mtu: number;
  /** Who cannot be reached, and why: one sentence each. */
  problems: readonly string[];
}

const isTunnel = (network: ClusterNetwork) => network.backend === 'vxlan' || network.backend === 'vxlan-l2';

function ofFamily(texts: readonly string[], family: 4 | 6): string | undefined {
  return texts.find((text) => familyOf(text) === family);
}

/** The family of a host's tunnels: that of the address it names first. */
function tunnelFamily(self: Member): 4 | 6 {
  return familyOf(self.addresses[0] ?? '');
}

/** MAC of a host's VXLAN device. */
export function macOf(network: ClusterNetwork, member: Member): string {
  return (member.mac ?? tunnelMac(member.host, network.vxlan?.vni ?? 0)).toLowerCase();
}

/**
 * Bytes that fit between containers of a network: what the links to other hosts leave, Ethernet's 1500 where none is known.
 * `network.mtu` counts as far as it fits.
 */
export function containerMtu(network: ClusterNetwork, self: Member, uplinks: readonly Uplink[]): number {
  const family = tunnelFamily(self);
  const used = isTunnel(network) ? uplinks.filter(({ address }) => familyOf(address) === family) : uplinks;
  const link = used.length === 0 ? ETHERNET : Math.min(...used.map(({ mtu }) => mtu));
  const room = link - (isTunnel(network) ? OVERHEAD[family] : 0);
  return Math.min(network.mtu ?? room, room);
}

/** fe80::/64 with the modified EUI-64 of a MAC (RFC 4291, appendix A): what the kernel gives the device by itself. */
export function linkLocal(mac: string): string {
  const bytes = mac.split(':').map((part) => Number.parseInt(part, 16));
  bytes[0] = (bytes[0] ?? 0) ^ 0x02;
  const eui = [...bytes.slice(0, 3), 0xff, 0xfe, ...bytes.slice(3)];
  const words = [0, 2, 4, 6].map((i) => (((eui[i] ?? 0) << 8) | (eui[i + 1] ?? 0)).toString(16));
  return canonical(`fe80::${words.join(':')}`);
}

class Builder {
  readonly entries = new Map<string, Entry>();
  /** Whose subnets these are. */
  readonly #claims = new Map<string, string>();
  readonly problems: string[] = [];
  readonly network: ClusterNetwork;
  readonly self: Member;
  readonly uplinks: readonly Uplink[];
  readonly others: readonly Member[];
  readonly #prefixes = new Prefixes();

  constructor(network: ClusterNetwork, self: Member, state: NetworkState, uplinks: readonly Uplink[]) {
    this.network = network;
    this.self = self;
    this.uplinks = uplinks;
    this.others = state.members.filter(({ host }) => host !== self.host);
    for (const address of self.addresses) {
      if (uplinks.some((uplink) => addressOf(uplink.address) === address)) continue;
      this.problems.push(
        `${address} is this host's address in the registry, and on none of its links: other hosts cannot reach it there`,
      );
    }
  }

  /** The first of those that cannot be in a kernel at the same time. */
  add(entry: Entry): void {
    const key = keyOf(entry);
    if (!this.entries.has(key)) this.entries.set(key, entry);
  }

  /** The uplink from which an address can be reached without a router. */
  uplinkTo(address: string): Uplink | undefined {
    return this.uplinks.find(
      (uplink) =>
        familyOf(uplink.address) === familyOf(address) &&
        this.#prefixes.isWithin(address, uplink.address) &&
        addressOf(uplink.address) !== address,
    );
  }

  /** By way of the other host's own address; undefined where a router lies between. */
  directRoute(member: Member, subnet: string): RouteEntry | undefined {
    const family = familyOf(subnet);
    const via = ofFamily(member.addresses, family);
    const uplink = via === undefined ? undefined : this.uplinkTo(via);
    if (via === undefined || uplink === undefined) return undefined;
    return { kind: 'route', dst: subnet, metric: METRIC[family], dev: uplink.dev, via };
  }

  /** What nobody has of the host's own subnets goes nowhere: not out by the default route, and not back and forth. */
  guards(): void {
    for (const dst of this.#inPools(this.self)) this.add({ kind: 'route', dst, metric: GUARD_METRIC });
  }

  /** What lies outside is of another time, or of a host that is configured in another way: its routes may be another network's. */
  #inPools(member: Member): readonly string[] {
    const pools = this.network.pools.map(({ prefix }) => prefix);
    return member.subnets.filter((subnet) => {
      if (pools.some((pool) => this.#prefixes.isWithin(subnet, pool))) return true;
      this.problems.push(
        `host ${member.host} holds ${subnet}, which is in no pool of network ${this.network.name} (${pools.join(', ')}): ` +
          'configure all hosts alike',
      );
      return false;
    });
  }

  /** Nobody may claim what is another's: the registry does not allow it, and a file written by hand may. */
  subnetsOf(member: Member): readonly string[] {
    return this.#inPools(member).filter((subnet) => {
      const owner = this.#claims.get(subnet);
      if (owner !== undefined && owner !== member.host) {
        this.problems.push(
          `hosts ${owner} and ${member.host} both hold ${subnet}: give one of them another subnet; until then it is that of ${owner}`,
        );
        return false;
      }
      this.#claims.set(subnet, member.host);
      const [clash] = this.self.subnets.filter((own) => this.#prefixes.overlap(own, subnet));
      if (clash === undefined) return true;
      this.problems.push(
        `host ${member.host} holds ${subnet}, which overlaps with ${clash} of this host: give one of them another subnet`,
      );
      return false;
    });
  }

  routed(): void {
    for (const member of this.others) {
      for (const subnet of this.subnetsOf(member)) {
        const route = this.directRoute(member, subnet);
        if (route !== undefined) this.add(route);
        else this.problems.push(this.#noDirectRoute(member, subnet));
      }
    }
  }

  #noDirectRoute(member: Member, subnet: string): string {
    const family = familyOf(subnet);
    const via = ofFamily(member.addresses, family);
    if (via === undefined) {
      return `${subnet} of host ${member.host} cannot be reached: the host has no IPv${family} address in the registry`;
    }
    const own = this.uplinks.filter(({ address }) => familyOf(address) === family);
    const where =
      own.map(({ address, dev }) => `${address} on ${dev}`).join(', ') || `no IPv${family} address`;
    return (
      `${subnet} of host ${member.host} cannot be reached: ${via} is in no subnet of this host (${where}), ` +
      'and routes between hosts want one subnet for all: use the vxlan or bgp backend'
    );
  }

  /** The other end of the tunnel; undefined, with the reason told, where there is none. */
  remote(member: Member): { underlay: string; mac: string } | undefined {
    const family = tunnelFamily(this.self);
    const underlay = ofFamily(member.addresses, family);
    if (underlay === undefined) {
      this.problems.push(
        `host ${member.host} cannot be reached: it has no IPv${family} address in the registry, and the tunnel of this host ` +
          `has ${this.self.addresses[0]}: give both hosts addresses of one family`,
      );
      return undefined;
    }
    if (this.self.addresses.includes(underlay)) {
      this.problems.push(`host ${member.host} has the address ${underlay} of this host: remove one of them`);
      return undefined;
    }
    return { underlay, mac: macOf(this.network, member) };
  }

  /** One route for each subnet, one neighbour for each family, one FDB entry. */
  tunnel(dev: string, directRoutes: boolean): void {
    for (const family of [4, 6] as const) {
      // So that what the host itself sends has an address by which the answer comes back through the tunnel.
      const own = ofFamily(this.self.subnets, family);
      if (own !== undefined) this.add({ kind: 'address', dev, address: hostPrefix(own) });
    }
    for (const member of this.others) {
      const tunnelled = this.subnetsOf(member).filter((subnet) => {
        const route = directRoutes ? this.directRoute(member, subnet) : undefined;
        if (route !== undefined) this.add(route);
        return route === undefined;
      });
      const remote = tunnelled.length > 0 ? this.remote(member) : undefined;
      if (remote !== undefined) this.#tunnelTo(dev, remote, tunnelled);
    }
  }

  #tunnelTo(dev: string, { underlay, mac }: { underlay: string; mac: string }, subnets: readonly string[]) {
    this.add({ kind: 'fdb', dev, mac, dst: underlay, inBridge: false });
    for (const family of [4, 6] as const) {
      const of = subnets.filter((subnet) => familyOf(subnet) === family);
      const [first] = of;
      if (first === undefined) continue;
      // IPv4: the network address of the subnet, which no container gets. IPv6: a next hop that no other route can claim.
      const via = family === 4 ? addressOf(first) : linkLocal(mac);
      this.add({ kind: 'neighbour', dev, address: via, mac });
      for (const dst of of) {
        const onlink = family === 4 ? { onlink: true } : {};
        this.add({ kind: 'route', dst, metric: METRIC[family], dev, via, ...onlink });
      }
    }
  }

  /** One FDB entry for each MAC, one neighbour for each address. */
  stretched(dev: string, bridge: string, endpoints: readonly Endpoint[]): void {
    const remotes = new Map(this.others.map((member) => [member.host, this.remote(member)]));
    const here = new Set(
      endpoints
        .filter(({ host }) => host === this.self.host)
        .flatMap(({ address, mac }) => [address, mac.toLowerCase()]),
    );
    for (const { address, mac: found, host } of endpoints) {
      const mac = found.toLowerCase();
      const remote = remotes.get(host);
      if (remote === undefined || here.has(address) || here.has(mac)) continue;
      this.add({ kind: 'neighbour', dev: bridge, address, mac });
      this.add({ kind: 'fdb', dev, mac, dst: remote.underlay, inBridge: true });
    }
  }
}

/**
 * What shall be in this host's kernel. The result has no entry for a host that cannot be reached; `problems` says why.
 * Throws RangeError with a sentence where nothing can be done at all (no address of this host, no room for packets).
 */
export function desiredState(
  network: ClusterNetwork,
  self: Member,
  state: NetworkState,
  uplinks: readonly Uplink[],
): Wanted {
  const builder = new Builder(network, self, state, uplinks);
  const mtu = containerMtu(network, self, uplinks);
  if (!isTunnel(network)) {
    builder.guards();
    if (network.backend === 'routed') builder.routed();
    return { entries: builder.entries, mtu, problems: builder.problems };
  }
  const { vxlan } = network;
  if (vxlan === undefined)
    throw new RangeError(`network ${network.name} has no settings for its VXLAN device`);
  const [local] = self.addresses;
  if (local === undefined || parseAddress(local) === undefined) {
    throw new RangeError(`host ${self.host} has no address in the registry: other hosts cannot send to it`);
  }
  const least = network.pools.some(({ prefix }) => familyOf(prefix) === 6) ? LEAST_MTU_6 : LEAST_MTU_4;
  if (mtu < least) {
    throw new RangeError(
      `network ${network.name} has ${mtu} bytes for each packet, and wants at least ${least}: ` +
        'give the underlay a larger MTU, or remove mtu from the configuration',
    );
  }
  const stretched = network.backend === 'vxlan-l2' ? vxlan.bridge : undefined;
  const device = {
    name: vxlan.device,
    alias: `weft ${network.name}`,
    vni: vxlan.vni,
    port: vxlan.port,
    local,
    mac: macOf(network, self),
    mtu,
    up: true,
    learning: false,
    checksumOffload: vxlan.checksumOffload,
    ...(stretched !== undefined && { bridge: stretched, quiet: true }),
  };
  if (stretched === undefined) {
    builder.guards();
    builder.tunnel(vxlan.device, vxlan.directRoutes);
    return { device, entries: builder.entries, mtu, problems: builder.problems };
  }
  builder.stretched(vxlan.device, stretched, state.endpoints);
  const bridge = { name: stretched, mac: networkMac(network.name, 'gateway'), mtu };
  return { bridge, device, entries: builder.entries, mtu, problems: builder.problems };
}
