/** The rule that the kernel speaks of by number, as it was read. */
import type { Chain, HookName, Rule, Ruleset, Table } from '../ruleset/model.ts';
import type { SeenRule } from './request.ts';

export interface FoundRule {
  table?: Table | undefined;
  chain?: Chain | undefined;
  rule?: Rule | undefined;
}

/** By handle; legacy iptables' by position. */
export function findRule(ruleset: Ruleset | undefined, seen: SeenRule): FoundRule {
  const legacy = seen.position !== undefined;
  const table = ruleset?.tables.find(
    ({ variant, family, name }) =>
      family === seen.family && name === seen.table && (variant === 'iptables-legacy') === legacy,
  );
  const chain = table?.chains.find(({ name }) => name === seen.chain);
  if (seen.what !== 'rule') return { table, chain };
  const rule = chain?.rules.find((each) =>
    legacy ? each.position === seen.position : each.handle === seen.handle,
  );
  return { table, chain, rule };
}

/** What it says happens to a packet: `drop`, `jump web`, `dnat`. Legacy iptables does not tell. */
export function verdictOf({ rule }: FoundRule): string {
  for (const statement of rule?.statements ?? []) {
    if (statement.kind === 'verdict') {
      const { verdict } = statement;
      return 'chain' in verdict ? `${verdict.kind} ${verdict.chain}` : verdict.kind;
    }
    if (['dnat', 'snat', 'masquerade', 'redirect'].includes(statement.kind)) return 'accept';
  }
  return 'continue';
}

export function policyOf({ chain }: FoundRule): string {
  return chain?.base?.policy ?? 'accept';
}

/** Hooks in the order in which a packet comes to them. */
const ORDER: readonly HookName[] = [
  'ingress',
  'prerouting',
  'input',
  'forward',
  'output',
  'postrouting',
  'egress',
];

/** Sorts what happens at one link: by hook, then by priority; undefined where the rules were not read. */
export function rankOf(ruleset: Ruleset | undefined, seen: SeenRule): number | undefined {
  const base = findRule(ruleset, { ...seen, what: 'policy' }).chain?.base;
  const hook = seen.hook ?? base?.hook;
  const priority = base?.priority ?? LEGACY_PRIORITY[seen.table];
  if (hook === undefined || priority === undefined) return undefined;
  return ORDER.indexOf(hook) * 1e10 + priority;
}

/** uapi/linux/netfilter_ipv4.h; a legacy table's chains are jumped to from the built-in ones. */
const LEGACY_PRIORITY: Readonly<Record<string, number>> = {
  ...{ raw: -300, mangle: -150, nat: -100, filter: 0, security: 50 },
};
