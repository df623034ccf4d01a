/** What other hosts mean for one host's kernel, entry by entry. Pure. */
import { addressOf, canonical, familyOf, hostPrefix } from '../../cni/prefix.ts';
import { tunnelMac } from '../../plan/names.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Endpoint, Member, NetworkState } from '../registry.ts';
import { Prefixes } from './prefixes.ts';
import { type Entry, GUARD_METRIC, keyOf, METRIC, type RouteEntry } from './state.ts';

/** One of this host's links between hosts, with the address that others know it by. */
export interface Uplink {
  /** CIDR as on the link: who else is in it can be reached without a router. */
  address: string;
  dev: string;
  /** Bytes. */
  mtu: number;
}

/** The family of a host's tunnels: that of the address it names first. */
export function tunnelFamily(self: Member): 4 | 6 {
  return familyOf(self.addresses[0] ?? '');
}

/** MAC of a host's VXLAN device. */
export function macOf(network: ClusterNetwork, member: Member): string {
  return (member.mac ?? tunnelMac(member.host, network.vxlan?.vni ?? 0)).toLowerCase();
}

/** fe80::/64 with the modified EUI-64 of a MAC (RFC 4291, appendix A): what the kernel gives the device by itself. */
export function linkLocal(mac: string): string {
  const bytes = mac.split(':').map((part) => Number.parseInt(part, 16));
  bytes[0] = (bytes[0] ?? 0) ^ 0x02;
  const eui = [...bytes.slice(0, 3), 0xff, 0xfe, ...bytes.slice(3)];
  const words = [0, 2, 4, 6].map((i) => (((eui[i] ?? 0) << 8) | (eui[i + 1] ?? 0)).toString(16));
  return canonical(`fe80::${words.join(':')}`);
}

function ofFamily(texts: readonly string[], family: 4 | 6): string | undefined {
  return texts.find((text) => familyOf(text) === family);
}

/** The address of a family, in its one spelling. */
function addressOfFamily(member: Member, family: 4 | 6): string | undefined {
  const found = ofFamily(member.addresses, family);
  return found && canonical(found);
}

/** Collects the entries of one host; of those that cannot be in a kernel at the same time, the first counts. */
export class Builder {
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
      if (uplinks.some((uplink) => addressOf(uplink.address) === canonical(address))) continue;
      this.problems.push(
        `${address} is this host's address in the registry, and on none of its links: other hosts cannot reach it there`,
      );
    }
  }

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
    const via = addressOfFamily(member, family);
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
    const via = addressOfFamily(member, family);
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
    const underlay = addressOfFamily(member, family);
    if (underlay === undefined) {
      this.problems.push(
        `host ${member.host} cannot be reached: it has no IPv${family} address in the registry, and the tunnel of this host ` +
          `has ${this.self.addresses[0]}: give both hosts addresses of one family`,
      );
      return undefined;
    }
    if (addressOfFamily(this.self, family) === underlay) {
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
