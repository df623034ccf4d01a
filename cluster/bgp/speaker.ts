/**
 * Who speaks BGP with whom on this host, and what it says: a pure function of the networks, from which the configuration of a routing
 * daemon is written (bird-config.ts). One daemon speaks for all networks of a host, because two hosts have one session between them.
 */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import {
  type Family,
  familyOf,
  formatAddress,
  formatPrefix,
  parseAddress,
  parsePrefix,
} from '../../cni/prefix.ts';
import { hash64 } from '../../plan/hash.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Member } from '../registry.ts';

/** One network as this host sees it. */
export interface BgpNetwork {
  network: ClusterNetwork;
  /** This host. */
  self: Member;
  /** All hosts; with or without this one. */
  members: readonly Member[];
}

/** One session with one neighbour. */
export interface Peer {
  /** `host-b:4`; stable, so that a change elsewhere leaves the session alone. */
  name: string;
  /** Undefined for a route reflector that is no member. */
  host: string | undefined;
  address: string;
  /** Our own address, of the same family. */
  local: string;
  family: Family;
  /** Families whose routes it carries. IPv4 by way of IPv6 is RFC 8950. */
  carries: readonly Family[];
  /** We reflect routes to it (RFC 4456). */
  client: boolean;
}

/** What this host announces and accepts. Everything sorted, so that equal states are equal texts. */
export interface Speaker {
  networks: readonly string[];
  asn: number;
  /** Looks like an IPv4 address; unique among the hosts. */
  routerId: string;
  /** What this host holds and announces. */
  own: readonly string[];
  /** What is accepted: subnets of exactly this length. */
  pools: readonly { prefix: string; length: number }[];
  peers: readonly Peer[];
  /** What cannot be had, in words. */
  problems: readonly string[];
}

/**
 * Full mesh, or by way of reflectors where the networks name some. A reflector that is a member has sessions with everybody, and
 * reflects to those that are none. Throws CniError(invalidConfig) when there is no network, one has no `bgp`, or their AS numbers differ.
 */
export function speakerOf(networks: readonly BgpNetwork[]): Speaker {
  const sorted = [...networks].sort((a, b) => compare(a.network.name, b.network.name));
  const [first] = sorted;
  if (first === undefined) throw new CniError(ErrorCode.invalidConfig, 'BGP is wanted for no network');
  const asn = commonAsn(sorted);
  const problems: string[] = [];
  const peers = new Map<string, Peer>();
  for (const one of sorted) {
    for (const peer of peersOf(one, problems)) peers.set(peer.name, merged(peers.get(peer.name), peer));
  }
  const pools = sorted.flatMap(({ network }) => network.pools);
  return {
    networks: sorted.map(({ network }) => network.name),
    asn,
    routerId: routerId(first.self),
    own: unique(sorted.flatMap(({ self }) => self.subnets.map(canonicalPrefix))),
    pools: pools
      .map(({ prefix, blockLength }) => ({ prefix: canonicalPrefix(prefix), length: blockLength }))
      .sort((a, b) => compare(a.prefix, b.prefix)),
    peers: [...peers.values()].sort((a, b) => compare(a.name, b.name)),
    problems: unique(problems),
  };
}

function commonAsn(networks: readonly BgpNetwork[]): number {
  let found: { name: string; asn: number } | undefined;
  for (const { network } of networks) {
    if (network.bgp === undefined) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `network ${network.name} says nothing of BGP: wanted "bgp"`,
      );
    }
    const { asn } = network.bgp;
    if (found !== undefined && found.asn !== asn) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `network ${network.name} has AS ${asn}, but ${found.name} has AS ${found.asn}: one host speaks for one AS, give both the same`,
      );
    }
    found = { name: network.name, asn };
  }
  return found?.asn ?? 0;
}

/** A neighbour, before its addresses are matched with ours. */
interface Neighbour {
  host: string | undefined;
  addresses: readonly string[];
  reflector: boolean;
}

