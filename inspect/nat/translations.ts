/** Everything that rewrites addresses, found by walking the NAT chains of a ruleset as packets would. */
import { NOBODY, type Owner } from '../owner.ts';
import type {
  Chain,
  Element,
  HookName,
  Match,
  Rule,
  Ruleset,
  Statement,
  Table,
  Verdict,
} from '../ruleset/model.ts';
import { valueWords } from '../ruleset/words.ts';
import { anyPacket, narrowed, withKey } from './condition.ts';
import { counted, merged } from './merged.ts';
import type { Condition, RuleRef, Translation } from './translation.ts';

/** Steps in all, against rules that lead to each other in very many ways. */
const BUDGET = 2_000_000;
/** Jumps into each other; the kernel allows 16 (NFT_JUMP_STACK_SIZE). */
const DEPTH = 24;

/** In the order in which the kernel asks: hook by hook, chains by priority, rules by position. Never throws. */
export function translationsOf({ tables }: Pick<Ruleset, 'tables'>): Translation[] {
  const bases = tables.flatMap((table) =>
    table.chains.flatMap((chain) => (chain.base?.type === 'nat' ? [{ table, chain, base: chain.base }] : [])),
  );
  // Of equal priority the last that was made is asked first.
  bases.reverse();
  const order: readonly HookName[] = ['prerouting', 'input', 'output', 'postrouting'];
  bases.sort(
    (a, b) => order.indexOf(a.base.hook) - order.indexOf(b.base.hook) || a.base.priority - b.base.priority,
  );
  const budget = { left: BUDGET };
  const found = bases.flatMap(({ table, chain, base }) => {
    const walk = new Walk(table, budget);
    walk.chain(chain, anyPacket(table.family), [], 0);
    return walk.found.map((one) => ({ ...one, hooks: [base.hook], priority: base.priority }));
  });
  return counted(merged(found));
}

type Found = Omit<Translation, 'hooks' | 'priority' | 'shared'>;

/** A rule on the way, and the element that led on from it. */
interface Step {
  owner: Owner;
  element?: { set: string; words: string; owner: Owner; counters?: Element['counters'] };
}

class Walk {
  readonly found: Found[] = [];
  readonly #table: Table;
  readonly #budget: { left: number };
  readonly #chains: ReadonlyMap<string, Chain>;
  readonly #fruitful: ReadonlySet<string>;

  constructor(table: Table, budget: { left: number }) {
    this.#table = table;
    this.#budget = budget;
    this.#chains = new Map(table.chains.map((chain) => [chain.name, chain]));
    this.#fruitful = fruitful(table);
  }

  chain(chain: Chain, condition: Condition, steps: readonly Step[], depth: number): void {
    if (depth > DEPTH || !this.#fruitful.has(chain.name)) return;
    let left = condition;
    for (const rule of chain.rules) {
      this.#budget.left -= 1;
      if (this.#budget.left < 0) return;
      const own = this.#asksEmptySet(rule) ? undefined : narrowed(left, rule.matches);
      if (own === undefined) continue;
      left = narrowed(left, whatStays(rule)) ?? left;
      for (const statement of rule.statements)
        this.#statement(statement, { chain, rule, condition: left, own, steps, depth });
    }
  }

  #statement(statement: Statement, at: At): void {
    const { rule, own, steps, depth } = at;
    if (statement.kind === 'verdict')
      this.#follow(statement.verdict, own, [...steps, { owner: rule.owner }], depth);
    if (statement.kind === 'vmap') {
      const { set, elements } = this.#elements('set' in statement ? statement.set : statement.elements);
      for (const element of elements) {
        if (element.verdict === undefined || !this.#leadsOn(element.verdict)) continue;
        const narrower = withKey(own, statement.fields, element.key);
        const step: Step = {
          owner: rule.owner,
          ...(set === undefined ? {} : { element: stepElement(set, element) }),
        };
        if (narrower) this.#follow(element.verdict, narrower, [...steps, step], depth);
      }
    }
    if (statement.kind === 'masquerade' || statement.kind === 'redirect') {
      const to = statement.port === undefined ? undefined : { port: statement.port };
      this.#emit(statement.kind, to, at);
    }
    if (statement.kind === 'dnat' || statement.kind === 'snat') this.#rewrite(statement, at);
  }

  /** Nothing is in an empty set. */
  #asksEmptySet({ matches }: Rule): boolean {
    return matches.some(
      (match) => 'set' in match && !match.not && this.#table.sets.get(match.set)?.elements.length === 0,
    );
  }

  #leadsOn(verdict: Verdict): boolean {
    return 'chain' in verdict && this.#fruitful.has(verdict.chain);
  }

