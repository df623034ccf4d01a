/** Arithmetic on pools. A pool of IPv6 may have more blocks than a disk has bytes: nothing here counts them one by one. */
import {
  contains,
  type Family,
  firstOf,
  formatAddress,
  formatPrefix,
  lastOf,
  overlap,
  type Prefix,
  parseAddress,
  parsePrefix,
  width,
} from '../../cni/prefix.ts';
import type { Pool } from '../network.ts';
import { RegistryError } from '../registry.ts';

/** Reads a prefix. Throws RegistryError(invalid). */
export function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return prefix;
  throw new RegistryError('invalid', `"${text}" is no prefix: wanted one such as 10.244.3.0/24`);
}

/** Whether a prefix (or address) lies in a pool as a whole. */
export function inPool(pool: Pool, text: string): boolean {
  const range = prefixOf(pool.prefix);
  const prefix = text.includes('/') ? prefixOf(text) : wholeAddress(text);
  return prefix.bits >= range.bits && contains(range, prefix.address);
}

export function overlapsAny(prefix: string, others: readonly string[]): boolean {
  return others.some((other) => overlap(prefix, other));
}

/**
 * A block of the pool that shares no address with `taken` (prefixes and addresses): the first at or after the one that `seed` points at,
 * which spreads hosts that come at the same time. Undefined when there is none. Throws RegistryError(invalid) for a pool that has no such blocks.
 */
export function freeBlock(pool: Pool, taken: readonly string[], seed: bigint): string | undefined {
  const { first, family, size, count } = measure(pool);
  const spans = takenSpans(pool, taken).sort((a, b) => (a.from < b.from ? -1 : 1));
  const start = seed % count;
  const index = firstGap(spans, start, count) ?? firstGap(spans, 0n, start);
  if (index === undefined) return undefined;
  const address = { family, value: first + index * size };
  return formatPrefix({ address, bits: pool.blockLength });
}

/** Blocks by number, both included. */
interface BlockSpan {
  from: bigint;
  to: bigint;
}

function measure({ prefix, blockLength }: Pool) {
  const range = prefixOf(prefix);
  const { family } = range.address;
  if (!Number.isInteger(blockLength) || blockLength < range.bits || blockLength > width(family)) {
    throw new RegistryError(
      'invalid',
      `pool ${prefix} cannot be cut into blocks of /${blockLength}: wanted a length from ${range.bits} to ${width(family)}`,
    );
  }
  const size = 1n << BigInt(width(family) - blockLength);
  return { range, family, first: firstOf(range), size, count: 1n << BigInt(blockLength - range.bits) };
}

function takenSpans(pool: Pool, taken: readonly string[]): BlockSpan[] {
  const { range, family, first, size, count } = measure(pool);
  const spans = taken.flatMap((text): BlockSpan[] => {
    const prefix = text.includes('/') ? prefixOf(text) : wholeAddress(text);
    if (prefix.address.family !== family) return [];
    const [from, to] = [firstOf(prefix), lastOf(prefix)];
    if (to < first || from > lastOf(range)) return [];
    return [{ from: from <= first ? 0n : (from - first) / size, to: (to - first) / size }];
  });
  // A block of one address must not be the pool's own (subnet-router anycast in IPv6) or, in IPv4, its broadcast address.
  if (size === 1n && count > 2n) {
    spans.push({ from: 0n, to: 0n });
    if (family === 4) spans.push({ from: count - 1n, to: count - 1n });
  }
  return spans;
}

/** The first number from `start` up to, not including, `end` that is in no span; they are sorted by their start. */
function firstGap(spans: readonly BlockSpan[], start: bigint, end: bigint): bigint | undefined {
  let candidate = start;
  for (const { from, to } of spans) {
    if (to < candidate) continue;
    if (from > candidate) break;
    candidate = to + 1n;
  }
  return candidate < end ? candidate : undefined;
}

/** How many blocks a pool has, for people. */
export function blockCount(pool: Pool): string {
  const { count } = measure(pool);
  return count > 1_000_000n ? `2^${count.toString(2).length - 1}` : String(count);
}

function wholeAddress(text: string): Prefix {
  const address = parseAddress(text);
  if (address === undefined) throw new RegistryError('invalid', `"${text}" is no address`);
  return { address, bits: width(address.family) };
}

/**
 * Up to `count` addresses of a block that are not in `taken`, from its end downwards: its own host begins at the start. Never the first two
 * and the last of the pool: network, usual gateway, broadcast.
 */
export function addressesFromEnd(
  pool: Pool,
  block: string,
  taken: ReadonlySet<string>,
  count: number,
): string[] {
  const [range, prefix] = [prefixOf(pool.prefix), prefixOf(block)];
  const family: Family = prefix.address.family;
  const lowest = firstOf(range) + 2n;
  const highest = family === 4 ? lastOf(range) - 1n : lastOf(range);
  const found: string[] = [];
  for (let value = lastOf(prefix); value >= firstOf(prefix) && found.length < count; value -= 1n) {
    const address = formatAddress({ family, value });
    if (value >= lowest && value <= highest && !taken.has(address)) found.push(address);
  }
  return found;
}
