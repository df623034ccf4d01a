/** Whether two hosts of a file hold the same addresses. */
import { firstOf, lastOf, type Prefix, parseAddress, parsePrefix, width } from '../../cni/prefix.ts';
import type { FileMember } from './schema.ts';

interface Held {
  host: string;
  list: 'subnets' | 'borrowed';
  index: number;
  text: string;
  prefix: Prefix;
}

export interface Overlap extends Omit<Held, 'prefix'> {
  other: string;
  holder: string;
}

/** The first prefix that shares addresses with one before it. Borrowed addresses lie in the lender's subnet: only twice the same is wrong. */
export function firstOverlap(hosts: Readonly<Record<string, FileMember>>): Overlap | undefined {
  const held = Object.entries(hosts).flatMap(([host, member]) => [
    ...entries(host, 'subnets', member.subnets ?? []),
    ...entries(host, 'borrowed', member.borrowed ?? []),
  ]);
  for (const list of ['subnets', 'borrowed'] as const) {
    const sorted = held.filter((one) => one.list === list).sort(byStart);
    for (const [index, one] of sorted.entries()) {
      const before = sorted[index - 1];
      if (before === undefined || before.prefix.address.family !== one.prefix.address.family) continue;
      if (lastOf(before.prefix) < firstOf(one.prefix)) continue;
      const { prefix: _, ...where } = one;
      return { ...where, other: before.text, holder: before.host };
    }
  }
  return undefined;
}

function entries(host: string, list: Held['list'], texts: readonly string[]): Held[] {
  return texts.flatMap((text, index) => {
    const address = parseAddress(text);
    const prefix = address === undefined ? parsePrefix(text) : { address, bits: width(address.family) };
    return prefix === undefined ? [] : [{ host, list, index, text, prefix }];
  });
}

function byStart({ prefix: a }: Held, { prefix: b }: Held): number {
  if (a.address.family !== b.address.family) return a.address.family - b.address.family;
  if (firstOf(a) !== firstOf(b)) return firstOf(a) < firstOf(b) ? -1 : 1;
  return a.bits - b.bits;
}
