/** What the registry's rules stand on: state that is looked at, and changed if it still is as it was seen. */
import type { Endpoint, Member, NetworkState, Watch, WatchHooks } from '../registry.ts';

/** What one host does to its own part of a network: one transaction. */
export interface Change {
  host: string;
  /** The host's new record; null takes it away, absent leaves it. */
  member?: Member | null;
  /** Endpoints that this host has from now on. */
  put?: readonly Endpoint[];
  /** Addresses whose endpoints go. */
  remove?: readonly string[];
}

export interface Look {
  readonly state: NetworkState;
  /** Holders without a readable record: nobody is told of them, but what they hold is not free. */
  readonly orphans?: readonly Member[];
  /**
   * True: done. False: something that the change depends on is not as it was seen, and nothing was changed: the host's record, the
   * endpoints concerned, or somebody holds what overlaps a subnet (or is a borrowed address) that is new in the record.
   */
  swap(change: Change): Promise<boolean>;
}

/** Errors are RegistryError. */
export interface Store {
  readonly where: string;
  /** `fresh`: not what a watch remembers. */
  look(network: string, fresh: boolean): Promise<Look>;
  watch(network: string, hooks: WatchHooks): Watch;
  close(): Promise<void>;
}

/** Endpoints of one transaction: etcd takes 128 operations by default, and some belong to the record. */
export const MOST_ENDPOINTS = 64;
