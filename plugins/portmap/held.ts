/** A port that a program of the host holds is not published: who asks for that program would reach the container. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { AttachmentRequest } from '../../cni/plugin.ts';
import type { HoldingProcess, PortHolders } from '../../firewall/port-holders.ts';
import { type PublishedPort, portWords } from '../../firewall/ports.ts';
import type { Namespace } from '../../netlink/door.ts';
import { inetAddress, isPortHeld, SOCK_DGRAM, SOCK_STREAM } from '../../netlink/socket.ts';
import { answerFrom } from '../outcome.ts';
import { publishedPorts } from './mappings.ts';
import type { PortmapConf } from './schema.ts';

const TYPES = { tcp: SOCK_STREAM, udp: SOCK_DGRAM } as const;
const ANY = { 4: '0.0.0.0', 6: '::' } as const;

/** Two system calls for a port, however many sockets and programs there are; who holds it is asked where somebody does. */
function isHeld(host: Namespace, { protocol, family, hostAddress, hostPort }: PublishedPort): boolean {
  // Nothing of the kernel's is asked for SCTP: its sockets are another module's.
  if (protocol === 'sctp') return false;
  return isPortHeld(host, TYPES[protocol], inetAddress(hostAddress ?? ANY[family], hostPort));
}

/**
 * Throws CniError(conflict) where a port is held by a program of the host, with that program's name. What a runtime holds for the
 * container itself, as Podman does, is no conflict.
 */
export async function refuseHeld(
  { config, attachment, prevResult, ambient }: AttachmentRequest<PortmapConf>,
  host: Namespace,
): Promise<void> {
  if (prevResult === undefined) return;
  for (const port of publishedPorts(config, answerFrom(prevResult, attachment.ifname).ips)) {
    if (!isHeld(host, port)) continue;
    const { holdersOf, holderWords, lineageOf } = await import('../../firewall/port-holders.ts');
    const holders = await holdersOf(host, port);
    const callers = ambient.pid === undefined ? [] : lineageOf(ambient.pid);
    const isOwn = holders.processes.some((one) => holdsFor(one, attachment.containerId, callers));
    if (isOwn || !(await isCertain(host, port, holders))) continue;
    throw new CniError(
      ErrorCode.conflict,
      `port ${portWords(port)} of this host is held by ${holderWords(holders)}, whose clients would reach the container instead: ` +
        'choose another hostPort, or end that program first',
      holders.processes.map(({ pid, command }) => `${pid}: ${command.join(' ')}`).join('; ') || undefined,
    );
  }
}

/** A runtime holds it for the container, by itself, or by a program that it gave the socket to and told which container it is for. */
function holdsFor(
  { pid, command }: HoldingProcess,
  containerId: string,
  callers: readonly number[],
): boolean {
  return callers.includes(pid) || command.some((word) => word.includes(containerId));
}

/** A client's socket of UDP looks like a server's; its port is one of those that the kernel chooses. */
async function isCertain(host: Namespace, port: PublishedPort, holders: PortHolders): Promise<boolean> {
  if (holders.processes.length === 0) return holders.kernel;
  if (port.protocol !== 'udp') return true;
  const range = await host.readFile('/proc/sys/net/ipv4/ip_local_port_range').catch(() => '');
  const [low = 0, high = 0] = range.trim().split(/\s+/).map(Number);
  return port.hostPort < low || port.hostPort > high;
}
