/** Addresses and prefixes as the plans compare them. */
import ipaddr from 'ipaddr.js';

export interface Prefix {
  family: 4 | 6;
  /** Four or sixteen bytes, host part included. */
  bytes: readonly number[];
  length: number;
}

/** Parses `10.1.0.1/24`, `fd00::1/64`; without a length it is the whole address. Throws RangeError, naming the text. */
export function parsePrefix(text: string): Prefix {
  const [address = '', length, more] = text.split('/');
  if (!ipaddr.isValid(address) || more !== undefined) throw new RangeError(`"${text}" is no address`);
  const bytes = ipaddr.parse(address).toByteArray();
  const bits = bytes.length * 8;
  const prefixLength = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : -1;
  if (prefixLength < 0 || prefixLength > bits) throw new RangeError(`"${text}" has no valid prefix length`);
  return { family: bytes.length === 4 ? 4 : 6, bytes, length: prefixLength };
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

/** `10.1.0.5/24` gives `10.1.0.5`. */
export function addressOf(cidr: string): string {
  return cidr.split('/', 1)[0] ?? cidr;
}

function formatAddress(bytes: readonly number[]): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.bytes)}/${prefix.length}`;
}

/** One spelling for each address or CIDR, so that texts can be compared. */
export function canonical(text: string): string {
  const prefix = parsePrefix(text);
  return text.includes('/') ? formatPrefix(prefix) : formatAddress(prefix.bytes);
}

function masked(bytes: readonly number[], length: number): number[] {
  return bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i))) & 0xff);
}

/** The prefix without its host part: `10.1.0.5/24` gives `10.1.0.0/24`. */
export function networkOf(cidr: string): string {
  const prefix = parsePrefix(cidr);
  return formatPrefix({ ...prefix, bytes: masked(prefix.bytes, prefix.length) });
}

/** The first address after the network's own: `10.1.0.5/24` gives `10.1.0.1`. */
export function firstAddress(cidr: string): string {
  const prefix = parsePrefix(cidr);
  const bytes = masked(prefix.bytes, prefix.length);
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) | 1;
  return formatAddress(bytes);
}

/** Whether two prefixes share an address. */
export function overlap(a: string, b: string): boolean {
  const [one, two] = [parsePrefix(a), parsePrefix(b)];
  if (one.family !== two.family) return false;
  const length = Math.min(one.length, two.length);
  return masked(one.bytes, length).every((byte, i) => byte === masked(two.bytes, length)[i]);
}

/** The whole-address prefix: `10.1.0.5` gives `10.1.0.5/32`. */
export function hostPrefix(address: string): string {
  return formatPrefix(parsePrefix(addressOf(address)));
}

export function defaultRoute(family: 4 | 6): string {
  return family === 4 ? '0.0.0.0/0' : '::/0';
}
