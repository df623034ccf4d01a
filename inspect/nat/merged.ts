/** Translations that are one for people, and how many share a counter. */
import type { RuleRef, Translation } from './translation.ts';

export type Emitted = Omit<Translation, 'shared'>;

/** What is reached from two hooks, by two links, or by several rules that ask the same element, is one. */
export function merged(all: readonly Emitted[]): Emitted[] {
  const byKey = new Map<string, Emitted>();
  for (const one of all) {
    const { hooks, priority: _, rules, counters, sources, in: comes, out, ...rest } = one;
    // The rules differ in who asks: the container itself, one beside it, the host.
    const isFolded = one.kind === 'masquerade' && one.element !== undefined && one.published;
    const key = JSON.stringify(isFolded ? { ...rest, chain: rules[0]?.chain } : { ...rest, sources, rules });
    const before = byKey.get(key);
    byKey.set(
      key,
      before === undefined
        ? one
        : {
            ...before,
            sources: either(before.sources, sources, isFolded),
            in: either(before.in, comes),
            out: either(before.out, out),
            hooks: [...new Set([...before.hooks, ...hooks])],
            rules: uniqueRules([...before.rules, ...rules]),
            ...(counters === undefined ? {} : { counters }),
          },
    );
  }
  return [...byKey.values()];
}

/** An empty list is everything. */
function either(a: readonly string[], b: readonly string[], loose = false): readonly string[] {
  const both = [...new Set([...a, ...b])];
  if (a.length === 0 || b.length === 0) return [];
  return loose && both.length > a.length ? [] : both;
}

function uniqueRules(rules: readonly RuleRef[]): RuleRef[] {
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()];
}

/** With the number of those that a counter is shared by. */
export function counted(all: readonly Emitted[]): Translation[] {
  const key = ({ rules, counters }: Emitted) => JSON.stringify([rules[0], counters]);
  const uses = new Map<string, number>();
  for (const one of all) uses.set(key(one), (uses.get(key(one)) ?? 0) + 1);
  return all.map((one) => ({ ...one, shared: one.counters === undefined ? 1 : (uses.get(key(one)) ?? 1) }));
}
