/** Which backend publishes ports on a host: the one that was asked for, else that of the masquerade. Starts no process. */
import type { Ambient } from '../cni/ambient.ts';
import type { Namespace } from '../netlink/door.ts';
import type { PortBackend } from './ports.ts';
import { firewall } from './select.ts';

export async function portBackend(
  host: Namespace,
  ambient: Ambient,
  asked?: PortBackend['name'],
): Promise<PortBackend> {
  const name = asked ?? (await firewall(host, ambient)).name;
  return name === 'nftables'
    ? (await import('./ports-nftables.ts')).nftablesPorts(host, ambient)
    : (await import('./ports-iptables.ts')).iptablesPorts(host, ambient);
}
