import ipaddr from 'ipaddr.js';

/**
 * Addresses and prefixes as numbers. ipaddr.js reads them, bigint counts with them; the text that is written is the one
 * that Go's net.IP.String writes, because lease files are named by it.
 */

export type Family = 4 | 6;

export interface Address {
  family: Family;
  value: bigint;
}

/** `address` keeps its host bits; `firstOf` takes them off. */
export interface Prefix {
  address: Address;
  /** Prefix length, 0 to 32 or 128. */
  bits: number;
}

/** Bits of an address of the family. */
export function width(family: Family): number {
  return family === 4 ? 32 : 128;
}

/**
 * Reads an address; undefined when the text is none. IPv4 only as four decimal numbers without leading zeros (as Go
 * reads it), IPv6 without zone; an IPv4-mapped IPv6 address is the IPv4 address.
 */
export function parseAddress(text: string): Address | undefined {
  const found = readAddress(text);
  if (found?.family !== 6 || found.value >> 32n !== MAPPED) return found;
  return { family: 4, value: found.value & 0xffffffffn };
}

/** ::ffff:0:0/96 (RFC 4291, section 2.5.5.2). */
const MAPPED = 0xffffn;

/** The same, with a mapped address as what it is for the kernel: one of IPv6. */
function readAddress(text: string): Address | undefined {
  if (!text.includes(':')) {
    const value = fourDecimals(text);
    return value === undefined ? undefined : { family: 4, value: BigInt(value) };
  }
  // Asked first: of what is no address, ipaddr.js learns by an exception.
  if (text.includes('%') || !ipaddr.IPv6.isValid(text)) return undefined;
  const { parts } = ipaddr.IPv6.parse(text);
  return { family: 6, value: parts.reduce((value, part) => (value << 16n) | BigInt(part), 0n) };
}

const ZERO = 0x30;
const DOT = 0x2e;

/** Each ADD reads a dozen of these: ipaddr.js and its patterns would be a tenth of what it computes. */
function fourDecimals(text: string): number | undefined {
  let [value, part, digits, dots] = [0, 0, 0, 0];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === DOT && digits > 0 && dots < 3) {
      value = value * 256 + part;
      part = digits = 0;
      dots += 1;
      continue;
    }
    const digit = code - ZERO;
    // A zero begins nothing else.
    if (digit < 0 || digit > 9 || (digits > 0 && part === 0)) return undefined;
    part = part * 10 + digit;
    digits += 1;
    if (part > 255) return undefined;
  }
  return dots === 3 && digits > 0 ? value * 256 + part : undefined;
}

/** Reads `address/length`; undefined when the text is none. A mapped address has no IPv4 prefix length: undefined too. */
export function parsePrefix(text: string): Prefix | undefined {
  const prefix = text.includes('/') ? readPrefix(text) : undefined;
  return prefix?.address.family === 6 && prefix.address.value >> 32n === MAPPED ? undefined : prefix;
}

/** The same for the kernel's addresses; one without a length is its own prefix. */
function readPrefix(text: string): Prefix | undefined {
  const [plain = '', length, ...rest] = text.split('/');
  const address = readAddress(plain);
  if (address === undefined || rest.length > 0) return undefined;
  const most = width(address.family);
  if (length === undefined) return { address, bits: most };
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > most) return undefined;
  return { address, bits: Number(length) };
}

/** The canonical text: four decimal numbers; RFC 5952 for IPv6 (its section 4.2.3: the first of the longest runs of zeros). */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) {
    const number = Number(value);
    return `${number >>> 24}.${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}`;
  }
  const parts: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) parts.push(((value >> shift) & 0xffffn).toString(16));
  const { start, length } = longestZeros(parts);
  if (length < 2) return parts.join(':');
  return `${parts.slice(0, start).join(':')}::${parts.slice(start + length).join(':')}`;
}

