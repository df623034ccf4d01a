/** What came back to the sender. */
import type { Packet } from '../packet/decode.ts';
import type { Answer, SeenPacket, Site } from './request.ts';

const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;

const UNREACHABLE_4: Readonly<Record<number, string>> = {
  0: 'network unreachable',
  1: 'host unreachable',
  2: 'protocol unreachable',
  3: 'port unreachable',
  4: 'fragmentation needed, but forbidden',
  9: 'network administratively prohibited',
  10: 'host administratively prohibited',
  13: 'communication administratively prohibited',
};
const UNREACHABLE_6: Readonly<Record<number, string>> = {
  0: 'no route',
  1: 'administratively prohibited',
  2: 'beyond scope of source address',
  3: 'address unreachable',
  4: 'port unreachable',
  5: 'source address failed policy',
  6: 'reject route',
};

/** RFC 792, RFC 4443. */
export function errorWords({ icmp, ip }: Packet): string {
  const [type, code] = [icmp?.type ?? -1, icmp?.code ?? -1];
  const isV4 = ip?.family === 4;
  if (type === (isV4 ? 3 : 1)) {
    const words = (isV4 ? UNREACHABLE_4 : UNREACHABLE_6)[code] ?? `destination unreachable, code ${code}`;
    return icmp?.mtu === undefined ? words : `${words}: at most ${icmp.mtu} bytes`;
  }
  if (!isV4 && type === 2) return `packet too big: at most ${icmp?.mtu} bytes`;
  if (type === (isV4 ? 11 : 3))
    return code === 0 ? 'time exceeded: too many hops, or a loop' : 'fragments missing';
  if (isV4 && type === 5) return 'redirect';
  return `ICMP type ${type}, code ${code}`;
}

/** An ICMP redirect is advice: the packet went on all the same. */
function isAdvice({ icmp, ip }: Packet): boolean {
  return ip?.family === 4 && icmp?.type === 5;
}

/**
 * The first packet of the way back that came in at the sender (when watching: anywhere), or undefined.
 * @param start nanoseconds since 1970, of the packet that it answers
 */
export function answerIn(
  packets: readonly SeenPacket[],
  sender: Site | undefined,
  start: bigint,
): Answer | undefined {
  const seen = packets.find(
    ({ way, place, direction, packet }) =>
      way === 'back' &&
      direction === 'in' &&
      packet.vxlan === undefined &&
      !isAdvice(packet) &&
      (sender === undefined || place.namespace === sender.place.namespace),
  );
  const { packet } = seen ?? {};
  if (seen === undefined || packet?.ip === undefined) return undefined;
  const microseconds = Number((seen.at - start) / 1000n);
  const from = packet.ip.source;
  if (packet.icmp?.about !== undefined) {
    const { mtu } = packet.icmp;
    return {
      kind: 'icmp',
      from,
      words: errorWords(packet),
      microseconds,
      ...(mtu === undefined ? {} : { mtu }),
    };
  }
  const flags = packet.tcp?.flags ?? 0;
  if (flags & RST) return { kind: 'rst', from, microseconds };
  if ((flags & SYN) !== 0 && (flags & ACK) !== 0) return { kind: 'syn-ack', from, microseconds };
  return { kind: 'reply', from, microseconds };
}
