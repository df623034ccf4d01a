/** What bench/run.ts and its workers say to each other, one JSON object a line. */

export interface Contestant {
  name: string;
  binDir: string;
  /** Leases, namespaces and locks of this contestant's host. */
  stateDir: string;
  masquerade?: 'nftables' | 'iptables';
  /** Whether an agent serves it. */
  agent?: boolean;
  /** Whether its bridge knows `ipMasqBackend`. */
  backendField: boolean;
}

export type Request = { op: 'fill'; count: number } | { op: 'pair'; round: number };

export type Reply =
  | { op: 'fill' }
  /** Milliseconds of one whole process each. */
  | { op: 'pair'; add: number; del: number }
  | { op: 'error'; message: string };
