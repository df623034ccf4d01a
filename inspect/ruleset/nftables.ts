/** The nf_tables of a namespace, from what `nft -j list ruleset` and `nft -a -s -t list ruleset` print. */

import { NOBODY } from '../owner.ts';
import { type Json, list, member, number, sole, text } from './json.ts';
import type { Chain, Counters, HookName, NamedSet, Rule, Table, TableFamily } from './model.ts';
import { implied, limitOf, matchOf } from './nft-matches.ts';
import { countersOf, elementsOf, statementOf } from './nft-statements.ts';
import { type NftText, readNftText } from './nft-text.ts';
import { kindsOfType, words } from './nft-values.ts';

type DraftChain = Omit<Chain, 'rules'> & { rules: Rule[] };
type Draft = Omit<Table, 'chains' | 'sets'> & { chains: DraftChain[]; sets: Map<string, NamedSet> };

/**
 * Tables of all families, in the kernel's order; those that iptables-nft made among them, as far as nft understands them.
 * Throws SyntaxError where `json` is none.
 * @param json what `nft -j list ruleset` printed
 * @param printed what `nft -a -s -t list ruleset` printed; without it, rules are worded less well
 */
export function readNftables(json: string, printed = ''): Table[] {
  const objects = list(member(JSON.parse(json) as Json, 'nftables'));
  const words = readNftText(printed);
  const tables = new Map<string, Draft>();
  const named = new Map<string, Counters>();
  for (const object of objects) {
    const [kind = '', body = null] = sole(object) ?? [];
    const key = `${text(member(body, 'family'))} ${text(member(body, kind === 'table' ? 'name' : 'table'))}`;
    if (kind === 'table') tables.set(key, tableOf(body, words));
    const table = tables.get(key);
    const name = text(member(body, 'name')) ?? '';
    if (table === undefined) continue;
    const counters = kind === 'counter' ? countersOf(body) : undefined;
    if (counters) named.set(`${key} ${name}`, counters);
    if (kind === 'chain') table.chains.push(chainOf(body, words));
    if (kind === 'set' || kind === 'map') table.sets.set(name, setOf(kind, body, words));
    if (kind === 'rule') {
      const chain = table.chains.find((one) => one.name === member(body, 'chain'));
      chain?.rules.push(ruleOf(body, table.family, chain.rules.length + 1, words, named));
    }
  }
  return [...tables.values()];
}

const key = (body: Json) => `${text(member(body, 'family'))} ${text(member(body, 'table'))}`;

/** Newer nft has the comment in JSON, older ones in their text alone. */
function commentOf(body: Json, fallback: string | undefined): { comment?: string } {
  const comment = text(member(body, 'comment')) ?? fallback;
  return comment === undefined ? {} : { comment };
}

function tableOf(body: Json, printed: NftText): Draft {
  const family = (text(member(body, 'family')) ?? 'ip') as TableFamily;
  const name = text(member(body, 'name')) ?? '';
  return {
    variant: 'nftables',
    ...{ family, name, chains: [], sets: new Map() },
    ...commentOf(body, printed.comments.get(`${family} ${name}`)),
  };
}

function chainOf(body: Json, printed: NftText): DraftChain {
  const name = text(member(body, 'name')) ?? '';
  const hook = text(member(body, 'hook')) as HookName | undefined;
  const at = `${key(body)} ${name}`;
  const comment = commentOf(body, printed.comments.get(at));
  if (hook === undefined) return { name, rules: [], ...comment };
  const device = member(body, 'dev');
  const devices =
    device === undefined
      ? printed.devices.get(at)
      : typeof device === 'string'
        ? [device]
        : list(device).map(String);
  return {
    name,
    base: {
      type: (text(member(body, 'type')) ?? 'filter') as 'filter' | 'nat' | 'route',
      hook,
      priority: number(member(body, 'prio')) ?? 0,
      policy: member(body, 'policy') === 'drop' ? 'drop' : 'accept',
      ...(devices === undefined ? {} : { devices }),
    },
    rules: [],
    ...comment,
  };
}

function setOf(kind: 'set' | 'map', body: Json, printed: NftText): NamedSet {
  const name = text(member(body, 'name')) ?? '';
  const type = typeWords(member(body, 'type'));
  const data = member(body, 'map');
  const verdicts = data === 'verdict';
  return {
    name,
    kind: kind === 'set' ? 'set' : verdicts ? 'vmap' : 'map',
    type: data === undefined ? type : `${type} : ${typeWords(data)}`,
    elements: elementsOf(
      member(body, 'elem'),
      kindsOfType(member(body, 'type')),
      verdicts ? [] : kindsOfType(splitType(data)),
    ),
    ...commentOf(body, printed.comments.get(`${key(body)} ${name}`)),
  };
}

/** nft 1.0.6 says the type of a map's data as one text, that of its key as a list. */
function splitType(type: Json | undefined): Json | undefined {
  return typeof type === 'string' ? type.split(' . ') : type;
}

function typeWords(type: Json | undefined): string {
  return Array.isArray(type) ? type.map(String).join(' . ') : words(type);
}

function ruleOf(
  body: Json,
  family: TableFamily,
  position: number,
  printed: NftText,
  named: ReadonlyMap<string, Counters>,
): Rule {
  const handle = number(member(body, 'handle'));
  const expressions = list(member(body, 'expr'));
  const comment = text(member(body, 'comment'));
  const matches = implied(expressions, family);
  const statements: Rule['statements'][number][] = [];
  let counters: Counters | undefined;
  for (const expression of expressions) {
    const match = member(expression, 'match');
    const limit = limitOf(expression);
    const counter = member(expression, 'counter');
    counters ??= typeof counter === 'string' ? named.get(`${key(body)} ${counter}`) : countersOf(counter);
    if (match !== undefined) matches.push(matchOf(match, family));
    else if (limit) matches.push(limit);
    else if (counter === undefined) statements.push(statementOf(expression, family));
  }
  return {
    position,
    ...(handle === undefined ? {} : { handle }),
    text: printed.rules.get(`${key(body)} ${handle}`) ?? expressions.map(words).join(' '),
    ...{ matches, statements },
    ...(counters ? { counters } : {}),
    ...(comment === undefined ? {} : { comment }),
    owner: NOBODY,
  };
}
