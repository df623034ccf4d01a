/** /dev, /proc and /sys of a container, as steps. Paths are inside: these steps stand after `pivot`. */
import type { Step } from './steps.ts';

/** Something of the host that is shown inside: by the step `take` in the monitor, by `place` inside. */
export interface Taken {
  /** Absolute, without links. */
  source: string;
  destination: string;
  /** Of the mount: `ro`, `nosuid`, `nodev`, `noexec`. */
  options: string;
  /** Whether the destination is made as a folder or as a file. */
  folder: boolean;
}

/** drivers/char/mem.c, tty_io.c. */
export const DEVICE_NODES = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
] as const;

export const DEVICE_LINKS: readonly Step[] = [
  ['link', '/proc/self/fd', '/dev/fd'],
  ['link', '/proc/self/fd/0', '/dev/stdin'],
  ['link', '/proc/self/fd/1', '/dev/stdout'],
  ['link', '/proc/self/fd/2', '/dev/stderr'],
  ['link', 'pts/ptmx', '/dev/ptmx'],
];

/** Files that tell of the host or change it, and that nothing in a container needs. */
const MASKED = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** In a user namespace no device can be made: then the host's are shown. */
export const hostDevices: readonly Taken[] = DEVICE_NODES.map(([name]) => ({
  source: `/dev/${name}`,
  destination: `/dev/${name}`,
  options: 'nosuid,noexec',
  folder: false,
}));

/** `made`: the devices are made here; otherwise they are placed later. `ttyGroup`: the group of terminals (tty, 5) is mapped. */
export function devices(made: boolean, ttyGroup: boolean): Step[] {
  return [
    ['folder', '/dev', 0o755],
    ['mount', 'tmpfs', '/dev', 'tmpfs', 'nosuid,strictatime', 'mode=755,size=64k'],
    ...(made
      ? DEVICE_NODES.map(([name, major, minor]): Step => ['device', `/dev/${name}`, 'c', major, minor])
      : []),
    ['folder', '/dev/pts', 0o755],
    [
      'mount',
      'devpts',
      '/dev/pts',
      'devpts',
      'nosuid,noexec',
      `newinstance,ptmxmode=0666,mode=0620${ttyGroup ? ',gid=5' : ''}`,
    ],
    ['folder', '/dev/shm', 0o1777],
    ['mount', 'shm', '/dev/shm', 'tmpfs', 'nosuid,nodev,noexec', 'mode=1777,size=65536k'],
    ...DEVICE_LINKS,
  ];
}

/** A mqueue belongs to the ipc namespace: only where the container has one of its own. */
export function messageQueues(): Step[] {
  return [
    ['folder', '/dev/mqueue', 0o755],
    ['mount', 'mqueue', '/dev/mqueue', 'mqueue', 'nosuid,nodev,noexec', ''],
  ];
}

/**
 * `own`: the PID namespace (proc), the network namespace (sysfs) is the container's; otherwise the host's is placed later. proc comes last, and
 * `leave` must come next: by a link to /proc/self/cwd an image would reach the host's tree, which is the working folder until then.
 */
export function kernelFiles(own: { proc: boolean; sys: boolean }): Step[] {
  return [
    ['folder', '/sys', 0o555],
    ...(own.sys ? [['mount', 'sysfs', '/sys', 'sysfs', 'ro,nosuid,nodev,noexec', ''] satisfies Step] : []),
    ['folder', '/proc', 0o555],
    ...(own.proc ? [['mount', 'proc', '/proc', 'proc', 'nosuid,nodev,noexec', ''] satisfies Step] : []),
  ];
}

/** The kernel lets only the host's be shown where the namespace that they tell of is the host's. */
export function hostKernelFiles(own: { proc: boolean; sys: boolean }): Taken[] {
  const host = (path: string): Taken => ({
    source: path,
    destination: path,
    options: 'ro,nosuid,nodev,noexec',
    folder: true,
  });
  return [...(own.proc ? [] : [host('/proc')]), ...(own.sys ? [] : [host('/sys')])];
}

/** After everything that is written there. */
export function hideKernelFiles(): Step[] {
  return [
    ...MASKED.map((path): Step => ['mask', path]),
    ...READ_ONLY.map((path): Step => ['readonly', path]),
  ];
}
