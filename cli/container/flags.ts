/** Options of `weft run`, and how their values are read. */
import { statSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { parseAddress } from '../../cni/prefix.ts';
import { CAPABILITIES } from '../../runtime/container/capabilities.ts';
import type { PortMapping } from '../../runtime/container/ports.ts';
import {
  type BindMount,
  type DeviceLimit,
  NAMESPACE_KINDS,
  type NamespaceKind,
} from '../../runtime/container/spec.ts';
import { NAME } from '../../runtime/container/store.ts';
import { UsageError } from '../context.ts';

export interface RunFlags {
  name?: string;
  net?: readonly string[];
  publish?: readonly PortMapping[];
  cpus?: number;
  memory?: number;
  pids?: number;
  cpuset?: string;
  io?: readonly DeviceLimit[];
  rootfs?: string;
  image?: string;
  ns?: readonly NamespaceKind[];
  volume?: readonly BindMount[];
  env?: readonly string[];
  hostname?: string;
  capAdd?: readonly string[];
  capDrop?: readonly string[];
  entrypoint?: string;
  dns?: readonly string[];
  sysctl?: readonly (readonly [string, string])[];
  user?: string;
  workdir?: string;
  detach?: boolean;
  interactive?: boolean;
  tty?: boolean;
  rm?: boolean;
  init?: boolean;
  readOnly?: boolean;
  dryRun?: boolean;
}

/** `--name`. Throws UsageError. */
export function parseName(text: string): string {
  if (NAME.test(text)) return text;
  throw new UsageError(
    `found ${JSON.stringify(text)}, wanted at most 63 letters, digits, "_", "." and "-", a letter or digit first`,
  );
}

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** `--memory 64m`: bytes. Throws UsageError. */
export function parseBytes(text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)([bkmg]?)$/i.exec(text) ?? [];
  const bytes = Math.round(Number(digits) * (UNITS[unit.toLowerCase()] ?? Number.NaN));
  // Less than a few pages holds no process.
  if (bytes >= 512 * 1024) return bytes;
  throw new UsageError(
    `found ${JSON.stringify(text)}, wanted bytes with an optional k, m or g, 512k or more, such as 64m`,
  );
}

/** `--cpus 0.2`. Throws UsageError. */
export function parseCpus(text: string): number {
  const cpus = Number(text);
  const most = availableParallelism();
  if (text.trim() !== '' && cpus >= 0.01 && cpus <= most) return cpus;
  throw new UsageError(
    `found ${JSON.stringify(text)}, wanted CPUs' worth of time from 0.01 to ${most}, such as 0.2`,
  );
}

/** `--pids 100`. Throws UsageError. */
export function parsePids(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new UsageError(`found ${JSON.stringify(text)}, wanted a number of processes from 1 on`);
}

/** `--cpuset 0,2-3`. Throws UsageError. */
export function parseCpuset(text: string): string {
  if (/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(text)) return text;
  throw new UsageError(`found ${JSON.stringify(text)}, wanted numbers of CPUs, such as 0 or 0-1,3`);
}

/** `--io /dev/sda:10m:5m`: bytes a second of a disk; a side that is left empty has no limit. Throws UsageError. */
export function parseIo(text: string): DeviceLimit {
  const [, path = '', read = '', write = ''] = /^(\/[^:]+):([^:]*)(?::([^:]*))?$/.exec(text) ?? [];
  if (path === '' || read + write === '')
    throw new UsageError(
      `found ${JSON.stringify(text)}, wanted DEVICE:READ[:WRITE] in bytes a second, such as /dev/sda:10m:5m`,
    );
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isBlockDevice())
    throw new UsageError(
      `${path} is ${found ? 'no disk' : 'not there'}: wanted a block device, such as /dev/sda`,
    );
  // linux/kdev_t.h, as stat(2) gives it: 12 bits of the major number between those of the minor.
  const major = (found.rdev >> 8) & 0xfff;
  const minor = (found.rdev & 0xff) | ((found.rdev >> 12) & 0xfff00);
  return {
    device: `${major}:${minor}`,
    ...(read !== '' && { read: parseBytes(read) }),
    ...(write !== '' && { write: parseBytes(write) }),
  };
}

/** `--cap-add NET_ADMIN`: with or without CAP_. Throws UsageError. */
export function parseCapability(text: string): string {
  const name = text.toUpperCase().replace(/^CAP_/, '');
  if (CAPABILITIES.includes(name)) return name;
  throw new UsageError(`found ${JSON.stringify(text)}, wanted a capability, such as NET_ADMIN`);
}

