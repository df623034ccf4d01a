/** Keys, values and comments of nf_tables elements, as bytes. */
import { mac, maskBytes, parseIp, parsePrefix, text, wrong } from './codec.ts';
import { align, Writer } from './writer.ts';

/** What nft itself takes (NFTNL_UDATA_COMMENT_MAXLEN). */
const COMMENT_BYTES = 128;
/** NFTNL_UDATA_SET_ELEM_COMMENT and NFTNL_UDATA_RULE_COMMENT (libnftnl/udata.h). */
const UDATA_COMMENT = 0;

/** A key of type ipv4_addr or ipv6_addr. Throws RangeError. */
export function addressKey(address: string): Uint8Array {
  return parseIp(address);
}

/** A key of type inet_service. Throws RangeError. */
export function portKey(port: number): Uint8Array {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw wrong('a port', port);
  return Uint8Array.of(port >> 8, port & 0xff);
}

/** A key of type inet_proto: 6 TCP, 17 UDP, 132 SCTP. */
export function protocolKey(protocol: number): Uint8Array {
  if (!Number.isInteger(protocol) || protocol < 0 || protocol > 0xff)
    throw wrong('a protocol number', protocol);
  return Uint8Array.of(protocol);
}

/** A key of type ifname: 16 bytes. Throws RangeError. */
export function linkNameKey(name: string): Uint8Array {
  const to = new Writer();
  text(16).write(to, name);
  to.reserve(16 - to.length);
  return to.finish();
}

/** A key of type ether_addr. Throws RangeError. */
export function macKey(address: string): Uint8Array {
  const to = new Writer();
  mac.write(to, address);
  return to.finish();
}

/** A concatenation (`a . b`): each part fills whole 32-bit registers. */
export function concatenated(...parts: readonly Uint8Array[]): Uint8Array {
  const to = new Writer();
  for (const part of parts) {
    to.append(part);
    to.reserve(align(part.length) - part.length);
  }
  return to.finish();
}

/**
 * First and last-plus-one address of a prefix; no end where the prefix reaches the last address there is.
 * Throws RangeError.
 */
export function prefixRange(cidr: string): { start: Uint8Array; end: Uint8Array | undefined } {
  const { bytes, length } = parsePrefix(cidr);
  const start = maskBytes(bytes, length);
  const end = start.slice();
  // Add one to the last bit of the prefix.
  let carry = length > 0;
  for (let i = Math.ceil(length / 8) - 1; carry && i >= 0; i--) {
    const unit = i === Math.ceil(length / 8) - 1 ? 1 << (7 - ((length - 1) % 8)) : 1;
    const sum = (end[i] ?? 0) + unit;
    end[i] = sum & 0xff;
    carry = sum > 0xff;
  }
  return { start, end: carry || length === 0 ? undefined : end };
}

/** User data that nft prints as `comment "..."`. At most 128 bytes. Throws RangeError. */
export function commentData(comment: string): Uint8Array {
  const to = new Writer();
  to.append(Uint8Array.of(UDATA_COMMENT, 0));
  text(COMMENT_BYTES + 1).write(to, comment);
  to.view.setUint8(1, to.length - 2);
  return to.finish();
}

/** The comment in user data of an element or a rule, where there is one. */
export function commentOf(userdata: Uint8Array | undefined): string | undefined {
  for (let at = 0; userdata !== undefined && at + 2 <= userdata.length; ) {
    const [type, length = 0] = userdata.subarray(at, at + 2);
    const value = userdata.subarray(at + 2, at + 2 + length);
    if (type === UDATA_COMMENT && value.length === length) return text(256).read(value);
    at += 2 + length;
  }
  return undefined;
}
