/** What `iptables-save -c` and `ip6tables-save -c` print, of either variant. */

import { NOBODY } from '../owner.ts';
import { matchesOf, type Surroundings } from './iptables-matches.ts';
import { statementsOf } from './iptables-targets.ts';
import { partsOf, splitWords } from './iptables-words.ts';
import type { Chain, Counters, HookName, NamedSet, Rule, Table, Variant } from './model.ts';

const HOOKS: Readonly<Record<string, HookName>> = {
  PREROUTING: 'prerouting',
  INPUT: 'input',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};

/** linux/netfilter_ipv4.h, enum nf_ip_hook_priorities. */
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  nat: -100,
  filter: 0,
  security: 50,
};

/** Tables and how many rules could not be told from one another are as the program printed them. Never throws. */
export function readIptables(
  printed: string,
  variant: Exclude<Variant, 'nftables'>,
  family: 4 | 6,
  ipsets: ReadonlyMap<string, NamedSet & { exceptions: boolean }>,
): Table[] {
  return blocks(printed).map(({ name, lines }) => {
    const declared = lines.flatMap((line) => {
      const [, chain, policy, packets, bytes] = /^:(\S+) (\S+)(?: \[(\d+):(\d+)\])?/.exec(line) ?? [];
      return chain === undefined ? [] : [{ chain, policy, counters: counters(packets, bytes) }];
    });
    const chainNames = new Set(declared.map(({ chain }) => chain));
    const rules = new Map<string, Rule[]>(declared.map(({ chain }) => [chain, []]));
    const named = new Set<string>();
    for (const line of lines) {
      const [, packets, bytes, chain = '', words = ''] =
        /^(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)$/.exec(line) ?? [];
      const own = rules.get(chain);
      if (own === undefined) continue;
      const rule = readRule(words, { family, sets: ipsets }, (one) => chainNames.has(one), chain);
      own.push({
        position: own.length + 1,
        ...rule,
        ...withCounters(counters(packets, bytes)),
        owner: NOBODY,
      });
      for (const [, set = ''] of words.matchAll(/--match-set (\S+)/g)) named.add(set);
    }
    return {
      ...{ variant, name, family: family === 4 ? ('ip' as const) : ('ip6' as const) },
      chains: declared.map((one) => chainOf(name, one, rules.get(one.chain) ?? [])),
      sets: new Map([...ipsets].filter(([set]) => named.has(set))),
    };
  });
}

interface Block {
  name: string;
  lines: string[];
}

function blocks(printed: string): Block[] {
  const found: Block[] = [];
  for (const line of printed.split('\n')) {
    if (line.startsWith('*')) found.push({ name: line.slice(1).trim(), lines: [] });
    else if (line !== '' && !line.startsWith('#')) found.at(-1)?.lines.push(line);
  }
  return found;
}

function counters(packets: string | undefined, bytes: string | undefined): Counters | undefined {
  return packets === undefined || bytes === undefined
    ? undefined
    : { packets: Number(packets), bytes: Number(bytes) };
}

const withCounters = (found: Counters | undefined) => (found ? { counters: found } : {});

function chainOf(
  table: string,
  {
    chain,
    policy,
    counters: own,
  }: { chain: string; policy: string | undefined; counters: Counters | undefined },
  rules: readonly Rule[],
): Chain {
  const hook = Object.hasOwn(HOOKS, chain) ? HOOKS[chain] : undefined;
  // Only base chains have a policy.
  if (hook === undefined || policy === '-') return { name: chain, rules };
  const priority = PRIORITIES[table] ?? 0;
  const late = hook === 'postrouting' || hook === 'input';
  return {
    name: chain,
    base: {
      type: table === 'nat' ? 'nat' : table === 'mangle' && hook === 'output' ? 'route' : 'filter',
      hook,
      priority: table === 'nat' && late ? 100 : priority,
      policy: policy === 'DROP' ? 'drop' : 'accept',
    },
    rules,
    ...withCounters(own),
  };
}

function readRule(
  words: string,
  around: Surroundings,
  isChain: (name: string) => boolean,
  chain: string,
): Pick<Rule, 'text' | 'matches' | 'statements' | 'comment'> {
  const parts = partsOf(splitWords(words));
  const does = parts.find(({ of }) => /^(target|goto) /.test(of));
  const notes = parts.filter(({ of }) => of === 'match comment');
  const comment = notes.flatMap(({ options }) => options.flatMap(({ values }) => values)).join(' ');
  return {
    text: words,
    matches: parts.filter((part) => part !== does).flatMap((part) => matchesOf(part, around)),
    statements: statementsOf(does, isChain, chain),
    ...(comment === '' ? {} : { comment }),
  };
}
