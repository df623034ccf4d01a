/** A ruleset as boxes and arrows: chains with their rules, sets folded into a line, and what leads where. */

import { NOBODY, type Owner } from '../../owner.ts';
import { chainOwner, tableOwner } from '../../owners.ts';
import type { Chain, Counters, HookName, NamedSet, Rule, Ruleset, Table } from '../../ruleset/model.ts';

export interface Line {
  /** A rule without its comment. */
  text: string;
  comment?: string;
  owner: Owner;
  counters?: Counters;
  /** Of rules and chains that are not drawn one by one. */
  folded?: true;
}

export interface Box {
  id: string;
  kind: 'chain' | 'set';
  title: string;
  subtitle: string;
  owner: Owner;
  /** Where packets come in; absent for what is only led to. */
  hook?: { name: string; order: number; priority: number };
  lines: readonly Line[];
}

export interface Arrow {
  from: string;
  /** Number of its line. */
  line: number;
  to: string;
  /** How many rules or elements lead there so. */
  count: number;
  /** Asks a set or map, and may go on. */
  asks: boolean;
}

export interface Graph {
  boxes: readonly Box[];
  arrows: readonly Arrow[];
}

/** Rules of a chain that are drawn; the rest is one line. */
const MOST_RULES = 24;
/** Chains of one kind that are drawn one by one (KUBE-SEP-..., CNI-DN-...). */
const MOST_ALIKE = 6;

/** The ways of a packet, in its order. Bridges have their own before those of IP. */
const ORDER: readonly string[] = [
  'ingress',
  ...['bridge prerouting', 'bridge input', 'bridge forward', 'bridge output', 'bridge postrouting'],
  ...['arp input', 'arp forward', 'arp output'],
  ...['prerouting', 'input', 'forward', 'output', 'postrouting'],
  'egress',
];

/** Chains without rules whose policy is to accept are left out: they do nothing. */
export function graphOf({ tables }: Pick<Ruleset, 'tables'>): Graph {
  const parts = tables.map((table, i) => partOf(table, `t${i}`));
  return { boxes: parts.flatMap(({ boxes }) => boxes), arrows: parts.flatMap(({ arrows }) => arrows) };
}

function partOf(table: Table, prefix: string): Graph {
  const names = foldedNames(table);
  const chainId = (name: string) => `${prefix} chain ${names.get(name) ?? name}`;
  const setId = (name: string) => `${prefix} set ${name}`;
  const arrows = new Arrows();
  const boxes = new Map<string, Box>();
  const used = new Set<string>();
  for (const chain of table.chains) {
    const isIdle = chain.rules.length === 0 && chain.base?.policy === 'accept';
    const id = chainId(chain.name);
    if (isIdle) continue;
    const known = boxes.get(id);
    // Of chains alike the first is drawn, and all their arrows.
    if (known === undefined) boxes.set(id, chainBox(table, chain, id, alike(names, chain.name)));
    chain.rules.forEach((rule, i) => {
      const line = Math.min(i, (known ?? boxes.get(id))?.lines.length ?? 1, MOST_RULES);
      for (const chainName of jumps(rule)) arrows.add(id, line, chainId(chainName), false);
      for (const set of asked(rule)) {
        if (!table.sets.has(set)) continue;
        used.add(set);
        arrows.add(id, line, setId(set), true);
      }
    });
  }
  for (const name of used) {
    const set = table.sets.get(name);
    if (set === undefined) continue;
    boxes.set(setId(name), setBox(table, set, setId(name)));
    for (const { verdict } of set.elements) {
      if (verdict && 'chain' in verdict) arrows.add(setId(name), 0, chainId(verdict.chain), false);
    }
  }
  return { boxes: [...boxes.values()], arrows: arrows.all().filter(({ to }) => boxes.has(to)) };
}

class Arrows {
  readonly #known = new Map<string, Arrow>();

  add(from: string, line: number, to: string, asks: boolean): void {
    const key = `${from}\n${line}\n${to}`;
    this.#known.set(key, { from, line, to, asks, count: (this.#known.get(key)?.count ?? 0) + 1 });
  }

