/** Who gets what: pure, from a look at the registry to the host's new record. All throw RegistryError. */
import { hash64 } from '../../plan/hash.ts';
import type { Pool } from '../network.ts';
import {
  type Endpoint,
  type JoinRequest,
  type Member,
  type NetworkState,
  RegistryError,
} from '../registry.ts';
import { addressesFromEnd, blockCount, freeBlock, inPool, overlapsAny, prefixOf } from './blocks.ts';

/**
 * The record of a host that joins: what it holds or held stays where it can, a pool of which it holds nothing gives a block.
 * Throws `taken` when another machine has the name, `exhausted`, `invalid`.
 */
export function joined(state: NetworkState, request: JoinRequest): Member {
  const own = memberOf(state, request.host);
  if (own !== undefined) refuseStranger(own, request);
  const others = heldByOthers(state, request.host);
  const subnets = kept(own, request, subnetsOfOthers(state, request.host));
  for (const pool of request.pools) {
    if (subnets.some((subnet) => inPool(pool, subnet))) continue;
    // Not where this host itself gives up something larger either: that goes in the same transaction.
    const taken = [...others, ...(own?.subnets ?? []), ...subnets, ...request.avoid];
    const block = freeBlock(pool, taken, seedOf(request));
    if (block === undefined) throw exhausted(state, request.host, pool, request.avoid);
    subnets.push(block);
  }
  return {
    host: request.host,
    addresses: [...request.addresses],
    subnets: sortedByPool(subnets, request.pools),
    ...(own?.borrowed?.length ? { borrowed: own.borrowed } : {}),
    ...(request.mac === undefined ? {} : { mac: request.mac }),
  };
}

/**
 * The same host: it has an address that is registered, or it knows what is registered (it was there before, and has moved).
 * Anything else is another machine that was given the same name.
 */
function refuseStranger(own: Member, { network, host, addresses, before }: JoinRequest): void {
  const knows = own.addresses.some((address) => addresses.includes(address)) || own.addresses.length === 0;
  if (knows || own.subnets.some((subnet) => before.includes(subnet))) return;
  throw new RegistryError(
    'taken',
    `network ${network}: a host named ${host} is registered with ${own.addresses.join(', ')} and ${own.subnets.join(', ') || 'no subnet'}, ` +
      `this one has ${addresses.join(', ') || 'no address'}: give one of them another name, or remove the registration if that host is gone`,
  );
}

function kept(own: Member | undefined, request: JoinRequest, others: readonly string[]): string[] {
  const registered = own?.subnets ?? [];
  // What only this host's own file says is believed when it is a block as the pool has them.
  const remembered = request.before.filter(
    (subnet) =>
      !overlapsAny(subnet, request.avoid) &&
      request.pools.some((pool) => inPool(pool, subnet) && prefixOf(subnet).bits === pool.blockLength),
  );
  const result: string[] = [];
  for (const subnet of [...registered, ...remembered]) {
    const belongs = request.pools.some((pool) => inPool(pool, subnet));
    if (belongs && !overlapsAny(subnet, [...others, ...result])) result.push(subnet);
  }
  return result;
}

function sortedByPool(subnets: readonly string[], pools: readonly Pool[]): string[] {
  const position = (subnet: string) => pools.findIndex((pool) => inPool(pool, subnet));
  return [...subnets].sort((a, b) => position(a) - position(b));
}

/** Why a host cannot have again exactly what it held; undefined when it can, or is registered already. */
export function obstacle(state: NetworkState, held: Member): string | undefined {
  const own = memberOf(state, held.host);
  if (own !== undefined && own.addresses.length > 0) {
    if (own.addresses.some((address) => held.addresses.includes(address))) return undefined;
    return `another machine is registered as ${held.host} now (${own.addresses.join(', ')})`;
  }
  for (const member of state.members.filter(({ host }) => host !== held.host)) {
    const subnet = held.subnets.find((one) => overlapsAny(one, member.subnets));
    if (subnet !== undefined) return `host ${member.host} holds ${subnet} now`;
    const address = held.borrowed?.find((one) => member.borrowed?.includes(one));
    if (address !== undefined) return `host ${member.host} holds ${address} now`;
  }
  return undefined;
}

