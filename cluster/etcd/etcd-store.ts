/** A registry in etcd: transactions, a lease for each host, a watch for each network. */

import type { Change, Look, Store } from '../registry/store.ts';
import { type NetworkState, RegistryError, type Watch, type WatchHooks } from '../registry.ts';
import { type EtcdClient, EtcdError, type Json } from './client.ts';
import { hostKey, orphansOf, stateOf } from './keys.ts';
import { Lease } from './lease.ts';
import { transaction } from './transaction.ts';
import { type Listing, list, NetworkWatch } from './watch.ts';

/** Later than every revision. */
const NEVER_SEEN = 2n ** 63n;

interface TransactionAnswer extends Json {
  header?: { revision?: string };
  succeeded?: boolean;
}

export interface EtcdStoreOptions {
  client: EtcdClient;
  /** Begins with `/`, ends without. */
  prefix: string;
  /** Seconds. */
  ttl: number;
  /** Milliseconds since the epoch until which a host's registration lasts without another sign of life. */
  renewed(host: string, validUntil: number): void;
  /** A host's lease ran out: nothing of it is registered any more, on any network. */
  expired(host: string): void;
}

export class EtcdStore implements Store {
  readonly where: string;
  readonly #options: EtcdStoreOptions;
  readonly #leases = new Map<string, Lease>();
  readonly #watches = new Map<string, Set<NetworkWatch>>();
  /** Hosts that this process registered, by network. */
  readonly #registered = new Map<string, Set<string>>();
  /** Revision of this process's last transaction, by network. */
  readonly #written = new Map<string, bigint>();

  constructor(options: EtcdStoreOptions) {
    this.#options = options;
    this.where = options.client.where;
  }

  async look(network: string, fresh: boolean): Promise<Look> {
    const known = fresh ? undefined : this.#known(network);
    const listing = known ?? (await this.#asRegistry(() => list(this.#options.client, this.#base(network))));
    const state = stateOf(listing.kvs);
    return {
      state,
      orphans: orphansOf(listing.kvs, state),
      swap: (change) => this.#asRegistry(() => this.#swap(network, listing, change)),
    };
  }

  /** What a watch knows, if it has seen what this process wrote last. */
  #known(network: string): Listing | undefined {
    const known = [...(this.#watches.get(network) ?? [])].flatMap((watch) => watch.known ?? []);
    const written = this.#written.get(network) ?? 0n;
    return known.find(({ revision }) => BigInt(revision) >= written);
  }

  async #swap(network: string, { kvs, revision }: Listing, change: Change): Promise<boolean> {
    const found = kvs.get(hostKey(change.host))?.lease;
    const writes = change.member != null || (change.put?.length ?? 0) > 0;
    const lease = writes ? await this.#lease(change.host).ensure(found) : '0';
    const body = transaction(this.#base(network), kvs, revision, change, lease);
    // Until its answer is there, nobody knows whether what a watch saw is later.
    this.#written.set(network, NEVER_SEEN);
    try {
      const { header, succeeded } = await this.#options.client.call<TransactionAnswer>('/v3/kv/txn', body);
      this.#written.set(network, BigInt(header?.revision ?? NEVER_SEEN));
      if (succeeded === true && change.member !== undefined) this.#note(network, change);
      return succeeded === true;
    } catch (error) {
      // The lease ran out a moment ago: the next attempt has another.
      if (error instanceof EtcdError && /lease not found/.test(error.message)) {
        this.#forgetLease(change.host);
        this.#options.expired(change.host);
        return false;
      }
      throw error;
    }
  }

  watch(network: string, hooks: WatchHooks): Watch {
    const watch = new NetworkWatch(this.#options.client, this.#base(network), {
      ...hooks,
      changed: (state) => {
        this.#checkLeases(network, state);
        hooks.changed(state);
      },
    });
    const all = this.#watches.get(network) ?? new Set();
    this.#watches.set(network, all.add(watch));
    watch.start();
    return {
      close: () => {
        all.delete(watch);
        watch.close();
      },
    };
  }

  #note(network: string, { host, member }: Change): void {
    const hosts = this.#registered.get(network) ?? new Set();
    this.#registered.set(network, hosts);
    if (member) hosts.add(host);
    else hosts.delete(host);
  }

  /** A record that is missing without our doing: etcd may have lost it, with the lease, and the next renewal is a minute away. */
  #checkLeases(network: string, { members }: NetworkState): void {
    for (const host of this.#registered.get(network) ?? []) {
      if (!members.some((member) => member.host === host)) this.#leases.get(host)?.check();
    }
  }

  async close(): Promise<void> {
    for (const watch of [...this.#watches.values()].flatMap((all) => [...all])) watch.close();
    for (const lease of this.#leases.values()) lease.close();
    this.#options.client.close();
  }

  #base(network: string): string {
    return `${this.#options.prefix}/${network}/`;
  }

  #lease(host: string): Lease {
    const found = this.#leases.get(host);
    if (found !== undefined) return found;
    const { client, ttl, renewed, expired } = this.#options;
    const lease = new Lease(client, ttl, {
      renewed: (validUntil) => renewed(host, validUntil),
      expired: () => {
        if (this.#leases.get(host) === lease) this.#forgetLease(host);
        expired(host);
      },
    });
    this.#leases.set(host, lease);
    return lease;
  }

  #forgetLease(host: string): void {
    this.#leases.get(host)?.close();
    this.#leases.delete(host);
  }

  /** What etcd itself refuses is wrong configuration: an alarm, a quota, a limit. */
  async #asRegistry<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error;
      throw new RegistryError('invalid', `${this.where}: ${error.message}`, { cause: error });
    }
  }
}
