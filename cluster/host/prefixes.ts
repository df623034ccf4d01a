/** Prefixes compared with each other. */
import { firstOf, lastOf, lengthOf, overlap, parsePrefix } from '../../cni/prefix.ts';

/** Whether all of a prefix is in another one. Throws RangeError. */
export function isWithin(prefix: string, outer: string): boolean {
  return overlap(prefix, outer) && lengthOf(prefix) >= lengthOf(outer);
}

interface Range {
  family: 4 | 6;
  first: bigint;
  last: bigint;
}

/** Many with few: each text is read once. What is no prefix shares nothing with any. */
export class Prefixes {
  readonly #ranges = new Map<string, Range | undefined>();

  #range(text: string): Range | undefined {
    const known = this.#ranges.get(text);
    if (known !== undefined || this.#ranges.has(text)) return known;
    const prefix = parsePrefix(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
    const range = prefix && { family: prefix.address.family, first: firstOf(prefix), last: lastOf(prefix) };
    this.#ranges.set(text, range);
    return range;
  }

  overlap(one: string, other: string): boolean {
    const [a, b] = [this.#range(one), this.#range(other)];
    return (
      a !== undefined && b !== undefined && a.family === b.family && a.first <= b.last && b.first <= a.last
    );
  }

  /** Whether all of a prefix, or an address, is in another one. */
  isWithin(prefix: string, outer: string): boolean {
    const [a, b] = [this.#range(prefix), this.#range(outer)];
    return (
      a !== undefined && b !== undefined && a.family === b.family && a.first >= b.first && a.last <= b.last
    );
  }
}
