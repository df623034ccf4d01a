/** A store in memory that fails on demand: before a change, after it (the answer is lost), or by showing what was a while ago. */

import { applies } from '../../cluster/registry/guard.ts';
import type { Change, Look, Store } from '../../cluster/registry/store.ts';
import {
  type Endpoint,
  type Member,
  type NetworkState,
  RegistryError,
  type Watch,
} from '../../cluster/registry.ts';

export type Fault = 'none' | 'look' | 'before' | 'after' | 'stale';

/** What all clients of a test share; one network. */
export class Memory {
  members = new Map<string, Member>();
  endpoints = new Map<string, Endpoint>();
  /** The next faults, one for each look. */
  faults: Fault[] = [];
  #last: NetworkState = { members: [], endpoints: [] };

  state(): NetworkState {
    return {
      members: [...this.members.values()].sort((a, b) => (a.host < b.host ? -1 : 1)),
      endpoints: [...this.endpoints.values()].sort((a, b) => (a.address < b.address ? -1 : 1)),
    };
  }

  /** Its lease ran out, or somebody removed it. */
  forget(host: string): void {
    this.members.delete(host);
    for (const [address, endpoint] of this.endpoints)
      if (endpoint.host === host) this.endpoints.delete(address);
  }

  look(): { seen: NetworkState; fault: Fault } {
    const fault = this.faults.shift() ?? 'none';
    const now = this.state();
    const seen = fault === 'stale' ? this.#last : now;
    this.#last = now;
    return { seen, fault };
  }

  /** As a transaction of etcd: only what the change depends on is compared. */
  swap(seen: NetworkState, change: Change): boolean {
    if (!applies(seen, this.state(), change)) return false;
    if (change.member === null) this.members.delete(change.host);
    else if (change.member !== undefined) this.members.set(change.host, change.member);
    for (const address of change.remove ?? []) this.endpoints.delete(address);
    for (const endpoint of change.put ?? []) this.endpoints.set(endpoint.address, endpoint);
    return true;
  }
}

export class MemoryStore implements Store {
  readonly where = 'memory';
  readonly #memory: Memory;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  async look(): Promise<Look> {
    const { seen, fault } = this.#memory.look();
    if (fault === 'look') throw unreachable();
    return {
      state: seen,
      swap: async (change) => {
        await Promise.resolve();
        if (fault === 'before') throw unreachable();
        const done = this.#memory.swap(seen, change);
        if (fault === 'after') throw unreachable();
        return done;
      },
    };
  }

  watch(): Watch {
    throw new Error('nobody watches memory');
  }

  async close(): Promise<void> {}
}

const unreachable = () => new RegistryError('unreachable', 'memory cannot be reached');
