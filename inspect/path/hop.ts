/**
 * A packet's way, step by step. Predictions and observations have the same shape, so that the two can be laid side by side;
 * what only one of them can know is optional.
 */
import type { Owner } from '../owner.ts';

/** What identifies a packet where addresses are rewritten: as seen at that moment. */
export interface Tuple {
  family: 4 | 6;
  protocol: 'tcp' | 'udp' | 'sctp' | 'icmp' | 'icmpv6' | number;
  source: string;
  destination: string;
  sourcePort?: number;
  destinationPort?: number;
}

/** A network namespace that the packet passes. */
export interface Place {
  /** Name of the host: `this host`, or a member's name. */
  host: string;
  /** Container id; absent for the host itself. */
  container?: string;
  /** `dev:inode` of the namespace. */
  namespace: string;
}

export type Hop = {
  place: Place;
  /** The packet when it comes here. */
  tuple: Tuple;
  /** And when it goes on, where this hop rewrites it. */
  rewritten?: Tuple;
  /** For people: `route 10.88.0.0/16 dev cni0`. */
  words: string;
  /** Microseconds since the first one; observations only. */
  at?: number;
} & (
  | { kind: 'send' | 'deliver' }
  /** Through a link; `peer` says where the other end of a veth is. */
  | { kind: 'link'; link: string; direction: 'out' | 'in'; mtu?: number; length?: number }
  | { kind: 'bridge'; bridge: string; in: string; out: string }
  | { kind: 'route'; table: number; prefix: string; link: string; gateway?: string }
  | { kind: 'neighbour'; link: string; address: string; mac?: string; state: string }
  | {
      kind: 'rule';
      family: string;
      hook: string;
      table: string;
      chain: string;
      handle?: number;
      /** The rule or the chain's policy, as a person would type it. */
      text: string;
      /** Of a set or map, that decided. */
      element?: string;
      owner: Owner;
      verdict: string;
    }
  /** Rewritten without a rule: a conversation that is known, in either direction. `known`: it was before this packet. */
  | { kind: 'translate'; end: 'source' | 'destination'; known: boolean }
  | { kind: 'tunnel'; link: string; outer: Tuple; vni: number; fdb?: string }
  | { kind: 'drop'; reason: string; owner?: Owner }
);

/**
 * `delivered` to a program or the kernel of the last namespace; `left`: goes on where nobody here can look; `rejected`: the sender is
 * told; `dropped` on purpose, or by what the kernel checks; `lost`: goes where nobody takes it.
 */
export type Outcome = 'delivered' | 'left' | 'dropped' | 'rejected' | 'lost' | 'unknown';

/** A whole way and how it ends. */
export interface Path {
  hops: readonly Hop[];
  outcome: Outcome;
  /** Why it ends there, in words, with what to do where that is known. */
  why: string;
  /** What could not be decided, and what was assumed for it. */
  assumptions: readonly string[];
  /** What is worth knowing besides: it would end otherwise if an assumption were wrong, a tracked connection takes precedence, ... */
  notes: readonly string[];
}
