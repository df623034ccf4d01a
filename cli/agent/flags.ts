/** Options of the agent's commands, and how their values are read. */
import { isAbsolute, resolve } from 'node:path';
import type { LoopbackAddress } from '../../agent/metrics-server.ts';
import { UsageError } from '../context.ts';

/** `--count`. Throws UsageError. */
export function parseCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError('wanted a number from 1 on');
}

/** `--metrics HOST:PORT`. Throws UsageError. */
export function parseMetricsAddress(text: string): LoopbackAddress {
  const address = parseLoopback(text);
  if (address) return address;
  throw new UsageError(`wanted an address of the loopback interface and a port, such as 127.0.0.1:9464`);
}

/** `--interval` of what shows itself anew on a terminal. */
export const intervalFlag = {
  kind: 'parsed',
  parse: parseInterval,
  brief: 'SECONDS between two looks',
  placeholder: 'SECONDS',
  default: '1',
} as const;

/** `--interval`: seconds. Throws UsageError. */
export function parseInterval(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== '' && seconds >= 0.1 && seconds <= 3600) return seconds;
  throw new UsageError('wanted seconds between 0.1 and 3600');
}

/** `--registry FILE|etcd://...`: a file by its absolute path, which a service has as well. Throws UsageError. */
export function parseRegistry(text: string): string {
  if (text === '') throw new UsageError('wanted a file or etcd://HOST:PORT');
  if (text.includes('://') || isAbsolute(text)) return text;
  throw new UsageError(
    `found ${JSON.stringify(text)}, wanted an absolute path, such as ${resolve(text)}, or etcd://HOST:PORT`,
  );
}

/** `--node NAME`. Throws UsageError. */
export function parseNode(text: string): string {
  if (/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$/.test(text)) return text;
  throw new UsageError('wanted letters, digits, "_", "." and "-", with a letter or digit at both ends');
}

/** `--address IP[,IP6]`, or names of links. Throws UsageError. */
export function parseAddresses(text: string): readonly string[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.every((part) => /^[^\s/]+$/.test(part)) && parts.length <= 4) return parts;
  throw new UsageError(
    'wanted addresses without prefix length, or links, such as 192.0.2.1,2001:db8::1 or eth0',
  );
}

/**
 * `HOST:PORT` with a host that is 127.0.0.0/8, [::1] or localhost; undefined for anything else: metrics tell the names of
 * networks, and nobody is asked for a password.
 */
export function parseLoopback(text: string): LoopbackAddress | undefined {
  const [, v6, v4, digits] = /^(?:\[([0-9a-f:]+)\]|([0-9a-z.]+)):(\d{1,5})$/i.exec(text) ?? [];
  const port = Number(digits);
  const host = v4 === 'localhost' ? '127.0.0.1' : (v4 ?? v6 ?? '');
  const loopback = host === '::1' || /^127\.(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.|$)){3}$/.test(host);
  return loopback && !host.endsWith('.') && port <= 65_535 ? { host, port } : undefined;
}
