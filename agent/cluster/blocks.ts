/** How many blocks of an L2 network's pool a host should hold: enough for the next containers, and none for nothing. */
import type { Pool } from '../../cluster/network.ts';
import { contains, firstOf, lastOf, overlap, parseAddress, parsePrefix } from '../../cni/prefix.ts';

/** Addresses; with fewer free, another block is wanted, or with less than a quarter of a block. */
const RESERVE = 8;

export interface BlockNeeds {
  /** Pools of which one more block is wanted. */
  short: Pool[];
  /** Blocks that hold no lease and are not needed. */
  idle: string[];
}

/** @param borrowed single addresses of other hosts' blocks, which count while they are free */
export function blockNeeds(
  pools: readonly Pool[],
  held: readonly string[],
  borrowed: readonly string[],
  leased: readonly string[],
): BlockNeeds {
  const needs: BlockNeeds = { short: [], idle: [] };
  const taken = new Set(leased);
  for (const pool of pools) {
    const blocks = held.filter((block) => overlap(block, pool.prefix)).map((block) => usageOf(block, leased));
    const spare = borrowed.filter((address) => overlap(address, pool.prefix) && !taken.has(address)).length;
    const one = blocks[0]?.size ?? 0;
    const reserve = Math.max(RESERVE, one / 4);
    let free = blocks.reduce((sum, { size, used }) => sum + size - used, spare);
    if (free < reserve) needs.short.push(pool);
    for (const { block, size, used } of blocks.slice(1)) {
      if (used > 0 || free - size < 2 * reserve) continue;
      needs.idle.push(block);
      free -= size;
    }
  }
  return needs;
}

function usageOf(block: string, leased: readonly string[]): { block: string; size: number; used: number } {
  const prefix = parsePrefix(block);
  if (prefix === undefined) return { block, size: 0, used: 0 };
  const used = leased.filter((text) => {
    const address = parseAddress(text);
    return address !== undefined && contains(prefix, address);
  }).length;
  return { block, size: Number(lastOf(prefix) - firstOf(prefix) + 1n), used };
}
