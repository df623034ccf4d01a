/** How many blocks of an L2 network's pool a host should hold: enough for the next containers, and none for nothing. */
import type { Pool } from '../../cluster/network.ts';
import {
  type Address,
  contains,
  firstOf,
  lastOf,
  overlap,
  parseAddress,
  parsePrefix,
} from '../../cni/prefix.ts';

/** Addresses; with fewer free, another block is wanted, or with less than a quarter of a block. */
const RESERVE = 8;

export interface BlockNeeds {
  /** Pools of which more is wanted, and how many addresses are free. */
  short: { pool: Pool; free: number }[];
  /** Blocks and borrowed addresses that hold no lease and are not needed. */
  idle: string[];
}

/** What a host holds of an L2 network's pools. */
export interface Held {
  blocks: readonly string[];
  /** Single addresses of other hosts' blocks. */
  borrowed: readonly string[];
  leased: readonly string[];
}

export function blockNeeds(pools: readonly Pool[], { blocks: all, borrowed, leased }: Held): BlockNeeds {
  const needs: BlockNeeds = { short: [], idle: [] };
  const taken = new Set(leased);
  const addresses = leased.flatMap((text) => parseAddress(text) ?? []);
  for (const pool of pools) {
    const blocks = all
      .filter((block) => overlap(block, pool.prefix))
      .map((block) => usageOf(block, addresses));
    const spare = borrowed.filter((address) => overlap(address, pool.prefix) && !taken.has(address));
    const reserve = Math.max(RESERVE, (blocks[0]?.size ?? 0) / 4);
    let free = blocks.reduce((sum, { size, used }) => sum + size - used, spare.length);
    if (free < reserve) needs.short.push({ pool, free });
    // What is another host's goes back first.
    for (const address of spare) {
      if (free - 1 < 2 * reserve) break;
      needs.idle.push(address);
      free -= 1;
    }
    for (const { block, size, used } of blocks.slice(1)) {
      if (used > 0 || free - size < 2 * reserve) continue;
      needs.idle.push(block);
      free -= size;
    }
  }
  return needs;
}

function usageOf(block: string, leased: readonly Address[]): { block: string; size: number; used: number } {
  const prefix = parsePrefix(block);
  if (prefix === undefined) return { block, size: 0, used: 0 };
  const used = leased.filter((address) => contains(prefix, address)).length;
  return { block, size: Number(lastOf(prefix) - firstOf(prefix) + 1n), used };
}
