/** A port that a program of the host holds is not published: who asks for that program would reach the container. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { AttachmentRequest } from '../../cni/plugin.ts';
import type { HoldingProcess, PortHolders } from '../../firewall/port-holders.ts';
import { type PublishedPort, portWords } from '../../firewall/ports.ts';
import type { Namespace } from '../../netlink/door.ts';
import { inetAddress, isPortHeld, SOCK_DGRAM, SOCK_STREAM } from '../../netlink/socket.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
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

/** Length of an id that is nobody else's word. */
const DISTINCT = 12;
/** Milliseconds, and how often: a program that is ending, such as another container's conmon, has its time. */
const PAUSE = 50;
const PAUSES = 5;

/**
 * Throws CniError(conflict) where a port is held by a program of the host, with that program's name. What a runtime holds for the
 * container itself, as Podman does, is no conflict.
 */
export async function refuseHeld(
  request: AttachmentRequest<PortmapConf>,
  { host, sleep }: Pick<Surroundings, 'host' | 'sleep'>,
): Promise<void> {
  const { config, attachment, prevResult } = request;
  if (prevResult === undefined) return;
  for (const port of publishedPorts(config, answerFrom(prevResult, attachment.ifname).ips)) {
    if (!isHeld(host, port)) continue;
    const found = await otherHolders(request, host, port);
    if (found === undefined) continue;
    for (let pauses = 0; pauses < PAUSES && isHeld(host, port); pauses += 1) await sleep(PAUSE);
    if (isHeld(host, port)) throw held(port, found);
  }
}

function held(port: PublishedPort, { words, details }: Others): CniError {
  return new CniError(
    ErrorCode.conflict,
    `port ${portWords(port)} of this host is held by ${words}, whose clients would reach the container instead: ` +
      'choose another hostPort, or end that program first',
    details || undefined,
  );
}

interface Others {
  words: string;
  /** Their command lines. */
  details: string;
}

/** Who is certain to have the port for others than the container. */
async function otherHolders(
  { attachment, ambient }: AttachmentRequest<PortmapConf>,
  host: Namespace,
  port: PublishedPort,
): Promise<Others | undefined> {
  const { holdersOf, holderWords, lineageOf } = await import('../../firewall/port-holders.ts');
  const holders = await holdersOf(host, port);
  const callers = ambient.pid === undefined ? [] : lineageOf(ambient.pid);
  const isOwn = holders.processes.some((one) => holdsFor(one, attachment.containerId, callers));
  if (isOwn || !(await isCertain(host, port, holders))) return undefined;
  const lines = holders.processes.map(({ pid, command }) => `${pid}: ${command.join(' ')}`);
  return { words: holderWords(holders), details: lines.join('; ') };
}

/** A runtime holds it for the container, by itself, or by a program that it gave the socket to and told which container it is for. */
function holdsFor(
  { pid, command }: HoldingProcess,
  containerId: string,
  callers: readonly number[],
): boolean {
  // What runtimes make up is in no other word by chance; `web` is.
  const names = (word: string) =>
    containerId.length < DISTINCT ? word === containerId : word.includes(containerId);
  return callers.includes(pid) || command.some(names);
}

/** A client's socket of UDP looks like a server's; its port is one of those that the kernel chooses. */
async function isCertain(host: Namespace, port: PublishedPort, holders: PortHolders): Promise<boolean> {
  if (holders.processes.length === 0) return holders.kernel;
  if (port.protocol !== 'udp') return true;
  const range = await host.readFile('/proc/sys/net/ipv4/ip_local_port_range').catch(() => '');
  const [low = 0, high = 0] = range.trim().split(/\s+/).map(Number);
  return port.hostPort < low || port.hostPort > high;
}
