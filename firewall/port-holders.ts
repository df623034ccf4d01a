/** Programs of the host that hold a port: whoever asks for them reaches a container instead, once the port is published. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Namespace } from '../netlink/door.ts';
import { type Listener, readListeners } from '../netlink/listeners.ts';
import type { PublishedPort } from './ports.ts';

export interface HoldingProcess {
  pid: number;
  /** `sshd` */
  name: string;
  command: readonly string[];
}

export interface PortHolders {
  processes: readonly HoldingProcess[];
  /** One of the sockets is no process': it is the kernel's (a tunnel, a file system). */
  kernel: boolean;
}

/** Of a port, what says which sockets are asked there. */
export type HostPort = Pick<PublishedPort, 'protocol' | 'family' | 'hostAddress' | 'hostPort'>;

/** The initial PID namespace (linux/proc_ns.h, PROC_PID_INIT_INO): from no other are all processes seen. */
const ALL_PROCESSES = 'pid:[4026531836]';

/** Whether a socket is asked by whoever connects to that port of the host. */
export function waitsAt(listener: Listener, port: HostPort): boolean {
  const { protocol, family, any, address } = listener;
  if (protocol !== port.protocol || listener.port !== port.hostPort) return false;
  if (any) return family === port.family || family === 6;
  const isV4 = address?.includes(':') === false;
  return isV4 === (port.family === 4) && (port.hostAddress === undefined || port.hostAddress === address);
}

/** Who holds a port: reads all sockets of the host and what all processes have open. Throws nothing. */
export async function holdersOf(host: Pick<Namespace, 'readFile'>, port: HostPort): Promise<PortHolders> {
  const all = port.protocol === 'sctp' ? [] : await readListeners(host, [port.protocol]);
  const waiting = (all ?? []).filter((one) => waitsAt(one, port));
  return holdersAmong(waiting, processesWith(waiting));
}

/** Who has some sockets open, of what processesWith() found. Throws nothing. */
export function holdersAmong(
  listeners: readonly Listener[],
  found: ReadonlyMap<number, ReadonlySet<number>>,
): PortHolders {
  const pids = new Set(listeners.flatMap(({ inode = 0 }) => [...(found.get(inode) ?? [])]));
  const isLost = listeners.some(({ inode = 0 }) => !found.has(inode));
  return {
    processes: [...pids].map(describe),
    kernel: isLost && target('/proc/self/ns/pid') === ALL_PROCESSES,
  };
}

/** By inode of a socket, the processes that have it open: looks through all of them once. Throws nothing. */
export function processesWith(listeners: readonly Listener[]): Map<number, Set<number>> {
  const wanted = new Set(listeners.map(({ inode = 0 }) => inode));
  const found = new Map<number, Set<number>>();
  if (wanted.size === 0) return found;
  for (const pid of names('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const fd of names(`/proc/${pid}/fd`)) {
      const inode = Number(/^socket:\[(\d+)\]$/.exec(target(`/proc/${pid}/fd/${fd}`))?.[1]);
      if (wanted.has(inode)) found.set(inode, (found.get(inode) ?? new Set()).add(Number(pid)));
    }
  }
  return found;
}

function describe(pid: number): HoldingProcess {
  const command = text(`/proc/${pid}/cmdline`).split('\0').filter(Boolean);
  return { pid, name: text(`/proc/${pid}/comm`).trim() || 'a program that has ended', command };
}

/** The process and those that started it, but for the first of all, which starts everything. */
export function lineageOf(pid: number): number[] {
  const line: number[] = [];
  for (let at = pid; at > 1 && !line.includes(at); ) {
    line.push(at);
    // proc(5): the parent is the fourth field, and the second may have anything in its parentheses.
    const [, parent] = /.*\) \S (\d+) /s.exec(text(`/proc/${at}/stat`)) ?? [];
    at = Number(parent ?? 0);
  }
  return line;
}

/** `sshd (process 812)`, `the kernel` */
export function holderWords({ processes: [first], kernel }: PortHolders): string {
  if (first) return `${first.name} (process ${first.pid})`;
  return kernel ? 'the kernel (a tunnel, a file system)' : 'a program that cannot be seen from here';
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

function text(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
