/** What is asked of an observation, and what it answers. */
import type { Packet } from '../packet/decode.ts';
import type { Hop, Place, Tuple } from '../path/hop.ts';
import type { HookName, Ruleset } from '../ruleset/model.ts';
import type { Way } from './flow.ts';

/** A network namespace to look into. */
export interface Site {
  place: Place;
  /** Absent: that of this process. */
  path?: string;
  /** Its rules as they were read, so that what the kernel numbers can be told in words and with its owner. */
  ruleset?: Ruleset;
}

export interface ObserveRequest {
  /**
   * As sent, before anything rewrites it. For a probe a port (or echo identifier) of our own is taken where `sourcePort` is absent, and the
   * kernel chooses the address where `source` is; when watching, what is absent may be anything.
   */
  tuple: Omit<Tuple, 'source'> & { source?: string };
  /** What it is expected to be made of on its way; packets that look so belong to it too. */
  rewritten: readonly Tuple[];
  /** All namespaces that it may pass. */
  sites: readonly Site[];
  /** Which of them sends the probe; absent: nothing is sent, and the first flows that fit are watched. */
  sender?: Site;
  /** Bytes of the IP packet that is sent, which must not be cut: an echo or a datagram; a handshake has its own size. */
  size?: number;
  /** When watching: flows that end it. 1 where not given. */
  flows?: number;
  /** Seconds, after which it ends whatever was seen. */
  seconds: number;
  /** Bytes kept of each packet. 256 where not given. */
  snapLength?: number;
  /** Packets after which it ends. 1000 where not given. */
  mostPackets?: number;
}

/** A packet as it was seen on a link. */
export interface SeenPacket {
  /** Nanoseconds since 1970. */
  at: bigint;
  place: Place;
  link: string;
  direction: 'in' | 'out';
  /** Of the flow, and which way; `undefined` for ARP and neighbour discovery. */
  way: Way | undefined;
  packet: Packet;
  /** Bytes of the whole frame. */
  length: number;
  /** As many of them as were kept. */
  bytes: Uint8Array;
  /** DLT_*, for files: 1 Ethernet, 101 begins with IP. */
  linkType: number;
}

/** A rule that a packet met, as netfilter told it. */
export interface SeenRule {
  place: Place;
  /** The same for all of one packet in one namespace. */
  id: number;
  family: string;
  table: string;
  chain: string;
  /** `rule`, `policy` of a chain, or `return` at its end. */
  what: 'rule' | 'return' | 'policy';
  /** nf_tables. */
  handle?: number;
  /** Legacy iptables: counted from 1 in its chain. */
  position?: number;
  /** Legacy iptables tells it. */
  hook?: HookName;
  verdict: string;
  iif?: string;
  oif?: string;
  /** With the first event of each base chain. */
  packet?: Packet;
}

/** A packet that the kernel gave up. */
export interface SeenDrop {
  /** Nanoseconds since 1970. */
  at: bigint;
  /** The kernel's word: `NETFILTER_DROP`. */
  reason: string;
  /** Function that did it: `ip_rcv_core+0x2a1`. */
  location: string;
  /** `exact` where the kernel's address of the packet ties it to a packet of ours on a link; `likely`: only time and protocol do. */
  certainty: 'exact' | 'likely';
  /** Which way the packet went; absent where it never came to a link. */
  way?: Way;
  /** Where it was seen last. */
  place?: Place;
  link?: string;
}

export type Answer =
  | { kind: 'reply' | 'syn-ack' | 'rst'; from: string; microseconds: number }
  | { kind: 'icmp'; from: string; words: string; mtu?: number; microseconds: number }
  /** The sender's own kernel refused: `ENETUNREACH`, `EHOSTUNREACH`, `EPERM`. */
  | { kind: 'refused'; errno: string }
  | { kind: 'none' };

export type ObservedHop = Hop & { way: Way };

export interface Observation {
  /** As really sent (or first seen, when watching); undefined where nothing was. */
  tuple?: Tuple;
  /** Of the first packet there and of the first one back, in order of time. */
  hops: readonly ObservedHop[];
  packets: readonly SeenPacket[];
  rules: readonly SeenRule[];
  drops: readonly SeenDrop[];
  answer: Answer;
  /** Means that were not there, and what was lost, in words. */
  notSeen: readonly string[];
}
