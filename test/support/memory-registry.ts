/** A registry in memory, for several hosts of one test; it can be cut off. */

import type { Pool } from '../../cluster/network.ts';
import {
  type Endpoint,
  type JoinRequest,
  type Member,
  type NetworkState,
  type Registry,
  RegistryError,
  type WatchHooks,
} from '../../cluster/registry.ts';
import { firstOf, formatAddress, lastOf, overlap, parsePrefix } from '../../cni/prefix.ts';

interface Stored {
  members: Map<string, Member>;
  endpoints: Map<string, Endpoint>;
  watchers: Set<WatchHooks>;
}

/** What all hosts share. */
export class MemoryRegistries {
  readonly networks = new Map<string, Stored>();
  joins = 0;
  publications = 0;
  #down = false;

  /** As one host sees it. */
  open(): Registry {
    return new MemoryRegistry(this);
  }

  get isDown(): boolean {
    return this.#down;
  }

  down(): void {
    this.#down = true;
    for (const { watchers } of this.networks.values()) {
      for (const hooks of watchers) hooks.lost(new RegistryError('unreachable', 'memory cannot be reached'));
    }
  }

  up(): void {
    this.#down = false;
    for (const [name, { watchers }] of this.networks) {
      for (const hooks of watchers) {
        hooks.found();
        hooks.changed(this.state(name));
      }
    }
  }

  stored(network: string): Stored {
    const found = this.networks.get(network);
    if (found) return found;
    const made: Stored = { members: new Map(), endpoints: new Map(), watchers: new Set() };
    this.networks.set(network, made);
    return made;
  }

  state(network: string): NetworkState {
    const { members, endpoints } = this.stored(network);
    return {
      members: [...members.values()].sort((a, b) => (a.host < b.host ? -1 : 1)),
      endpoints: [...endpoints.values()].sort((a, b) => (a.address < b.address ? -1 : 1)),
    };
  }

  tell(network: string): void {
    if (this.#down) return;
    for (const hooks of this.stored(network).watchers) hooks.changed(this.state(network));
  }
}

function* blocks({ prefix, blockLength }: Pool): Generator<string> {
  const pool = parsePrefix(prefix);
  if (!pool) throw new RegistryError('invalid', `pool ${prefix} is no prefix`);
  const { family } = pool.address;
  const size = 1n << BigInt((family === 4 ? 32 : 128) - blockLength);
  for (let value = firstOf(pool); value <= lastOf(pool); value += size) {
    yield `${formatAddress({ family, value })}/${blockLength}`;
  }
}

class MemoryRegistry implements Registry {
  readonly where = 'memory';
  readonly #shared: MemoryRegistries;

  constructor(shared: MemoryRegistries) {
    this.#shared = shared;
  }

  async join({ network, host, addresses, mac, pools, before, avoid }: JoinRequest): Promise<Member> {
    const { members } = this.#stored(network);
    this.#shared.joins += 1;
    const old = members.get(host);
    if (
      old &&
      !before.some((subnet) => old.subnets.includes(subnet)) &&
      `${old.addresses}` !== `${addresses}`
    ) {
      throw new RegistryError('taken', `host ${host} is registered with ${old.addresses.join(', ')}`);
    }
    const wanted = [...(old?.subnets ?? []), ...before];
    const subnets = pools.map((pool) => {
      const kept = wanted.find(
        (subnet) => overlap(subnet, pool.prefix) && this.#isFree(network, host, subnet),
      );
      return kept ?? this.#take(network, host, pool, avoid);
    });
    const extra = wanted.filter((subnet) => this.#isFree(network, host, subnet));
    return this.#set(network, {
      host,
      addresses,
      subnets: [...new Set([...subnets, ...extra])],
      ...(mac !== undefined && { mac }),
    });
  }

  async leave(network: string, host: string): Promise<void> {
    const { members, endpoints } = this.#stored(network);
    members.delete(host);
    for (const [address, endpoint] of endpoints) if (endpoint.host === host) endpoints.delete(address);
    this.#shared.tell(network);
  }

  async extend({ network, host, pool }: { network: string; host: string; pool: Pool }): Promise<Member> {
    const member = this.#stored(network).members.get(host);
    if (!member) throw new RegistryError('invalid', `${host} is no member of ${network}`);
    return this.#set(network, {
      ...member,
      subnets: [...member.subnets, this.#take(network, host, pool, [])],
    });
  }

  async giveBack({ network, host, subnets }: { network: string; host: string; subnets: readonly string[] }) {
    const member = this.#stored(network).members.get(host);
    if (!member) throw new RegistryError('invalid', `${host} is no member of ${network}`);
    return this.#set(network, { ...member, subnets: member.subnets.filter((one) => !subnets.includes(one)) });
  }

  async publish(network: string, host: string, endpoints: readonly Endpoint[]): Promise<void> {
    const stored = this.#stored(network);
    this.#shared.publications += 1;
    for (const [address, { host: owner }] of stored.endpoints) {
      if (owner === host) stored.endpoints.delete(address);
    }
    for (const endpoint of endpoints) stored.endpoints.set(endpoint.address, endpoint);
    this.#shared.tell(network);
  }

  async read(network: string): Promise<NetworkState> {
    this.#stored(network);
    return this.#shared.state(network);
  }

  watch(network: string, hooks: WatchHooks) {
    const { watchers } = this.#shared.stored(network);
    watchers.add(hooks);
    if (this.#shared.isDown) hooks.lost(new RegistryError('unreachable', 'memory cannot be reached'));
    else setImmediate(() => watchers.has(hooks) && hooks.changed(this.#shared.state(network)));
    return { close: () => void watchers.delete(hooks) };
  }

  async close(): Promise<void> {}

  #stored(network: string): Stored {
    if (this.#shared.isDown) throw new RegistryError('unreachable', 'memory cannot be reached');
    return this.#shared.stored(network);
  }

  #isFree(network: string, host: string, subnet: string): boolean {
    const others = [...this.#shared.stored(network).members.values()].filter((one) => one.host !== host);
    return !others.some(({ subnets }) => subnets.some((one) => overlap(one, subnet)));
  }

  #take(network: string, host: string, pool: Pool, avoid: readonly string[]): string {
    const own = this.#shared.stored(network).members.get(host)?.subnets ?? [];
    for (const subnet of blocks(pool)) {
      const taken = [...avoid, ...own].some((one) => overlap(one, subnet));
      if (!taken && this.#isFree(network, host, subnet)) return subnet;
    }
    throw new RegistryError('exhausted', `no subnet of ${pool.prefix} is free`);
  }

  #set(network: string, member: Member): Member {
    this.#shared.stored(network).members.set(member.host, member);
    this.#shared.tell(network);
    return member;
  }
}