  all(): Arrow[] {
    return [...this.#known.values()].filter(({ from, to }) => from !== to);
  }
}

/** Names that differ in a hash only, with a common one in their place where there are many. */
function foldedNames({ chains }: Table): Map<string, string> {
  const groups = new Map<string, string[]>();
  for (const { name, base } of chains) {
    const kind = base
      ? undefined
      : /^(.+-)[A-Z0-9]{8,}$|^(.+-)[0-9a-f]{8,}$|^(endpoint-|service-|external-|firewall-)/.exec(name);
    const start = kind?.[1] ?? kind?.[2] ?? kind?.[3];
    if (start !== undefined) groups.set(start, [...(groups.get(start) ?? []), name]);
  }
  const folded = new Map<string, string>();
  for (const [start, names] of groups) {
    if (names.length > MOST_ALIKE) for (const name of names) folded.set(name, `${start}...`);
  }
  return folded;
}

function alike(names: ReadonlyMap<string, string>, name: string): number {
  const common = names.get(name);
  return common === undefined ? 1 : [...names.values()].filter((one) => one === common).length;
}

function chainBox(table: Table, chain: Chain, id: string, count: number): Box {
  const { base, counters } = chain;
  const where = `${table.family} ${table.name}${table.variant === 'iptables-legacy' ? ' (legacy)' : ''}`;
  const title = count > 1 ? `${count} chains like ${chain.name}` : chain.name;
  if (base === undefined) {
    return { id, kind: 'chain', title, subtitle: where, owner: ownerOf(table, chain), lines: linesOf(chain) };
  }
  const name = hookName(table, base.hook);
  return {
    ...{ id, kind: 'chain', title, owner: ownerOf(table, chain), lines: linesOf(chain) },
    subtitle: `${where}, ${base.type}, priority ${base.priority}, policy ${base.policy}${counters ? ` ${counted(counters)}` : ''}`,
    hook: { name, order: ORDER.indexOf(name), priority: base.priority },
  };
}

function ownerOf(table: Table, chain: Chain): Owner {
  const own = chainOwner(table, chain.name);
  if (own.who !== NOBODY.who) return own;
  // A chain whose rules are all somebody's is, too.
  const owners = new Set(chain.rules.map(({ owner }) => owner.who));
  const [first] = chain.rules;
  return owners.size === 1 && first ? { who: first.owner.who } : NOBODY;
}

function hookName({ family }: Table, hook: HookName): string {
  return family === 'bridge' || family === 'arp' ? `${family} ${hook}` : hook;
}

function linesOf({ rules }: Chain): Line[] {
  const shown = rules.length > MOST_RULES + 1 ? rules.slice(0, MOST_RULES) : rules;
  const rest = rules.slice(shown.length);
  const lines = shown.map(lineOf);
  if (rest.length === 0) return lines;
  const packets = rest.reduce((sum, { counters }) => sum + (counters?.packets ?? 0), 0);
  const bytes = rest.reduce((sum, { counters }) => sum + (counters?.bytes ?? 0), 0);
  return [
    ...lines,
    { text: `... and ${rest.length} rules more`, owner: NOBODY, folded: true, counters: { packets, bytes } },
  ];
}

function lineOf({ text, comment, owner, counters }: Rule): Line {
  const plain = text
    .replace(/ ?-m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)/, '')
    .replace(/ ?comment "[^"]*"$/, '');
  return {
    text: plain.trim() || text,
    ...(comment === undefined ? {} : { comment }),
    owner,
    ...(counters ? { counters } : {}),
  };
}

function setBox(table: Table, { name, kind, type, elements, comment }: NamedSet, id: string): Box {
  const [first] = elements;
  const words = `${elements.length} ${elements.length === 1 ? 'element' : 'elements'}`;
  return {
    ...{ id, kind: 'set', title: `${kind === 'vmap' ? 'verdict map' : kind} ${name}`, subtitle: type },
    owner: first?.owner ?? tableOwner(table),
    lines: [
      {
        text: comment === undefined ? words : `${words}: ${comment}`,
        owner: first?.owner ?? NOBODY,
        folded: true,
      },
    ],
  };
}

function jumps({ statements }: Rule): string[] {
  return statements.flatMap((statement) => {
    if (statement.kind === 'verdict') return 'chain' in statement.verdict ? [statement.verdict.chain] : [];
    if (statement.kind !== 'vmap' || 'set' in statement) return [];
    return statement.elements.flatMap(({ verdict }) =>
      verdict && 'chain' in verdict ? [verdict.chain] : [],
    );
  });
}

function asked({ matches, statements }: Rule): string[] {
  return [
    ...matches.flatMap((match) => ('set' in match ? [match.set] : [])),
    ...statements.flatMap((statement) => {
      if (statement.kind === 'vmap') return 'set' in statement ? [statement.set] : [];
      return 'map' in statement && typeof statement.map?.set === 'string' ? [statement.map.set] : [];
    }),
  ];
}

/** `12 packets`, `1.2M packets`. */
export function counted({ packets, bytes }: Counters): string {
  return `${short(packets)} p ${short(bytes)} B`;
}

function short(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T'];
  let rest = value;
  let unit = 0;
  while (rest >= 10_000 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${Math.floor(rest)}${units[unit]}`;
}
