/** A packet on its way, as the prediction carries it from step to step. Nothing here is changed in place. */
import type { Tuple } from './hop.ts';
import type { Tracked } from './tracking.ts';

export interface Packet {
  tuple: Tuple;
  /** skb->mark. */
  mark: number;
  /** Bytes, of the IP packet. */
  length: number;
  dontFragment: boolean;
  /** What it is in its conversation: an answer has other TCP flags and ICMP types. */
  part: 'request' | 'answer';
  /** The conversation it belongs to in the namespace where it is; gone when it leaves that. */
  tracked?: { entry: Tracked; direction: 'original' | 'reply'; state: 'new' | 'established' } | undefined;
  /** A rule said that it is not to be tracked. */
  untracked?: boolean | undefined;
  /** Ethernet addresses, where they are known. */
  frame: { source?: string | undefined; destination?: string | undefined };
  /** Came in by this bridge port (index), and has been through prerouting already: br_netfilter. */
  bridged?: { port: number } | undefined;
  /** In a tunnel's packet: what it carries. */
  carried?: { packet: Packet; vni: number } | undefined;
}

const NUMBERS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 };

/** IP protocol number. */
export function protocolNumber(protocol: Tuple['protocol']): number {
  return typeof protocol === 'number' ? protocol : (NUMBERS[protocol] ?? -1);
}

export function protocolOf(number: number): Tuple['protocol'] {
  const name = Object.entries(NUMBERS).find(([, value]) => value === number)?.[0];
  return (name as Tuple['protocol'] | undefined) ?? number;
}

/** What an answer to it looks like. */
export function reversed({ source, destination, sourcePort, destinationPort, ...rest }: Tuple): Tuple {
  return {
    ...rest,
    source: destination,
    destination: source,
    ...(destinationPort === undefined ? {} : { sourcePort: destinationPort }),
    ...(sourcePort === undefined ? {} : { destinationPort: sourcePort }),
  };
}

export function sameTuple(a: Tuple, b: Tuple): boolean {
  return (
    a.source === b.source &&
    a.destination === b.destination &&
    protocolNumber(a.protocol) === protocolNumber(b.protocol) &&
    a.sourcePort === b.sourcePort &&
    a.destinationPort === b.destinationPort
  );
}

/** One end as people write it: `10.88.0.2:80`, `[fd00::2]:80`, or the address alone. */
export function endWords(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `tcp 10.88.0.2:40000 → 10.88.0.3:80` */
export function tupleWords({ protocol, source, sourcePort, destination, destinationPort }: Tuple): string {
  const name = typeof protocol === 'number' ? `protocol ${protocol}` : protocol;
  return `${name} ${endWords(source, sourcePort)} → ${endWords(destination, destinationPort)}`;
}