function peersOf({ network, self, members }: BgpNetwork, problems: string[]): Peer[] {
  const reflectors = new Set((network.bgp?.reflectors ?? []).map(canonicalAddress));
  const isReflector = ({ addresses }: Member): boolean =>
    addresses.some((address) => reflectors.has(canonicalAddress(address)));
  const others = members.filter(({ host }) => host !== self.host);
  const everybody = others.map((member): Neighbour => ({ ...member, reflector: isReflector(member) }));
  const known = new Set([self, ...others].flatMap(({ addresses }) => addresses.map(canonicalAddress)));
  const strangers = [...reflectors]
    .filter((address) => !known.has(address))
    .map((address): Neighbour => ({ host: undefined, addresses: [address], reflector: true }));
  const reflecting = isReflector(self);
  const wanted = [...everybody, ...strangers].filter(
    ({ reflector }) => reflectors.size === 0 || reflecting || reflector,
  );
  return wanted.flatMap((neighbour) =>
    sessions(network, self, neighbour, reflecting && !neighbour.reflector, problems),
  );
}

function sessions(
  network: ClusterNetwork,
  self: Member,
  { host, addresses }: Neighbour,
  client: boolean,
  problems: string[],
): Peer[] {
  const wanted = new Set(network.pools.map(({ prefix }) => familyOf(prefix)));
  const pairs = ([4, 6] as const).flatMap((family) => {
    const local = self.addresses.find((address) => familyOf(address) === family);
    const address = addresses.find((one) => familyOf(one) === family);
    return local === undefined || address === undefined
      ? []
      : [{ family, local: canonicalAddress(local), address: canonicalAddress(address) }];
  });
  const has = (family: Family): boolean => pairs.some((pair) => pair.family === family);
  const peers = pairs.map(({ family, local, address }): Peer => {
    const carries = ([4, 6] as const).filter(
      (one) => wanted.has(one) && (one === family || (one === 4 && !has(4))),
    );
    return { name: `${peerName(host ?? address)}:${family}`, host, address, local, family, carries, client };
  });
  for (const family of wanted) {
    if (peers.some(({ carries }) => carries.includes(family))) continue;
    problems.push(
      `network ${network.name} has IPv${family} subnets, but ${self.host} and ${host ?? addresses.join()} have no address by which they could announce them: both need one of IPv6${family === 4 ? ' or IPv4' : ''}`,
    );
  }
  return peers.filter(({ carries }) => carries.length > 0);
}

function merged(before: Peer | undefined, peer: Peer): Peer {
  if (before === undefined) return peer;
  const carries = ([4, 6] as const).filter(
    (one) => before.carries.includes(one) || peer.carries.includes(one),
  );
  return { ...peer, carries, client: before.client || peer.client };
}

/** What BIRD takes for a name within apostrophes (conf/cf-lex.l), with room for the family. */
function peerName(text: string): string {
  return /^[\w.:-]{1,48}$/.test(text) ? text : `peer-${hash64('peer', text).toString(16)}`;
}

/** RFC 6286: four bytes, not zero, unique in the AS. A host without IPv4 gets one out of its name. */
function routerId({ host, addresses }: Member): string {
  const v4 = addresses.find((address) => familyOf(address) === 4);
  if (v4 !== undefined) return canonicalAddress(v4);
  return formatAddress({ family: 4, value: (hash64('router', host) & 0xffff_ffffn) | 1n });
}

function canonicalAddress(text: string): string {
  const address = parseAddress(text);
  if (address === undefined) throw new CniError(ErrorCode.invalidConfig, `"${text}" is no address`);
  return formatAddress(address);
}

function canonicalPrefix(text: string): string {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new CniError(ErrorCode.invalidConfig, `"${text}" is no subnet`);
  return formatPrefix(prefix);
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort(compare);
}

/** By code units: the same in every locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
