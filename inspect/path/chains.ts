/** A packet's way through one base chain and what it jumps to (nf_tables_core.c; ip_tables.c says the same in other words). */
import type { Owner } from '../owner.ts';
import type { Chain, Element, Rule, Statement, Table, Verdict } from '../ruleset/model.ts';
import { elementWords } from './element-words.ts';
import type { HookView } from './fields.ts';
import { elementsOf, lookUpElement, matches } from './match.ts';
import { rewrite } from './nat.ts';
import type { Packet } from './packet.ts';
import { pass, type Walk } from './world.ts';

/** A chain of a hook, with its table. */
export interface BaseChain {
  table: Table;
  chain: Chain;
}

export type ChainResult =
  | { verdict: 'accept'; packet: Packet }
  | { verdict: 'drop' | 'reject' | 'queue'; packet: Packet; owner: Owner; words: string }
  /** No rule, but what rules rest on. */
  | { verdict: 'full'; packet: Packet; words: string; why: string };

/** What one rule or chain leaves behind. `next`: go on with the next rule; `return`: with the rule after the jump. */
type Outcome = { flow: 'next' | 'return'; packet: Packet } | { flow: 'end'; result: ChainResult };

interface Run {
  walk: Walk;
  table: Table;
  /** Everything but the packet, which changes. */
  view: HookView;
  depth: number;
  /** Of the verdict map that led here: it names whom the rule is applied to. */
  led?: Element | undefined;
}

/** The kernel allows as many jumps. */
const DEEPEST = 16;

/** The packet after the chain, with the marks and addresses that its rules gave it; each rule that decided is a hop. */
export function runBaseChain(walk: Walk, { table, chain }: BaseChain, view: HookView): ChainResult {
  const run: Run = { walk, table, view, depth: 0 };
  const outcome = runChain(run, chain, view.packet);
  if (outcome.flow === 'end') return outcome.result;
  const { packet } = outcome;
  if (chain.base?.policy !== 'drop') return { verdict: 'accept', packet };
  const owner = ownerOfChain(table, chain);
  const words = `policy drop of ${chainWords(table, chain)}`;
  pass(walk, view.snapshot.identity, packet, words, {
    kind: 'rule',
    ...hookWords(run, chain),
    ...{ text: 'policy drop', owner, verdict: 'drop' },
  });
  return { verdict: 'drop', packet, owner, words };
}

function runChain(run: Run, chain: Chain, first: Packet): Outcome {
  let packet = first;
  for (const rule of chain.rules) {
    const outcome = runRule(run, chain, rule, packet);
    if (outcome.flow !== 'next') return outcome;
    packet = outcome.packet;
  }
  return { flow: 'next', packet };
}

function runRule(run: Run, chain: Chain, rule: Rule, packet: Packet): Outcome {
  const view = { ...run.view, packet };
  for (const match of rule.matches) {
    const answer = matches(view, run.table, match);
    if (answer === 'no') return { flow: 'next', packet };
    if (answer === 'maybe' && !assumeMatch(run, chain, rule)) return { flow: 'next', packet };
  }
  let current = packet;
  for (const statement of rule.statements) {
    const outcome = runStatement(run, { chain, rule, statement }, current);
    if (outcome === 'break') break;
    if (outcome.flow !== 'next') return outcome;
    current = outcome.packet;
  }
  return { flow: 'next', packet: current };
}

/** A limit is not reached as a rule; what is unknown does not match as a rule. */
function assumeMatch({ walk, table }: Run, chain: Chain, rule: Rule): boolean {
  const usual = rule.matches.some((match) => 'unknown' in match && /\blimit\b/.test(match.unknown));
  return walk.decide(`rule "${rule.text}" of ${chainWords(table, chain)}`, usual);
}

interface At {
  chain: Chain;
  rule: Rule;
  statement: Statement;
}

/** `break`: the rest of the rule is not done. */
function runStatement(run: Run, at: At, packet: Packet): Outcome | 'break' {
  const { statement } = at;
  switch (statement.kind) {
    case 'verdict':
      return applyVerdict(run, at, packet, statement.verdict);
    case 'vmap': {
      const element = chooseElement(
        run,
        at,
        packet,
        statement.fields,
        'set' in statement ? statement.set : statement.elements,
      );
      if (element?.verdict === undefined) return 'break';
      return applyVerdict(run, at, packet, element.verdict, element);
    }
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'redirect':
      return applyRewrite(run, at, packet);
    case 'setMark':
    case 'copyMark':
      return { flow: 'next', packet: setMark(run, at, packet, statement) };
    case 'notrack':
      return { flow: 'next', packet: { ...packet, untracked: true } };
    case 'unknown':
      run.walk.assumptions.add(`"${statement.text}" in "${at.rule.text}" changes nothing that matters here`);
      return { flow: 'next', packet };
    case 'other':
      return { flow: 'next', packet };
  }
}