/** The record with one more block of the pool; with up to `count` addresses of others' blocks when no block is left. */
export function extended(state: NetworkState, host: string, pool: Pool, count: number): Member {
  const own = ownRecord(state, host);
  const held = [...heldByOthers(state, host), ...own.subnets];
  const block = freeBlock(pool, held, seedOf({ host, network: '' }));
  if (block !== undefined) return { ...own, subnets: [...own.subnets, block] };
  const borrowed = borrow(state, host, pool, count);
  if (borrowed.length === 0) throw exhausted(state, host, pool, []);
  return { ...own, borrowed: [...(own.borrowed ?? []), ...borrowed] };
}

/** From the hosts with the fewest containers per block first. */
function borrow(state: NetworkState, host: string, pool: Pool, count: number): string[] {
  const taken = new Set([
    ...state.endpoints.map(({ address }) => address),
    ...state.members.flatMap(({ borrowed = [] }) => borrowed),
  ]);
  const used = new Map<string, number>();
  for (const endpoint of state.endpoints) used.set(endpoint.host, (used.get(endpoint.host) ?? 0) + 1);
  const load = (member: Member) => (used.get(member.host) ?? 0) / Math.max(1, member.subnets.length);
  const lenders = state.members.filter((member) => member.host !== host).sort((a, b) => load(a) - load(b));
  const result: string[] = [];
  for (const block of lenders.flatMap(({ subnets }) => subnets.filter((subnet) => inPool(pool, subnet)))) {
    if (result.length >= count) break;
    result.push(...addressesFromEnd(pool, block, taken, count - result.length));
  }
  return result;
}

/** The record without the blocks and borrowed addresses named. */
export function reduced(state: NetworkState, host: string, given: readonly string[]): Member {
  const { borrowed = [], ...own } = ownRecord(state, host);
  const rest = borrowed.filter((address) => !given.includes(address) && !given.includes(`${address}/32`));
  const left = rest.filter((address) => !given.includes(`${address}/128`));
  return {
    ...own,
    subnets: own.subnets.filter((subnet) => !given.includes(subnet)),
    ...(left.length > 0 ? { borrowed: left } : {}),
  };
}

/** What must change so that the endpoints of a host are exactly these; those that `lost` names are another host's now. */
export function publication(
  state: NetworkState,
  host: string,
  endpoints: readonly Endpoint[],
  lost: ReadonlySet<string>,
): { put: Endpoint[]; remove: string[] } {
  ownRecord(state, host);
  const there = new Map(state.endpoints.map((endpoint) => [endpoint.address, endpoint]));
  const wanted = new Set(endpoints.map(({ address }) => address));
  const put = endpoints.filter(({ address, mac }) => {
    const found = there.get(address);
    return !(found?.host === host && found.mac === mac) && !(lost.has(address) && found !== undefined);
  });
  const remove = state.endpoints.filter((found) => found.host === host && !wanted.has(found.address));
  return {
    put: put.map(({ address, mac }) => ({ address, mac, host })),
    remove: remove.map(({ address }) => address),
  };
}

export function memberOf(state: NetworkState, host: string): Member | undefined {
  return state.members.find((member) => member.host === host);
}

function ownRecord(state: NetworkState, host: string): Member {
  const own = memberOf(state, host);
  if (own !== undefined) return own;
  throw new RegistryError('invalid', `host ${host} is not registered on this network: it must join first`);
}

/** What of others a host must keep off that has or had its subnets: who borrowed addresses of them goes on. */
export function subnetsOfOthers(state: NetworkState, host: string): string[] {
  return state.members.flatMap((member) => (member.host === host ? [] : member.subnets));
}

/** Subnets and borrowed addresses. */
function heldByOthers(state: NetworkState, host: string): string[] {
  return state.members.flatMap((member) =>
    member.host === host ? [] : [...member.subnets, ...(member.borrowed ?? [])],
  );
}

/** The same host points at the same block each time, so that it mostly gets the one again that it had. */
function seedOf({ network, host }: Pick<JoinRequest, 'network' | 'host'>): bigint {
  return hash64(network, host);
}

function exhausted(state: NetworkState, host: string, pool: Pool, avoid: readonly string[]): RegistryError {
  const held = state.members.flatMap(({ subnets }) =>
    subnets.filter((subnet) => inPool(pool, subnet)),
  ).length;
  const routes = avoid.filter((prefix) => overlapsAny(prefix, [pool.prefix]));
  const also = routes.length === 0 ? '' : `, and this host has routes to ${routes.slice(0, 4).join(', ')}`;
  return new RegistryError(
    'exhausted',
    `no /${pool.blockLength} of ${pool.prefix} is left for host ${host}: ${held} of ${blockCount(pool)} are held${also}; ` +
      'remove hosts that are gone, or widen the pool',
  );
}
