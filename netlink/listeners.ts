/** Sockets that wait for packets: without one a delivered packet is answered with a refusal (proc(5), /proc/net/tcp). */
import { formatIp } from './codec.ts';
import type { Namespace } from './door.ts';
import { LITTLE_ENDIAN } from './writer.ts';

export interface Listener {
  protocol: 'tcp' | 'udp' | 'sctp';
  family: 4 | 6;
  /** In the kernel's hexadecimal words: all zeros is every address. IPv6 sockets bound to `::` take IPv4 unless told otherwise. */
  any: boolean;
  /** Canonical; an IPv4 address that an IPv6 socket is bound to is written as such. */
  address: string | undefined;
  port: number;
  /** The number by which its processes have it open: `socket:[123]` in /proc/PID/fd; 0 where there is none. */
  inode?: number;
}

const PROTOCOLS = ['tcp', 'udp'] as const;
type ReadProtocol = (typeof PROTOCOLS)[number];

/** State of a TCP socket that listens, and of a UDP socket that is not connected. */
const WAITING = { tcp: '0A', udp: '07' } as const;

/** Listening TCP and unconnected UDP sockets; undefined where they cannot be read. */
export async function readListeners(
  ns: Pick<Namespace, 'readFile'>,
  protocols: readonly ReadProtocol[] = PROTOCOLS,
): Promise<Listener[] | undefined> {
  const all: Listener[] = [];
  for (const protocol of protocols) {
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
export function parseListeners(text: string, protocol: ReadProtocol, family: 4 | 6): Listener[] {
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (state !== WAITING[protocol] || !/^[0-9A-F]{4}$/.test(port)) return [];
    return [
      {
        protocol,
        family,
        any: /^0+$/.test(address),
        address: readAddress(address),
        port: Number.parseInt(port, 16),
        inode: Number(inode),
      },
    ];
  });
}

/** Words of 32 bits in the order of this machine. */
function readAddress(hex: string): string | undefined {
  const bytes = Buffer.from(hex, 'hex');
  if (bytes.length !== 4 && bytes.length !== 16) return undefined;
  const ip = LITTLE_ENDIAN ? bytes.swap32() : bytes;
  const isMapped =
    ip.length === 16 && ip.subarray(0, 10).every((byte) => byte === 0) && ip[10] === 255 && ip[11] === 255;
  return formatIp(isMapped ? ip.subarray(12) : ip);
}