function chooseElement(
  { walk, table, view }: Run,
  { chain, rule }: At,
  packet: Packet,
  fields: Parameters<typeof lookUpElement>[1],
  set: string | readonly Element[],
): Element | undefined {
  const elements = elementsOf(table, set);
  if (fields.length === 0) {
    if (elements.length > 1)
      walk.assumptions.add(
        `"${rule.text}" of ${chainWords(table, chain)} takes the first of its ${elements.length} by chance`,
      );
    return elements[0];
  }
  const found = lookUpElement({ ...view, packet }, fields, elements);
  return found === 'maybe' ? undefined : found;
}

function applyVerdict(run: Run, at: At, packet: Packet, verdict: Verdict, element?: Element): Outcome {
  switch (verdict.kind) {
    case 'continue':
      return { flow: 'next', packet };
    case 'return':
      return { flow: 'return', packet };
    case 'jump':
    case 'goto': {
      const target = run.table.chains.find(({ name }) => name === verdict.chain);
      if (target === undefined || run.depth >= DEEPEST) return { flow: 'next', packet };
      const outcome = runChain({ ...run, depth: run.depth + 1, led: element ?? run.led }, target, packet);
      if (outcome.flow === 'end') return outcome;
      return { flow: verdict.kind === 'goto' ? 'return' : 'next', packet: outcome.packet };
    }
    case 'accept':
      decided(run, at, packet, 'accept', element);
      return { flow: 'end', result: { verdict: 'accept', packet } };
    default: {
      const words = decided(run, at, packet, verdict.kind, element);
      const owner = (element ?? run.led)?.owner ?? at.rule.owner;
      return { flow: 'end', result: { verdict: verdict.kind, packet, owner, words } };
    }
  }
}

function applyRewrite(run: Run, at: At, packet: Packet): Outcome | 'break' {
  const { statement } = at;
  if (
    statement.kind !== 'dnat' &&
    statement.kind !== 'snat' &&
    statement.kind !== 'masquerade' &&
    statement.kind !== 'redirect'
  )
    return 'break';
  const map = 'map' in statement ? statement.map : undefined;
  const element = map && chooseElement(run, at, packet, map.fields, map.set);
  if (map !== undefined && element === undefined) return 'break';
  const done = rewrite(run.walk, { ...run.view, packet }, statement, element);
  if (done === undefined) return 'break';
  decided(run, at, packet, done.words, element, done.packet);
  return { flow: 'end', result: { verdict: 'accept', packet: done.packet } };
}

function setMark(
  run: Run,
  at: At,
  packet: Packet,
  statement: Extract<Statement, { kind: 'setMark' | 'copyMark' }>,
): Packet {
  const entry = packet.tracked?.entry;
  if (statement.kind === 'setMark') {
    const of = statement.on === 'packet' ? packet.mark : (entry?.mark ?? 0);
    const mark = ((of & ~statement.mask) ^ statement.value) >>> 0;
    if (mark !== of) decided(run, at, packet, `${statement.on} mark 0x${mark.toString(16)}`);
    if (statement.on === 'packet') return { ...packet, mark };
    if (entry !== undefined) entry.mark = mark;
    return packet;
  }
  if (statement.to === 'packet') return { ...packet, mark: ((entry?.mark ?? 0) & statement.mask) >>> 0 };
  if (entry !== undefined) entry.mark = (packet.mark & statement.mask) >>> 0;
  return packet;
}

/** The rule becomes a hop. Returns how it is spoken of. */
function decided(
  run: Run,
  { chain, rule }: At,
  packet: Packet,
  verdict: string,
  element?: Element,
  after?: Packet,
): string {
  const { walk, table, view } = run;
  const named = element ?? run.led;
  const found = named && elementWords(named);
  const words = `${verdict} by "${rule.text}" in ${chainWords(table, chain)}`;
  pass(walk, view.snapshot.identity, packet, words, {
    kind: 'rule',
    ...hookWords(run, chain),
    ...(rule.handle === undefined ? {} : { handle: rule.handle }),
    text: rule.text,
    ...(found === undefined ? {} : { element: found }),
    owner: named?.owner ?? rule.owner,
    verdict,
    ...(after === undefined ? {} : { rewritten: after.tuple }),
  });
  return words;
}

function hookWords({ table, view: { hook } }: Run, chain: Chain) {
  return { family: table.family, hook, table: table.name, chain: chain.name };
}

/** `chain FORWARD of table ip filter (iptables-nft)` */
export function chainWords(table: Table, chain: Pick<Chain, 'name'>): string {
  const variant = table.variant === 'nftables' ? '' : ` (${table.variant})`;
  return `chain ${chain.name} of table ${table.family} ${table.name}${variant}`;
}

function ownerOfChain(table: Table, chain: Chain): Owner {
  const owners = [
    ...chain.rules.map(({ owner }) => owner),
    ...table.chains.flatMap(({ rules }) => rules.map(({ owner }) => owner)),
  ];
  return owners.find(({ who }) => who !== 'somebody else') ?? { who: 'somebody else' };
}
