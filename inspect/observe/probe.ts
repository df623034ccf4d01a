/** One packet, sent from inside a namespace as a program there would send it. */
import { randomInt } from 'node:crypto';
import { AF_INET, AF_INET6 } from '../../netlink/codec.ts';
import type { Namespace } from '../../netlink/door.ts';
import {
  InsideSocket,
  inetAddress,
  readInetAddress,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
} from '../../netlink/socket.ts';
import { PROTOCOL } from '../packet/decode.ts';
import { isEcho } from './flow.ts';

export interface ProbeTarget {
  family: 4 | 6;
  protocol: number;
  source?: string | undefined;
  sourcePort?: number | undefined;
  destination: string;
  destinationPort?: number | undefined;
  /** Bytes of the IP packet, of an echo or a datagram. */
  size?: number | undefined;
}

export interface Probe {
  /** Its port, or an echo's identifier: known before anything is sent, so that it can be listened for. */
  sourcePort: number;
  /** Bytes that the IP packets may have which it sends, and those of answers, as far as one can know. */
  lengths: readonly number[];
  /** Throws an Error with `code`: the sender's own kernel refuses. */
  send(): void;
  /** Its own address; known once it was sent. */
  source(): string | undefined;
  close(): void;
}

/** What a datagram of ours says, again and again. */
const WORDS = new TextEncoder().encode('weft trace');
const SOL_IP = 0;
const IP_MTU_DISCOVER = 10;
const SOL_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
/** Not to be cut, whatever is known of the way: so whoever cannot pass it on has to say so. */
const PMTUDISC_PROBE = 3;
/** Discard (RFC 863): what a probe goes to when nobody says which port. */
const DISCARD = 9;

/**
 * Opens the socket; nothing is sent yet. `failed` hears what the network answers to it later (ECONNREFUSED, EHOSTUNREACH).
 * Throws an Error with `code`, also for a protocol that nothing can be sent of (EPROTONOSUPPORT).
 */
export async function openProbe(
  ns: Namespace,
  target: ProbeTarget,
  failed: (errno: string) => void,
): Promise<Probe> {
  const { family, protocol } = target;
  const domain = family === 4 ? AF_INET : AF_INET6;
  const type = protocol === PROTOCOL.tcp ? SOCK_STREAM : protocol === PROTOCOL.udp ? SOCK_DGRAM : SOCK_RAW;
  if (type === SOCK_RAW && !isEcho(protocol) && protocol !== PROTOCOL.sctp) {
    const message = `there is no probe of IP protocol ${protocol}: use tcp, udp, sctp or icmp, or watch`;
    throw Object.assign(new Error(message), { code: 'EPROTONOSUPPORT' });
  }
  const socket = await InsideSocket.open(ns, { domain, type, protocol }, { received: () => {}, failed });
  try {
    if (type !== SOCK_STREAM) {
      const [level, name] = family === 4 ? [SOL_IP, IP_MTU_DISCOVER] : [SOL_IPV6, IPV6_MTU_DISCOVER];
      socket.setOption(level, name, PMTUDISC_PROBE);
    }
    const any = family === 4 ? '0.0.0.0' : '::';
    // A raw socket has no ports, and an address only where one is wanted.
    if (type !== SOCK_RAW) socket.bind(inetAddress(target.source ?? any, target.sourcePort ?? 0));
    else if (target.source !== undefined) socket.bind(inetAddress(target.source));
    const sourcePort =
      type === SOCK_RAW
        ? (target.sourcePort ?? randomInt(1024, 65_536))
        : readInetAddress(socket.name()).port;
    return {
      sourcePort,
      lengths: lengthsOf(target),
      send: () => send(socket, type, target, sourcePort),
      source: () => {
        const { address } = readInetAddress(socket.name());
        return address === any ? undefined : address;
      },
      close: () => socket.close(),
    };
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** A SYN with all usual options, with fewer, and an answer without any. */
const TCP_LENGTHS = [40, 32, 28, 24, 20];

function payload({ family, size }: ProbeTarget): Uint8Array {
  const length = size === undefined ? WORDS.length : Math.max(0, size - headerLength(family) - 8);
  return Uint8Array.from({ length }, (_, i) => WORDS[i % WORDS.length] ?? 0);
}

function headerLength(family: 4 | 6): number {
  return family === 4 ? 20 : 40;
}

function lengthsOf(target: ProbeTarget): number[] {
  const { family, protocol } = target;
  const header = headerLength(family);
  const parts =
    protocol === PROTOCOL.tcp
      ? TCP_LENGTHS
      : [protocol === PROTOCOL.sctp ? SCTP_LENGTH : 8 + payload(target).length];
  const own = parts.map((part) => header + part);
  // An ICMP error has the packet that it is about within.
  return [...own, ...own.map((length) => header + 8 + length)];
}

function send(socket: InsideSocket, type: number, target: ProbeTarget, sourcePort: number): void {
  const { destination, protocol, destinationPort = DISCARD } = target;
  socket.connect(inetAddress(destination, type === SOCK_RAW ? 0 : destinationPort));
  if (type === SOCK_DGRAM) socket.send(payload(target));
  if (type !== SOCK_RAW) return;
  socket.send(
    isEcho(protocol) ? echo(protocol, sourcePort, payload(target)) : sctpInit(sourcePort, destinationPort),
  );
}

/** RFC 792, RFC 4443: an echo request. The kernel fills in the checksum of ICMPv6. */
function echo(protocol: number, id: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, protocol === PROTOCOL.icmp ? 8 : 128);
  view.setUint16(4, id);
  view.setUint16(6, 1);
  bytes.set(data, 8);
  if (protocol === PROTOCOL.icmp) view.setUint16(2, internetChecksum(view));
  return bytes;
}

/** RFC 1071. */
function internetChecksum(view: DataView): number {
  let sum = 0;
  for (let at = 0; at + 1 < view.byteLength; at += 2) sum += view.getUint16(at);
  if (view.byteLength % 2 === 1) sum += view.getUint8(view.byteLength - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Common header and an INIT chunk without parameters. */
const SCTP_LENGTH = 12 + 20;

/** RFC 9260, section 3.3.2: an INIT chunk. Whoever answers with INIT ACK keeps no state for it. */
function sctpInit(sourcePort: number, destinationPort: number): Uint8Array {
  const bytes = new Uint8Array(SCTP_LENGTH);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  view.setUint8(12, 1);
  view.setUint16(14, 20);
  view.setUint32(16, randomInt(1, 2 ** 32));
  view.setUint32(20, 65_535);
  view.setUint16(24, 1);
  view.setUint16(26, 1);
  view.setUint32(28, randomInt(1, 2 ** 32));
  // Appendix A: the checksum's bytes stand in the other order.
  view.setUint32(8, crc32c(bytes), true);
  return bytes;
}

function crc32c(bytes: Uint8Array): number {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0x82f63b78 : 0);
  }
  return ~sum >>> 0;
}
