/** What an L2 network needs besides: its containers are told to the other hosts, and its blocks follow the number of containers. */

import type { ClusterNetwork, Pool } from '../../cluster/network.ts';
import { type Member, type NetworkState, type Registry, RegistryError } from '../../cluster/registry.ts';
import type { Paths } from '../../cni/ambient.ts';
import { overlap } from '../../cni/prefix.ts';
import type { Records } from '../repair/records.ts';
import { blockNeeds } from './blocks.ts';
import { Claims, LocalEndpoints } from './endpoints.ts';
import { leasedAddresses } from './leased.ts';

/** Single addresses that are borrowed at a time when no block is left. */
const BORROWED = 8;
/** Milliseconds for which a block must have been idle; and from when plugins no longer see it until it is given back. */
const IDLE = 600_000;
const RETIRE = 30_000;
/** Milliseconds until a pool of which nothing was left is asked for again. */
const EXHAUSTED_LASTS = 30_000;

export interface StretchOptions {
  name: string;
  registry: Registry;
  paths: Paths;
  host: string;
  records: Records;
  isHere(record: { boot: string; host: string }): boolean;
  now(): number;
  /** When an agent last knew this network, milliseconds since the epoch. */
  since: number | undefined;
  /** For tests. */
  idle?: number;
  retire?: number;
}

export class Stretch {
  readonly #options: StretchOptions;
  readonly #claims: Claims;
  readonly #local: LocalEndpoints;
  /** Pools of which nothing was left, and until when they are not asked for again. */
  readonly #exhausted = new Map<string, number>();
  /** Blocks without a lease, and since when. */
  #idle = new Map<string, number>();
  /** Blocks that plugins no longer see, and since when. */
  readonly #retiring = new Map<string, number>();

  constructor(options: StretchOptions) {
    this.#options = options;
    const { name: network, host, paths } = options;
    this.#claims = new Claims(options.since);
    this.#local = new LocalEndpoints({ network, host, dataDir: paths.dataDir });
  }

  /** Of what the host holds, blocks or addresses, what plugins may hand out. */
  offered(subnets: readonly string[]): string[] {
    return subnets.filter((subnet) => !this.#retiring.has(subnet));
  }

  /** @returns what the host holds now, if that changed. Throws RegistryError. */
  async keep(network: ClusterNetwork, member: Member, state: NetworkState): Promise<Member | undefined> {
    const { name, registry, host, records, isHere } = this.#options;
    const local = this.#local.of(records.all().filter(({ record }) => isHere(record)));
    const endpoints = this.#claims.toPublish(local, state.endpoints, host);
    if (endpoints) await registry.publish(name, host, endpoints);
    return await this.#keepBlocks(network, member);
  }

  async #keepBlocks({ pools }: ClusterNetwork, member: Member): Promise<Member | undefined> {
    const { name, paths, now } = this.#options;
    const leased = leasedAddresses(paths.dataDir, name);
    const [blocks, borrowed] = [this.offered(member.subnets), this.offered(member.borrowed ?? [])];
    const { short, idle } = blockNeeds(pools, { blocks, borrowed, leased });
    let changed: Member | undefined;
    for (const one of short) changed = (await this.#extend(one, member)) ?? changed;
    this.#idle = new Map(idle.map((block) => [block, this.#idle.get(block) ?? now()]));
    for (const [block, since] of this.#idle) {
      if (now() - since < (this.#options.idle ?? IDLE)) continue;
      this.#retiring.set(block, now());
      changed ??= member;
    }
    return (await this.#giveBack(leased)) ?? changed;
  }

  /** Undefined where the pool has no more and there are some left: that is the next ADD's to say which finds none. Throws RegistryError. */
  async #extend({ pool, free }: { pool: Pool; free: number }, member: Member): Promise<Member | undefined> {
    const { name, registry, host, now } = this.#options;
    // What was to be given back is needed after all.
    const back = [...this.#retiring.keys()].find((block) => overlap(block, pool.prefix));
    if (back !== undefined) {
      this.#retiring.delete(back);
      return member;
    }
    if (now() < (this.#exhausted.get(pool.prefix) ?? 0)) return undefined;
    try {
      return await registry.extend({ network: name, host, pool, count: BORROWED });
    } catch (error) {
      if (!(error instanceof RegistryError) || error.problem !== 'exhausted') throw error;
      if (free <= 0) throw error;
      this.#exhausted.set(pool.prefix, now() + EXHAUSTED_LASTS);
      return undefined;
    }
  }

  /** A plugin that read the membership file before may still lease from a block: it is looked at once more. */
  async #giveBack(leased: readonly string[]): Promise<Member | undefined> {
    const { name, registry, host, now } = this.#options;
    let changed: Member | undefined;
    for (const [block, since] of this.#retiring) {
      if (now() - since < (this.#options.retire ?? RETIRE)) continue;
      this.#retiring.delete(block);
      if (leased.some((address) => overlap(address, block))) continue;
      changed = await registry.giveBack({ network: name, host, subnets: [block] });
    }
    return changed;
  }
}
