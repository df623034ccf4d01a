/** A container as it was asked for: plain data, kept as JSON beside its state, and all that a start depends on. */
import type { PortMapping } from './ports.ts';

/** namespaces(7); `mnt`, `net` and the others as in /proc/PID/ns. */
export const NAMESPACE_KINDS = ['net', 'pid', 'mnt', 'uts', 'ipc', 'cgroup', 'user', 'time'] as const;
/** Those that clone(2) makes; `cgroup` and `time` are made by unshare(2). */
export const BY_CLONE = ['user', 'mnt', 'pid', 'net', 'uts', 'ipc'] as const;
export type NamespaceKind = (typeof NAMESPACE_KINDS)[number];

/** Where the files of a container come from. What it writes goes into a layer of its own, never below. */
export type RootSource =
  /** The host's own file system, read-only below the container's layer. */
  | { kind: 'host' }
  | { kind: 'directory'; path: string }
  /** Layers unpacked in the store, the lowest first; digests are of the unpacked archives' blobs (`sha256:...`). */
  | { kind: 'image'; layout: string; reference: string; manifest: string; layers: readonly string[] };

export interface BindMount {
  source: string;
  /** Absolute, inside. */
  destination: string;
  readOnly: boolean;
}

/** Numbers as the kernel takes them; absent: no limit of the container's own. */
export interface Limits {
  /** CPUs' worth of time: 0.2 is a fifth of one. */
  cpus?: number;
  /** Bytes. */
  memory?: number;
  /** Processes and threads. */
  pids?: number;
  /** CPU numbers, `0-1,3`. */
  cpuset?: string;
  io?: readonly DeviceLimit[];
}

/** Bytes a second of one disk (`major:minor`). */
export interface DeviceLimit {
  device: string;
  read?: number;
  write?: number;
}

export interface User {
  uid: number;
  gid: number;
  groups: readonly number[];
}

/** A line of uid_map or gid_map (user_namespaces(7)). */
export interface IdRange {
  inside: number;
  outside: number;
  count: number;
}

export interface ContainerSpec {
  /** 64 hexadecimal digits; a CNI container id. */
  id: string;
  /** Unique among the containers of this host. */
  name: string;
  /** Milliseconds since the epoch. */
  created: number;
  command: readonly [string, ...string[]];
  /** `NAME=value`. */
  env: readonly string[];
  cwd: string;
  user: User;
  hostname: string;
  /** Names as in linux/capability.h, without CAP_; absent: the usual ones. */
  capabilities?: readonly string[];
  namespaces: readonly NamespaceKind[];
  /** Made without root: what needs power over the host is left out. */
  unprivileged: boolean;
  /** With a user namespace. */
  uids?: readonly IdRange[];
  gids?: readonly IdRange[];
  root: RootSource;
  /** Nothing may be written at all, not even into a layer of its own. */
  readOnly: boolean;
  mounts: readonly BindMount[];
  limits: Limits;
  /** `net.ipv4.ip_forward` to value; inside. */
  sysctls: Readonly<Record<string, string>>;
  /** Names of networks or paths of conflists, in the order of the interfaces. */
  networks: readonly string[];
  /** A program that connects it without root, in place of a network. */
  userspaceNetwork?: 'pasta' | 'slirp4netns';
  ports: readonly PortMapping[];
  dns: readonly string[];
  /** Has a terminal of its own (-t), and its input is kept open (-i). */
  terminal: boolean;
  interactive: boolean;
  /** An init of weft's own is PID 1, forwards signals and reaps; else the command itself is. */
  init: boolean;
  /** Removed when it ends. */
  remove: boolean;
}
