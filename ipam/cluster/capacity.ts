import type { Layout } from './config.ts';
import { readMembership } from './membership.ts';
import { setsOf } from './sets.ts';

/**
 * How many addresses this host can hand out of a network, used or not, by family; undefined where it holds nothing of it, or what it holds
 * cannot be read.
 */
export function capacityOf(
  cacheDir: string,
  network: string,
  layout: Layout,
): { 4: number; 6: number } | undefined {
  const capacity = { 4: 0, 6: 0 };
  try {
    const membership = readMembership(cacheDir, network);
    if (membership === undefined) return undefined;
    for (const { family, ranges, spare = [], excluded } of setsOf(membership, layout)) {
      for (const { first, last } of [...ranges, ...spare]) {
        const kept = [...excluded].filter((value) => value >= first && value <= last);
        capacity[family] += Number(last - first + 1n) - kept.length;
      }
    }
    return capacity;
  } catch {
    return undefined;
  }
}