/** `--cap-drop KILL`, or ALL. Throws UsageError. */
export const parseDropped = (text: string): string =>
  text.toUpperCase() === 'ALL' ? 'ALL' : parseCapability(text);

/** `--ns net,pid`. Throws UsageError. */
export function parseNamespaces(text: string): NamespaceKind[] {
  const words = text.split(',').filter((word) => word !== '');
  const unknown = words.find((word) => !(NAMESPACE_KINDS as readonly string[]).includes(word));
  if (unknown === undefined) return [...new Set(words as NamespaceKind[])];
  throw new UsageError(`found ${JSON.stringify(unknown)}, wanted a list of ${NAMESPACE_KINDS.join(', ')}`);
}

/** `-p [ADDRESS:]HOST:CONTAINER[/tcp|udp|sctp]`. Throws UsageError. */
export function parsePublish(text: string): PortMapping {
  const [, hostIP, host, container, protocol = 'tcp'] =
    /^(?:(\[[0-9a-f:.]+\]|[0-9.]+):)?(\d+):(\d+)(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? [];
  const [hostPort, containerPort] = [Number(host), Number(container)];
  const isPort = (port: number) => port >= 1 && port <= 65_535;
  if (isPort(hostPort) && isPort(containerPort)) {
    return {
      hostPort,
      containerPort,
      protocol: protocol.toLowerCase() as PortMapping['protocol'],
      ...(hostIP !== undefined && { hostIP: hostIP.replaceAll(/[[\]]/g, '') }),
    };
  }
  throw new UsageError(
    `found ${JSON.stringify(text)}, wanted [ADDRESS:]HOST-PORT:CONTAINER-PORT[/udp], such as 8080:80`,
  );
}

/** `-v SOURCE:DESTINATION[:ro]`. Throws UsageError. */
export function parseVolume(text: string): BindMount {
  const [source = '', given = '', mode = 'rw', ...more] = text.split(':');
  const destination = isAbsolute(given) ? resolve(given) : '';
  if (destination === '/')
    throw new UsageError(`found ${JSON.stringify(text)}: the whole root is given by --rootfs, not by -v`);
  if (/^\/(proc|sys)(\/|$)/.test(destination))
    throw new UsageError(
      `found ${JSON.stringify(text)}: ${destination} is the kernel's, and shows the namespaces of the container; choose another place inside`,
    );
  if (source !== '' && destination !== '' && more.length === 0 && (mode === 'ro' || mode === 'rw'))
    return { source: resolve(source), destination, readOnly: mode === 'ro' };
  throw new UsageError(
    `found ${JSON.stringify(text)}, wanted SOURCE:DESTINATION[:ro] with an absolute destination, such as /srv/www:/www:ro`,
  );
}

/** `-e NAME=VALUE`, or `-e NAME` with the value that it has here. Throws UsageError. */
export function parseVariable(text: string): string {
  if (/^[^=]+(=|$)/.test(text)) return text;
  throw new UsageError(`found ${JSON.stringify(text)}, wanted NAME=VALUE, or NAME for its value here`);
}

/** `--sysctl KEY=VALUE`. Throws UsageError. */
export function parseSysctl(text: string): readonly [string, string] {
  const [, key, value] = /^([\w./-]+)=(.*)$/.exec(text) ?? [];
  if (key === undefined || value === undefined)
    throw new UsageError(`found ${JSON.stringify(text)}, wanted KEY=VALUE`);
  const own = /^(net\.|kernel\.(shm|msg|sem)|fs\.mqueue\.)/;
  if (own.test(key) && !key.includes('..')) return [key, value];
  throw new UsageError(
    `${key} is not the container's alone: net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.* can be set`,
  );
}

/** `--dns ADDRESS`. Throws UsageError. */
export function parseServer(text: string): string {
  if (parseAddress(text)) return text;
  throw new UsageError(`found ${JSON.stringify(text)}, wanted an IP address`);
}

/** The name or number of a signal: `TERM`, `SIGTERM`, `15`. Throws UsageError. */
export function parseSignal(text: string): number {
  const names = constants.signals as Readonly<Record<string, number>>;
  const name = text.toUpperCase();
  const found = names[name] ?? names[`SIG${name}`] ?? Number(text);
  if (Number.isInteger(found) && found > 0 && found < 65) return found;
  throw new UsageError(`found ${JSON.stringify(text)}, wanted a signal, such as TERM, HUP or 9`);
}
