/** What one network on this host is run with. */

import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Registry } from '../../cluster/registry.ts';
import type { Paths } from '../../cni/ambient.ts';
import type { Records } from '../repair/records.ts';
import type { Parts } from './parts.ts';
import type { ProblemKind } from './problems.ts';

/** What the network's conflist says. */
export interface Wanted {
  network: ClusterNetwork;
  file: string;
}

export interface HostNetworkHooks {
  corrected(network: string, what: readonly string[]): void;
  /** Undefined: it has ended. */
  problem(network: string, kind: ProblemKind, words: string | undefined): void;
  /** Worth a line in the log, of level info unless another is given. */
  told(
    network: string,
    words: string,
    more?: Readonly<Record<string, unknown>>,
    level?: 'info' | 'error',
  ): void;
}

export interface HostNetworkOptions {
  name: string;
  registry: Registry;
  parts: Parts;
  paths: Paths;
  /** This host's name in the registry. */
  host: string;
  /** Underlay addresses or links; empty: those by which the host reaches the outside. */
  addresses: readonly string[];
  records: Records;
  /** Of those records that are of this host and boot. */
  isHere(record: { boot: string; host: string }): boolean;
  /** Other networks of this host that were there before this one: it must leave their pools and tunnels alone. */
  rivals(): readonly ClusterNetwork[];
  hooks: HostNetworkHooks;
  /** Milliseconds since the epoch. */
  now(): number;
}
