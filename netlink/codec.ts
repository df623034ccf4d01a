/** How one value stands in an attribute or in a fixed header: numbers, strings, addresses. */
import ipaddr from 'ipaddr.js';
import { LITTLE_ENDIAN, type Writer } from './writer.ts';

/** The payload is a list of attributes. */
export const NLA_F_NESTED = 0x8000;
/** The payload is in network byte order. */
export const NLA_F_NET_BYTEORDER = 0x4000;

export interface Codec<T> {
  /** NLA_F_NESTED or NLA_F_NET_BYTEORDER, set on the attribute's type. */
  readonly flags?: number;
  /** Each element of the value is an attribute of its own, all with the same number. */
  readonly repeated?: boolean;
  /** Throws RangeError (`want ..., found ...`) when the value cannot be written. */
  write(to: Writer, value: T): void;
  /** Throws RangeError when the bytes are too few. */
  read(bytes: Uint8Array): T;
  /** Containers: the table of the attributes inside, or the codec of each element. */
  readonly inside?: Readonly<Record<string, { number: number; name: string; codec: Codec<unknown> }>>;
  readonly element?: Codec<unknown>;
  /** Names what stands at an offset into the payload, for containers. */
  nameAt?(bytes: Uint8Array, offset: number): string | undefined;
}

/** A number of fixed size; may stand in a header struct. */
export interface Scalar extends Codec<number> {
  readonly size: number;
  /** At an offset, so that a struct's fields need no views of their own. */
  read(bytes: Uint8Array, at?: number): number;
}

export function wrong(wanted: string, found: unknown): RangeError {
  return new RangeError(`want ${wanted}, found ${typeof found === 'string' ? `'${found}'` : String(found)}`);
}

function viewOf(bytes: Uint8Array, size: number): DataView {
  if (bytes.length < size) throw new RangeError(`want ${size} bytes, found ${bytes.length}`);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function integer(size: 1 | 2 | 4 | 8, little: boolean, flags = 0): Scalar {
  const max = size === 8 ? Number.MAX_SAFE_INTEGER : 2 ** (size * 8) - 1;
  return {
    size,
    flags,
    write(to, value) {
      if (!Number.isInteger(value) || value < 0 || value > max) throw wrong(`0..${max}`, value);
      const at = to.reserve(size);
      if (size === 1) to.view.setUint8(at, value);
      else if (size === 2) to.view.setUint16(at, value, little);
      else if (size === 4) to.view.setUint32(at, value, little);
      else to.view.setBigUint64(at, BigInt(value), little);
    },
    read(bytes, from = 0) {
      // By bytes: a view costs more than the rest of reading a number.
      if (size === 8 || bytes.length < from + size) {
        return Number(viewOf(bytes, from + size).getBigUint64(from, little));
      }
      let value = 0;
      for (let i = 0; i < size; i++)
        value = value * 256 + (bytes[from + (little ? size - 1 - i : i)] as number);
      return value;
    },
  };
}

export const u8: Scalar = integer(1, LITTLE_ENDIAN);
export const u16: Scalar = integer(2, LITTLE_ENDIAN);
export const u32: Scalar = integer(4, LITTLE_ENDIAN);
/** Up to 2^53 - 1. */
export const u64: Scalar = integer(8, LITTLE_ENDIAN);
export const u16be: Scalar = integer(2, false);
export const u32be: Scalar = integer(4, false);
export const u64be: Scalar = integer(8, false);
/** The same, with NLA_F_NET_BYTEORDER set, as ipset asks for. */
export const u16net: Scalar = integer(2, false, NLA_F_NET_BYTEORDER);
export const u32net: Scalar = integer(4, false, NLA_F_NET_BYTEORDER);
export const u64net: Scalar = integer(8, false, NLA_F_NET_BYTEORDER);

function signed(little: boolean): Scalar {
  return {
    size: 4,
    write(to, value) {
      if (value !== (value | 0)) throw wrong('-2147483648..2147483647', value);
      const at = to.reserve(4);
      to.view.setInt32(at, value, little);
    },
    read: (bytes, at) => (little ? u32 : u32be).read(bytes, at) | 0,
  };
}

export const i32: Scalar = signed(LITTLE_ENDIAN);
export const i32be: Scalar = signed(false);

/** One byte, 0 or 1. */
export const bool: Codec<boolean> = {
  write: (to, value) => u8.write(to, value ? 1 : 0),
  read: (bytes) => u8.read(bytes) !== 0,
};

/** The same in four. */
export const bool32: Codec<boolean> = {
  write: (to, value) => u32.write(to, value ? 1 : 0),
  read: (bytes) => u32.read(bytes) !== 0,
};

export const bytes: Codec<Uint8Array> = {
  write: (to, value) => to.append(value),
  read: (found) => found,
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Nearly all names are short, and of ASCII: the general way costs ten times as much. */
const SHORT = 64;

function asciiBytes(value: string): Uint8Array | undefined {
  if (value.length > SHORT) return undefined;
  const found = new Uint8Array(value.length);
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code > 127) return undefined;
    found[i] = code;
  }
  return found;
}

