/**
 * DHCP messages: BOOTP's fixed part, the magic cookie, options (RFC 2131, section 2; RFC 2132). Client's side only. Our own, because no
 * library that is kept writes and reads them without opening sockets of its own (docs/decisions/0011-dhcp-leases.md).
 */

/** RFC 2132, section 9.6. */
export const TYPE = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
} as const;
export type MessageType = (typeof TYPE)[keyof typeof TYPE];

/** Options by RFC 2132's numbers, and RFC 3442's 121. */
export const OPTION = {
  subnetMask: 1,
  routers: 3,
  nameServers: 6,
  hostName: 12,
  domainName: 15,
  mtu: 26,
  staticRoutes: 33,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  server: 54,
  parameters: 55,
  message: 56,
  maximumSize: 57,
  renewalTime: 58,
  rebindingTime: 59,
  vendorClass: 60,
  clientId: 61,
  userClass: 77,
  classlessRoutes: 121,
} as const;

export type Options = ReadonlyMap<number, Uint8Array>;

export interface Message {
  xid: number;
  /** Seconds since the client began. */
  secs: number;
  /** Dotted; 0.0.0.0 where the client may not use it yet. */
  ciaddr: string;
  /** Dotted; the client's address as the server says. */
  yiaddr: string;
  /** Six bytes: Ethernet. */
  chaddr: Uint8Array;
  options: Options;
}

export const ANY = '0.0.0.0';
const COOKIE = 0x63825363;
const FIXED = 236;
/** BOOTP's shortest message (RFC 1542, section 2.1); relays drop what is shorter. */
const SHORTEST = 300;
const [PAD, END] = [0, 255];
const ETHERNET = 1;
const [BOOTREQUEST, BOOTREPLY] = [1, 2];

/** `10.1.0.5` of four bytes. */
export function dotted(bytes: Uint8Array, at = 0): string {
  return bytes.subarray(at, at + 4).join('.');
}

/** Four bytes of `10.1.0.5`. */
export function undotted(text: string): Uint8Array {
  return Uint8Array.from(text.split('.', 4), Number);
}

export function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** A client's message as UDP carries it. */
export function encodeRequest({ xid, secs, ciaddr, chaddr, options }: Omit<Message, 'yiaddr'>): Uint8Array {
  const list = [...options].flatMap(([code, value]) => split(code, value));
  const length = list.reduce((sum, part) => sum + part.length, FIXED + 4 + 1);
  const bytes = new Uint8Array(Math.max(length, SHORTEST));
  const view = new DataView(bytes.buffer);
  bytes.set([BOOTREQUEST, ETHERNET, chaddr.length, 0]);
  view.setUint32(4, xid);
  view.setUint16(8, Math.min(secs, 0xffff));
  bytes.set(undotted(ciaddr), 12);
  bytes.set(chaddr, 28);
  view.setUint32(FIXED, COOKIE);
  let at = FIXED + 4;
  for (const part of list) {
    bytes.set(part, at);
    at += part.length;
  }
  bytes[at] = END;
  return bytes;
}

/** A long option goes in several parts (RFC 3396, section 5). */
function split(code: number, value: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < value.length; at += 255) {
    const part = value.subarray(at, at + 255);
    parts.push(Uint8Array.of(code, part.length, ...part));
  }
  return parts;
}

/** A server's message; undefined for what is none, or is cut off. */
export function decodeReply(bytes: Uint8Array): Message | undefined {
  if (bytes.length < FIXED + 4 || bytes[0] !== BOOTREPLY) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(FIXED) !== COOKIE) return undefined;
  const found = new Map<number, Uint8Array>();
  if (!readOptions(bytes.subarray(FIXED + 4), found)) return undefined;
  // RFC 2132, section 9.3: 1 is the field `file`, 2 is `sname`, 3 both; read in this order (RFC 3396, section 5).
  const overload = found.get(OPTION.overload)?.[0] ?? 0;
  if (overload & 1 && !readOptions(bytes.subarray(108, FIXED), found)) return undefined;
  if (overload & 2 && !readOptions(bytes.subarray(44, 108), found)) return undefined;
  return {
    xid: view.getUint32(4),
    secs: view.getUint16(8),
    ciaddr: dotted(bytes, 12),
    yiaddr: dotted(bytes, 16),
    chaddr: bytes.slice(28, 28 + Math.min(bytes[2] ?? 0, 16)),
    options: found,
  };
}

/** Into `found`; parts of one option become one. False where an option is longer than the field. */
function readOptions(bytes: Uint8Array, found: Map<number, Uint8Array>): boolean {
  for (let at = 0; at < bytes.length; ) {
    const code = bytes[at++];
    if (code === PAD) continue;
    if (code === END || code === undefined) return true;
    const length = bytes[at++];
    if (length === undefined || at + length > bytes.length) return false;
    const before = found.get(code) ?? new Uint8Array();
    const value = new Uint8Array(before.length + length);
    value.set(before);
    value.set(bytes.subarray(at, at + length), before.length);
    found.set(code, value);
    at += length;
  }
  return true;
}

export function typeOf({ options }: Message): number | undefined {
  return options.get(OPTION.messageType)?.[0];
}