function longestZeros(parts: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [index, part] of parts.entries()) {
    if (part !== '0') start = index + 1;
    else if (index - start + 1 > best.length) best = { start, length: index - start + 1 };
  }
  return best;
}

export function formatPrefix({ address, bits }: Prefix): string {
  return `${formatAddress(address)}/${bits}`;
}

/** The network address: all host bits 0. */
export function firstOf({ address, bits }: Prefix): bigint {
  const hostBits = BigInt(width(address.family) - bits);
  return (address.value >> hostBits) << hostBits;
}

/** The last address: all host bits 1 (IPv4: broadcast). */
export function lastOf(prefix: Prefix): bigint {
  const hostBits = BigInt(width(prefix.address.family) - prefix.bits);
  return firstOf(prefix) | ((1n << hostBits) - 1n);
}

export function contains(prefix: Prefix, address: Address): boolean {
  return (
    prefix.address.family === address.family &&
    address.value >= firstOf(prefix) &&
    address.value <= lastOf(prefix)
  );
}

/** fe80::/10 (RFC 4291, section 2.5.6). */
export function isLinkLocal6({ family, value }: Address): boolean {
  return family === 6 && value >> 118n === 0x3fan;
}

/** Whether a text is an address exactly as formatAddress writes it: the name of a lease file. */
export function isCanonical(text: string): boolean {
  // Four decimal numbers have no second spelling. Most names are of this kind, and a store has many.
  if (!text.includes(':')) return fourDecimals(text) !== undefined;
  const address = parseAddress(text);
  return address !== undefined && formatAddress(address) === text;
}

// From text to text, for plans, which are readable data. Throws RangeError that names a text which is no address or prefix.

function wanted(text: string): Prefix {
  const prefix = readPrefix(text);
  if (prefix === undefined) throw new RangeError(`"${text}" is no address, or has no valid prefix length`);
  return prefix;
}

/** By its spelling: nothing is checked. */
export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/** `10.1.0.5/24` gives `10.1.0.5`. */
export function addressOf(cidr: string): string {
  return cidr.split('/', 1)[0] ?? cidr;
}

/** Reads `10.1.0.0/24`, or `10.1.0.5` as the prefix of that one address; undefined when the text is neither. */
export function parseEither(text: string): Prefix | undefined {
  const address = parseAddress(text);
  return address ? { address, bits: width(address.family) } : parsePrefix(text);
}

/** `10.1.0.5/24` gives 24. */
export function lengthOf(cidr: string): number {
  return wanted(cidr).bits;
}

/** One spelling for each address or CIDR, so that texts can be compared. */
export function canonical(text: string): string {
  const prefix = wanted(text);
  return text.includes('/') ? formatPrefix(prefix) : formatAddress(prefix.address);
}

/** The prefix without its host part: `10.1.0.5/24` gives `10.1.0.0/24`. */
export function networkOf(cidr: string): string {
  const prefix = wanted(cidr);
  return formatPrefix({ ...prefix, address: { ...prefix.address, value: firstOf(prefix) } });
}

/** The first address after the network's own: `10.1.0.5/24` gives `10.1.0.1`. */
export function firstAddress(cidr: string): string {
  const prefix = wanted(cidr);
  return formatAddress({ ...prefix.address, value: firstOf(prefix) | 1n });
}

/** Whether two prefixes share an address. */
export function overlap(a: string, b: string): boolean {
  const [one, two] = [wanted(a), wanted(b)];
  const start = (prefix: Prefix): Address => ({ ...prefix.address, value: firstOf(prefix) });
  return contains(one, start(two)) || contains(two, start(one));
}

/** The whole-address prefix: `10.1.0.5` gives `10.1.0.5/32`. */
export function hostPrefix(address: string): string {
  return formatPrefix(wanted(addressOf(address)));
}

export function defaultRoute(family: Family): string {
  return family === 4 ? '0.0.0.0/0' : '::/0';
}