function asciiText(found: Uint8Array, length: number): string | undefined {
  if (length > SHORT) return undefined;
  let value = '';
  for (let i = 0; i < length; i++) {
    const code = found[i] as number;
    if (code > 127) return undefined;
    value += String.fromCharCode(code);
  }
  return value;
}

/** NUL-terminated text of at most `room` bytes, terminator included. */
export function text(room: number): Codec<string> {
  return {
    write(to, value) {
      const encoded = asciiBytes(value) ?? encoder.encode(value);
      if (value.includes('\0')) throw wrong('text without NUL', value);
      if (encoded.length >= room) throw wrong(`at most ${room - 1} bytes`, value);
      to.append(encoded);
      to.reserve(1);
    },
    read(found) {
      const end = found.indexOf(0);
      const length = end < 0 ? found.length : end;
      return asciiText(found, length) ?? decoder.decode(found.subarray(0, length));
    },
  };
}

const HEX = '0123456789abcdef';

/** An Ethernet address, `02:00:00:00:00:01`. */
export const mac: Codec<string> = {
  write(to, value) {
    if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(value)) throw wrong('a MAC address', value);
    const at = to.reserve(6);
    for (let i = 0; i < 6; i++) to.view.setUint8(at + i, Number.parseInt(value.slice(3 * i, 3 * i + 2), 16));
  },
  read(found) {
    let value = '';
    for (const byte of found) value += `${value === '' ? '' : ':'}${HEX[byte >> 4]}${HEX[byte & 15]}`;
    return value;
  },
};

const FOUR_DECIMALS = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/**
 * The 4 or 16 bytes of an address in text. Only the four-part decimal form of IPv4 is taken, and no zone.
 * Throws RangeError.
 */
export function parseIp(value: string): Uint8Array {
  const four = FOUR_DECIMALS.exec(value);
  if (four !== null) {
    const found = Uint8Array.of(Number(four[1]), Number(four[2]), Number(four[3]), Number(four[4]));
    // More than a byte has would have wrapped around.
    if (found.join('.') === value) return found;
  }
  // Of what is no IPv6 address, ipaddr.js learns by an exception.
  if (!value.includes('%') && ipaddr.IPv6.isValid(value)) {
    return Uint8Array.from(ipaddr.IPv6.parse(value).toByteArray());
  }
  throw wrong('an IP address', value);
}

/** Text of 4 or 16 bytes (RFC 5952). Throws RangeError. */
export function formatIp(found: Uint8Array): string {
  if (found.length === 4) return found.join('.');
  if (found.length === 16) return formatIp6(found);
  throw new RangeError(`want 4 or 16 bytes, found ${found.length}`);
}

function formatIp6(found: Uint8Array): string {
  let [start, most, run] = [-1, 1, 0];
  for (let i = 0; i < 8; i++) {
    run = found[2 * i] === 0 && found[2 * i + 1] === 0 ? run + 1 : 0;
    if (run > most) [start, most] = [i - run + 1, run];
  }
  let value = '';
  for (let i = 0; i < 8; i++) {
    if (i === start) {
      value += '::';
      i += most - 1;
      continue;
    }
    if (value !== '' && !value.endsWith(':')) value += ':';
    value += (((found[2 * i] as number) << 8) | (found[2 * i + 1] as number)).toString(16);
  }
  return value;
}

/** An address of either family; its length says which. */
export const ip: Codec<string> = {
  write: (to, value) => to.append(parseIp(value)),
  read: formatIp,
};

export interface Prefix {
  address: string;
  /** Bits. */
  length: number;
  family: number;
  bytes: Uint8Array;
}

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

/** AF_INET or AF_INET6 of an address in text. */
export function familyOf(address: string): number {
  return address.includes(':') ? AF_INET6 : AF_INET;
}

/** Takes `10.1.0.1/24`, or an address alone, which is its own prefix. Host bits stay. Throws RangeError. */
export function parsePrefix(cidr: string): Prefix {
  const [address = '', bits, ...rest] = cidr.split('/');
  const found = parseIp(address);
  const most = found.length * 8;
  const length = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (rest.length > 0 || !(length <= most)) throw wrong(`a prefix length of 0..${most}`, cidr);
  return { address, length, family: familyOf(address), bytes: found };
}

/** The address with all bits behind the prefix cleared. */
export function maskBytes(address: Uint8Array, length: number): Uint8Array {
  return address.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - i * 8))) & 0xff);
}
