/** What a network between hosts needs of this host: the kernel's side and who we are, behind one interface, so that a test has it in memory. */
import type { Session } from '../../cluster/bgp/bird.ts';
import type { ClusterNetwork, Pool } from '../../cluster/network.ts';
import type { Member, NetworkState } from '../../cluster/registry.ts';

/** What of one network is in this host's kernel, kept as the registry says. */
export interface Driver {
  /** The device between the hosts, where there is one. */
  readonly device: string | undefined;
  /** The whole picture; what is not in it is removed. Resolves when the kernel has it, or the hooks have heard why not. */
  update(state: NetworkState): Promise<void>;
  /** Asks what only shows when one looks, for the hooks. */
  look(): Promise<void>;
  sessions?(): Promise<Session[]>;
  /** Everything stays in the kernel as it is. */
  close(): Promise<void>;
  /** Takes it all out of the kernel. */
  remove(): Promise<void>;
}

export interface DriverHooks {
  /** Things that others had removed or changed were put right. */
  corrected(what: readonly string[]): void;
  /** After each comparison: bytes that fit between containers, and what is not as it must be, one sentence each. */
  applied(mtu: number, problems: readonly string[]): void;
}

export interface Parts {
  /**
   * Underlay addresses of this host, at most one of each family; it may have none yet. Throws an Error where it has not what was asked for.
   * @param asked addresses or names of links; empty: those by which the host reaches the outside
   */
  addresses(asked: readonly string[]): Promise<readonly string[]>;
  /** Takes away bridges of ours that have addresses of the network and no containers: for a host that is no member. Throws NetlinkError. */
  tidy(network: ClusterNetwork): Promise<void>;
  /** Takes the masquerade of a network away that has no container here. Throws NetlinkError, CniError. */
  clearRules(network: string): Promise<void>;
  /** The host's own routes that share addresses with the pools, in words; those of the network itself left out. */
  overlaps(network: ClusterNetwork, held: readonly string[]): Promise<string[]>;
  /** MAC of the VXLAN device that a host makes for a network. */
  mac(network: ClusterNetwork, host: string): string | undefined;
  /** Throws an Error that says what stands in the way: a VNI in use by another device, a daemon that is missing. */
  open(network: ClusterNetwork, self: Member, hooks: DriverHooks): Promise<Driver>;
}

/** Prefixes of pools, for messages. */
export const prefixesOf = (pools: readonly Pool[]) => pools.map(({ prefix }) => prefix);
