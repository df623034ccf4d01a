/**
 * Who the hosts of a network are, what they hold, and where containers are: one interface for a file, etcd and Kubernetes. All of it is
 * state: a watcher gets the whole picture each time, and what it missed, it sees at the next.
 */
import type { Pool } from './network.ts';

/** This host, or another, on one network. */
export interface Member {
  /** The host's name: unique in the registry. */
  host: string;
  /** Underlay addresses, at most one of each family. */
  addresses: readonly string[];
  /** Subnets (or blocks) of the network's pools that the host holds, canonical: `10.244.3.0/24`. */
  subnets: readonly string[];
  /** Single addresses taken out of other hosts' blocks, when none was left (L2 pools). */
  borrowed?: readonly string[];
  /** MAC of the VXLAN device. */
  mac?: string;
}

/** A container of an L2 network: behind which host its address and MAC are. */
export interface Endpoint {
  /** Without prefix length, canonical. */
  address: string;
  mac: string;
  host: string;
}

/** Everything of one network. Members sorted by name, endpoints by address. */
export interface NetworkState {
  members: readonly Member[];
  endpoints: readonly Endpoint[];
}

export interface Watch {
  /** Idempotent; the listener is not called after that. */
  close(): void;
}

export interface WatchHooks {
  /** At once with what there is, then after each change (several may be one call). */
  changed(state: NetworkState): void;
  /** The registry cannot be reached or understood (once for each outage, and again with another reason); it is tried again until close(). */
  lost(error: Error): void;
  /** It answers again. */
  found(): void;
}

/** What a host says of itself when it joins. */
export interface JoinRequest {
  network: string;
  host: string;
  addresses: readonly string[];
  mac?: string;
  pools: readonly Pool[];
  /** Subnets held before (this host's membership file): taken again where nobody else has them. */
  before: readonly string[];
  /** Subnets that must not be taken: the host has routes there. */
  avoid: readonly string[];
}

/**
 * Errors are RegistryError. Everything that changes is one compare-and-swap: a crash anywhere leaves the old or the new, and two hosts
 * never hold one subnet.
 */
export interface Registry {
  /** For messages: `etcd at https://10.0.0.1:2379`. */
  readonly where: string;
  /**
   * Takes one subnet of each pool, or finds those again that this host holds. Idempotent. Another live host of the same name with other
   * addresses is refused (`taken`), no free subnet is `exhausted`.
   */
  join(request: JoinRequest): Promise<Member>;
  /** Gives everything back that the host holds on the network, its endpoints too. Idempotent. */
  leave(network: string, host: string): Promise<void>;
  /** One more block of a pool (L2), preferring whole ones; when there is none, `count` single addresses of others' blocks. */
  extend(request: { network: string; host: string; pool: Pool; count: number }): Promise<Member>;
  /** Gives back a block or borrowed addresses that hold no lease. */
  giveBack(request: { network: string; host: string; subnets: readonly string[] }): Promise<Member>;
  /** Makes the endpoints of a host exactly these. An address that moved here from another host changes its owner. */
  publish(network: string, host: string, endpoints: readonly Endpoint[]): Promise<void>;
  /** One look. */
  read(network: string): Promise<NetworkState>;
  watch(network: string, hooks: WatchHooks): Watch;
  /** Ends renewals and connections; what the host holds stays its own for the registry's time to live. */
  close(): Promise<void>;
}

/** `unreachable`: try again later; `taken`, `exhausted`: see join; `invalid`: what is stored or configured there is wrong. */
export type RegistryProblem = 'unreachable' | 'taken' | 'exhausted' | 'invalid';

export class RegistryError extends Error {
  override readonly name = 'RegistryError';
  readonly problem: RegistryProblem;

  constructor(problem: RegistryProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.problem = problem;
  }
}
