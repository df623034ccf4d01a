/** Sockets that wait for packets: without one a delivered packet is answered with a refusal (proc(5), /proc/net/tcp). */
import type { Namespace } from '../../netlink/door.ts';

export interface Listener {
  protocol: 'tcp' | 'udp' | 'sctp';
  family: 4 | 6;
  /** In the kernel's hexadecimal words: all zeros is every address. IPv6 sockets bound to `::` take IPv4 unless told otherwise. */
  any: boolean;
  /** Undefined where it is bound to one address of the other family's shape. */
  address: string | undefined;
  port: number;
}

/** State of a TCP socket that listens, and of a UDP socket that is not connected. */
const WAITING = { tcp: '0A', udp: '07' } as const;

/** Listening TCP and unconnected UDP sockets; undefined where they cannot be read. */
export async function readListeners(ns: Pick<Namespace, 'readFile'>): Promise<Listener[] | undefined> {
  const all: Listener[] = [];
  for (const protocol of ['tcp', 'udp'] as const) {
    for (const family of [4, 6] as const) {
      try {
        // Not /proc/net: that is the namespace of the process' first thread.
        const text = await ns.readFile(`/proc/thread-self/net/${protocol}${family === 6 ? '6' : ''}`);
        all.push(...parseListeners(text, protocol, family));
      } catch {
        if (family === 4) return undefined;
      }
    }
  }
  return all;
}

/** Reads one of the kernel's tables. Lines of another shape are left out. */
export function parseListeners(text: string, protocol: 'tcp' | 'udp', family: 4 | 6): Listener[] {
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (state !== WAITING[protocol] || !/^[0-9A-F]{4}$/.test(port)) return [];
    return [
      {
        protocol,
        family,
        any: /^0+$/.test(address),
        address: readAddress(address),
        port: Number.parseInt(port, 16),
      },
    ];
  });
}

/** Words of 32 bits in the order of this machine: little-endian on all that Node runs on, but for s390x. */
function readAddress(hex: string): string | undefined {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) =>
    (word.match(/../g) ?? []).reverse().map((two) => Number.parseInt(two, 16)),
  );
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (mapped) return bytes.slice(12).join('.');
  return Array.from({ length: 8 }, (_, i) =>
    ((bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0)).toString(16),
  ).join(':');
}
