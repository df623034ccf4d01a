/**
 * What decides over packets on a host, whoever wrote it and in whatever language: nf_tables, iptables over nf_tables, legacy
 * iptables. One shape for all, so that the tools that list, draw, follow and check rules need to know only this one.
 */
import type { Owner } from '../owner.ts';

/** The program whose words a table is written in, and by which it would be changed. */
export type Variant = 'nftables' | 'iptables-nft' | 'iptables-legacy';

export type TableFamily = 'ip' | 'ip6' | 'inet' | 'arp' | 'bridge' | 'netdev';
export type HookName = 'ingress' | 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'egress';

/** Everything of one network namespace. */
export interface Ruleset {
  /** In the order in which they were made, as are their chains; legacy ones, whose age nobody knows, last. */
  tables: readonly Table[];
  /** What could not be read, in words: a program that is missing, a table that it refuses. */
  unread: readonly string[];
}

export interface Table {
  variant: Variant;
  family: TableFamily;
  name: string;
  chains: readonly Chain[];
  /** Sets and maps by name. For iptables: the ipsets that its rules name. */
  sets: ReadonlyMap<string, NamedSet>;
  comment?: string;
}

export interface Chain {
  name: string;
  /** Absent for a chain that is only jumped to. */
  base?: {
    type: 'filter' | 'nat' | 'route';
    hook: HookName;
    /**
     * As the kernel sorts: filter 0, dstnat -100, srcnat 100, raw -300. Of equal ones the last that was made is asked first
     * (net/netfilter/core.c, nf_hook_entries_grow).
     */
    priority: number;
    policy: 'accept' | 'drop';
    /** Of family netdev. */
    devices?: readonly string[];
  };
  rules: readonly Rule[];
  /** Of the policy. */
  counters?: Counters;
  comment?: string;
}

export interface Counters {
  packets: number;
  bytes: number;
}

export interface Rule {
  /** Counted from 1 in its chain. */
  position: number;
  /** nf_tables only. */
  handle?: number;
  /** As a person would type it, without the chain: `ip saddr 10.1.0.0/16 masquerade`, `-s 10.1.0.0/16 -j MASQUERADE`. */
  text: string;
  /** All must hold. */
  matches: readonly Match[];
  /** In order; the first that ends decides. */
  statements: readonly Statement[];
  counters?: Counters;
  comment?: string;
  owner: Owner;
}

/**
 * What a rule may look at. Addresses and ports are those of the packet at that moment, unless said. What a rule's words only imply (that
 * `tcp dport` wants TCP, `ip saddr` of family inet IPv4) is among its matches, too.
 */
export type Field =
  | 'saddr'
  | 'daddr'
  | 'sport'
  | 'dport'
  /** By name (`tcp`, `udp`, `icmp`, `icmpv6`, ...), a number where it has none. */
  | 'protocol'
  /** `ipv4`, `ipv6`. */
  | 'family'
  | 'iifname'
  | 'oifname'
  | 'iiftype'
  | 'oiftype'
  /** Bridge port by which it came or leaves (iptables' physdev, family bridge's iifname). */
  | 'physin'
  | 'physout'
  | 'etherSource'
  | 'etherDestination'
  /** `ip`, `ip6`, `arp`, ... */
  | 'etherType'
  | 'mark'
  /** `new`, `established`, `related`, `invalid`, `untracked`; of iptables also `dnat` and `snat`, which are said of the status. */
  | 'ctState'
  /** `dnat`, `snat`, `assured`, ... */
  | 'ctStatus'
  | 'ctMark'
  /** `original`, `reply`. */
  | 'ctDirection'
  | 'ctOriginalSource'
  | 'ctOriginalDestination'
  | 'ctOriginalDport'
  /** `local`, `broadcast`, ...: fib type, iptables' addrtype. */
  | 'sourceType'
  | 'destinationType'
  /** The link by which the source would be reached (fib saddr oif, iptables' rpfilter): `0` where there is none. */
  | 'sourceLink'
  /** As numbers, of the family of the packet. */
  | 'icmpType'
  /** As bits: fin 1, syn 2, rst 4, psh 8, ack 16, urg 32. */
  | 'tcpFlags'
  | 'length';

/**
 * A value that a field is compared with. Addresses as prefixes (`10.1.0.5` or `10.1.0.0/16`) or ranges; numbers as ranges; names of links may
 * end in `*`; a sole `*` is whatever nothing else of the same set or map is.
 */
export type Value =
  | { prefix: string }
  | { from: number; to: number }
  | { fromAddress: string; toAddress: string }
  | { text: string }
  /** Of a concatenation, one a field. */
  | { parts: readonly Value[] };

export type Match =
  /** One field or a concatenation is (or is not) among the values. */
  | { fields: readonly Field[]; not: boolean; values: readonly Value[] }
  /** ... among the elements of a named set of the same table (iptables: of an ipset). */
  | { fields: readonly Field[]; not: boolean; set: string }
  /** Bits of a field: `(field & mask) == value`, or not. */
  | { fields: readonly [Field]; not: boolean; mask: number; value: number }
  /** Nobody can say without the packet: a limit, a probability, an extension that is not known here. */
  | { unknown: string };

export type Verdict =
  | { kind: 'accept' | 'drop' | 'return' | 'queue' | 'continue' }
  | { kind: 'reject'; with?: string }
  | { kind: 'jump' | 'goto'; chain: string };

export type Statement =
  | { kind: 'verdict'; verdict: Verdict }
  /** A verdict map: the element that matches says what happens; none: the next statement. No field: one of them by chance. */
  | { kind: 'vmap'; fields: readonly Field[]; set: string }
  | { kind: 'vmap'; fields: readonly Field[]; elements: readonly Element[] }
  /** Addresses or prefixes and ports in words; `map` where an element says them. */
  | { kind: 'dnat' | 'snat'; address?: string; port?: string; map?: MapLookup }
  | { kind: 'masquerade' | 'redirect'; port?: string }
  /** `mark = (mark & ~mask) ^ value` */
  | { kind: 'setMark'; value: number; mask: number; on: 'packet' | 'connection' }
  /** From the connection to the packet, or back. */
  | { kind: 'copyMark'; mask: number; to: 'packet' | 'connection' }
  | { kind: 'notrack' }
  /** Changes nothing of what is modelled: counter, log, trace, comment. */
  | { kind: 'other'; text: string }
  /** May change something, and is not known here. */
  | { kind: 'unknown'; text: string };

export interface MapLookup {
  /** None: one of them by chance. */
  fields: readonly Field[];
  /** Name of a map of the table, or its elements where it is anonymous. */
  set: string | readonly Element[];
}

export interface NamedSet {
  name: string;
  kind: 'set' | 'map' | 'vmap';
  /** Readable: `ipv4_addr . inet_service`. */
  type: string;
  elements: readonly Element[];
  comment?: string;
}

export interface Element {
  key: Value;
  /** Of a verdict map. */
  verdict?: Verdict;
  /** Of a map: `10.88.0.5 . 80` has two parts. */
  data?: Value;
  comment?: string;
  counters?: Counters;
  owner: Owner;
}
