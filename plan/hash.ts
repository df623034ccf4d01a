/**
 * MurmurHash3 (x86, 32 bits; Austin Appleby, public domain algorithm). Derived names need a hash that spreads well and never
 * changes, not a cryptographic one; node:crypto alone would add 5 ms to the start of every plugin.
 */

const rotate = (value: number, bits: number) => (value << bits) | (value >>> (32 - bits));

function mix(hash: number, block: number): number {
  return hash ^ Math.imul(rotate(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593);
}

function finish(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** 32 bits of hash, as an unsigned number. */
export function murmur3(bytes: Uint8Array, seed: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length & ~3;
  let hash = seed;
  for (let at = 0; at < whole; at += 4) {
    hash = (Math.imul(rotate(mix(hash, view.getUint32(at, true)), 13), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = bytes.length - 1; at >= whole; at -= 1) tail = (tail << 8) | view.getUint8(at);
  if (whole < bytes.length) hash = mix(hash, tail);
  return finish(hash ^ bytes.length);
}

/** 64 bits of hash over texts, as two unsigned numbers; `['a', 'bc']` and `['ab', 'c']` differ. */
export function hashWords(...texts: readonly string[]): Words {
  let joined = '';
  for (const text of texts) joined += `${text.length}:${text}`;
  const bytes = Buffer.from(joined);
  return { high: murmur3(bytes, 0x77656674), low: murmur3(bytes, 0x6c6f6f6d) };
}

export interface Words {
  high: number;
  low: number;
}

/** The same as one number. */
export function hash64(...texts: readonly string[]): bigint {
  const { high, low } = hashWords(...texts);
  return (BigInt(high) << 32n) | BigInt(low);
}