  #follow(verdict: Verdict, condition: Condition, steps: readonly Step[], depth: number): void {
    const chain = 'chain' in verdict ? this.#chains.get(verdict.chain) : undefined;
    if (chain) this.chain(chain, condition, steps, depth + 1);
  }

  #rewrite(statement: Extract<Statement, { kind: 'dnat' | 'snat' }>, at: At): void {
    const { address, port, map } = statement;
    const given = { ...(address === undefined ? {} : { address }), ...(port === undefined ? {} : { port }) };
    if (map === undefined) {
      this.#emit(statement.kind, given, at);
      return;
    }
    const { set, elements } = this.#elements(map.set);
    for (const element of elements) {
      const condition = withKey(at.own, map.fields, element.key);
      if (condition === undefined || element.data === undefined) continue;
      const parts = 'parts' in element.data ? element.data.parts : [element.data];
      const [target, targetPort] = parts.map(valueWords);
      const to = {
        ...given,
        ...(target === undefined ? {} : { address: target }),
        ...(targetPort === undefined ? {} : { port: targetPort }),
      };
      const own = set === undefined ? undefined : stepElement(set, element);
      this.#add(statement.kind, to, condition, at, own, map.fields.length === 0);
    }
  }

  /** One for each element of a set that tells containers apart; else one for the rule. */
  #emit(kind: Translation['kind'], to: Translation['to'], at: At): void {
    for (const match of at.rule.matches) {
      if (!('set' in match) || match.not) continue;
      const { set, elements } = this.#elements(match.set);
      if (set === undefined || !elements.some(({ owner }) => owner.containerId !== undefined)) continue;
      const rest = narrowed(
        at.condition,
        at.rule.matches.filter((one) => one !== match),
      );
      for (const element of elements) {
        const condition = rest && withKey(rest, match.fields, element.key);
        if (condition) this.#add(kind, to, condition, at, stepElement(set, element));
      }
      return;
    }
    this.#add(kind, to, at.own, at);
  }

  #add(
    kind: Translation['kind'],
    to: Translation['to'],
    condition: Condition,
    { chain, rule, steps }: At,
    own?: Step['element'],
    chance = false,
  ): void {
    const element = own ?? steps.findLast((step) => step.element)?.element;
    // The rule's counter is of all that come to it; the element's is its own.
    const counters = element?.counters ?? rule.counters;
    this.found.push({
      ...condition,
      ...{ kind, chance: chance || isByChance(rule) },
      ...(to === undefined ? {} : { to }),
      owner: ownerOf(rule.owner, steps, element?.owner),
      rules: [this.#ref(chain, rule)],
      ...(element === undefined ? {} : { element: { set: element.set, words: element.words } }),
      ...(counters === undefined ? {} : { counters }),
    });
  }

  #ref(chain: Chain, { position, handle, text }: Rule): RuleRef {
    const { variant, family, name } = this.#table;
    return {
      variant,
      family,
      table: name,
      chain: chain.name,
      position,
      ...(handle === undefined ? {} : { handle }),
      text,
    };
  }

  #elements(set: string | readonly Element[]): { set: string | undefined; elements: readonly Element[] } {
    if (typeof set !== 'string') return { set: undefined, elements: set };
    return { set, elements: this.#table.sets.get(set)?.elements ?? [] };
  }
}

interface At {
  chain: Chain;
  rule: Rule;
  /** Before the rule, and with what it wants. */
  condition: Condition;
  own: Condition;
  steps: readonly Step[];
  depth: number;
}

function stepElement(set: string, element: Element): NonNullable<Step['element']> {
  const { key, data, owner, counters } = element;
  const words = `${valueWords(key)}${data === undefined ? '' : ` : ${valueWords(data)}`}`;
  return { set, words, owner, ...(counters ? { counters } : {}) };
}

/** Behind a rule that sends away what does not match (`-m mark ! --mark 0x4000/0x4000 -j RETURN`), all others do. */
function whatStays({ matches, statements }: Rule): Match[] {
  const [match, ...more] = matches;
  const [statement] = statements;
  const returns = statement?.kind === 'verdict' && statement.verdict.kind === 'return';
  return returns && match && more.length === 0 && !('unknown' in match)
    ? [{ ...match, not: !match.not }]
    : [];
}

function isByChance({ matches }: Rule): boolean {
  return matches.some((match) => 'unknown' in match && /statistic|random/.test(match.unknown));
}

/** The most that is said on the way: who names a container, before who names a program. */
function ownerOf(rule: Owner, steps: readonly Step[], element: Owner | undefined): Owner {
  const all = [...(element ? [element] : []), rule, ...steps.map(({ owner }) => owner).reverse()];
  return (
    all.find(({ containerId }) => containerId !== undefined) ??
    all.find(({ network }) => network !== undefined) ??
    all.find(({ who }) => who !== NOBODY.who) ??
    rule
  );
}

/** Chains from which a rule that rewrites can be reached. */
function fruitful({ chains, sets }: Table): Set<string> {
  const found = new Set<string>();
  const targets = ({ rules }: Chain): string[] =>
    rules.flatMap(({ statements }) =>
      statements.flatMap((statement) => {
        if (statement.kind === 'verdict')
          return 'chain' in statement.verdict ? [statement.verdict.chain] : [];
        if (statement.kind !== 'vmap') return [];
        const elements = 'set' in statement ? (sets.get(statement.set)?.elements ?? []) : statement.elements;
        return elements.flatMap(({ verdict }) => (verdict && 'chain' in verdict ? [verdict.chain] : []));
      }),
    );
  const from = new Map<string, string[]>();
  const waiting: string[] = [];
  for (const chain of chains) {
    for (const target of new Set(targets(chain))) from.set(target, [...(from.get(target) ?? []), chain.name]);
    const rewrites = chain.rules.some(({ statements }) =>
      statements.some(({ kind }) => ['dnat', 'snat', 'masquerade', 'redirect'].includes(kind)),
    );
    if (rewrites) waiting.push(chain.name);
  }
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    waiting.push(...(from.get(name) ?? []));
  }
  return found;
}
