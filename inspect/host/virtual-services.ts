/** IPVS: services whose packets the kernel sends to one of several servers (net/netfilter/ipvs; /proc/net/ip_vs). */
import { canonical, parseAddress } from '../../cni/prefix.ts';
import type { Namespace } from '../../netlink/door.ts';

export interface VirtualService {
  protocol: 'tcp' | 'udp' | 'sctp';
  address: string;
  port: number;
  /** `10.1.0.5:80`, those with a weight. */
  servers: readonly string[];
}

/** Throws nothing: a kernel without IPVS has no such file, and none of its services are there. */
export async function readVirtualServices(ns: Pick<Namespace, 'readFile'>): Promise<VirtualService[]> {
  try {
    return parseVirtualServices(await ns.readFile('/proc/thread-self/net/ip_vs'));
  } catch {
    return [];
  }
}

/** Services by address; those by a packet's mark are left out, as are lines of another shape. */
export function parseVirtualServices(text: string): VirtualService[] {
  const services: (VirtualService & { servers: string[] })[] = [];
  let current: (VirtualService & { servers: string[] }) | undefined;
  for (const line of text.split('\n')) {
    const [first = '', second = '', , weight] = line.trim().split(/\s+/);
    if (first === '->') {
      const end = readEnd(second);
      if (end !== undefined && weight !== '0')
        current?.servers.push(
          end.address.includes(':') ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`,
        );
      continue;
    }
    const end = readEnd(second);
    const protocol = first.toLowerCase();
    current = undefined;
    if (end === undefined || (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp')) continue;
    current = { protocol, ...end, servers: [] };
    services.push(current);
  }
  return services;
}

/** `0A60000A:0035`, `[fd00:0000:0000:0000:0000:0000:0000:0001]:0050` */
function readEnd(text: string): { address: string; port: number } | undefined {
  const [, six, four, port = ''] = /^(?:\[([0-9a-fA-F:]+)\]|([0-9A-F]{8})):([0-9A-F]{4})$/.exec(text) ?? [];
  const address = four === undefined ? six : Buffer.from(four, 'hex').join('.');
  if (address === undefined || parseAddress(address) === undefined) return undefined;
  return { address: canonical(address), port: Number.parseInt(port, 16) };
}
