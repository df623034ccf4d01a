/** Masquerades that an earlier rule keeps from happening. */
import { firstOf, formatAddress, parsePrefix } from '../../cni/prefix.ts';
import type { Finding } from '../finding.ts';
import type { HookView } from '../path/fields.ts';
import { elementsOf, lookUpElement, matches } from '../path/match.ts';
import type { Packet } from '../path/packet.ts';
import { lookUp } from '../path/routing.ts';
import type { Chain, Rule, Statement, Table, Verdict } from '../ruleset/model.ts';
import { ownerWords, ruleWords, translationWords } from './translation.ts';
import type { NatEntry, NatView } from './view.ts';

/** Documentation prefixes (RFC 5737, RFC 3849): addresses outside, by the default route. */
const OUTSIDE = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
/** Elements that are tried of one rule: all come to the same rules before it. */
const SAMPLES = 3;

export function shadowedMasquerades(view: NatView): Finding[] {
  const tried = new Map<string, number>();
  return view.entries.flatMap((entry) => {
    const key = JSON.stringify(entry.rules);
    const before = tried.get(key) ?? 0;
    // Asked first: a route is looked up for each sample.
    if (before >= SAMPLES) return [];
    const sample = sampleOf(view, entry);
    if (sample === undefined) return [];
    tried.set(key, before + 1);
    return verdictOn(view, entry, sample);
  });
}

/** A packet for the outside that the entry is made for; undefined where it is about other packets. */
function sampleOf({ host }: NatView, entry: NatEntry): HookView | undefined {
  const { kind, sources, destinations, mark, published, protocols, out } = entry;
  const [source] = sources;
  if (kind !== 'masquerade' && kind !== 'snat') return undefined;
  if (
    source === undefined ||
    destinations.length > 0 ||
    mark !== undefined ||
    published ||
    protocols.length > 0
  )
    return undefined;
  const prefix = source.includes('/') ? parsePrefix(source) : undefined;
  const address = prefix
    ? formatAddress({ family: prefix.address.family, value: firstOf(prefix) + 2n })
    : source;
  if (!/^[0-9a-f.:]+$/.test(address)) return undefined;
  const family = address.includes(':') ? 6 : 4;
  const packet: Packet = {
    tuple: {
      family,
      protocol: 'tcp',
      source: address,
      sourcePort: 40_000,
      destination: OUTSIDE[family],
      destinationPort: 443,
    },
    ...{ mark: 0, length: 60, dontFragment: true, part: 'request', frame: {} },
  };
  const { link } = lookUp(host, { tuple: packet.tuple });
  if (link === undefined || (out.length > 0 && !out.includes(link.name))) return undefined;
  return { snapshot: host, hook: 'postrouting', packet, oif: link };
}

function verdictOn({ host }: NatView, entry: NatEntry, sample: HookView): Finding[] {
  const found = firstTranslation(host.ruleset.tables, sample, entry);
  if (found === undefined) return [];
  const [own] = entry.rules;
  const { table, chain, rule, ends } = found;
  const ref = {
    variant: table.variant,
    family: table.family,
    table: table.name,
    chain: chain.name,
    position: rule.position,
    text: rule.text,
  };
  const { source } = sample.packet.tuple;
  return [
    {
      code: 'masquerade-shadowed',
      severity: ends ? 'error' : 'warning',
      what: `"${translationWords(entry)}" of ${ownerWords(entry.owner)} never happens: ${ruleWords(ref)} comes first`,
      why: ends
        ? `"${rule.text}" ends the chain before ${own ? ruleWords(own) : 'it'}, so packets leave as ${source}, which no other host answers`
        : `"${rule.text}" (${ownerWords(rule.owner)}) gives them another source before ${own ? ruleWords(own) : 'it'}`,
      mend: [],
      safe: false,
      subject: entry.owner.containerId ?? source,
    },
  ];
}

interface Decision {
  table: Table;
  chain: Chain;
  rule: Rule;
  /** It says accept; else it rewrites itself. */
  ends: boolean;
}

/** The rule that is in the way of an entry; undefined: none for certain. */
function firstTranslation(tables: readonly Table[], view: HookView, entry: NatEntry): Decision | undefined {
  const family = view.packet.tuple.family === 4 ? 'ip' : 'ip6';
  const bases = tables
    .filter((table) => table.family === family || table.family === 'inet')
    .flatMap((table) => table.chains.flatMap((chain) => (isSourceNat(chain) ? [{ table, chain }] : [])))
    .reverse() // Of equal priority the last that was made is asked first.
    .sort((a, b) => (a.chain.base?.priority ?? 0) - (b.chain.base?.priority ?? 0));
  for (const { table, chain } of bases) {
    const result = run(table, chain, view, 0);
    if (result === undefined || result === 'return') continue;
    const { rule, ends } = result;
    const own = entry.rules.some(
      (one) => one.table === table.name && one.family === table.family && one.variant === table.variant,
    );
    // Only in the entry's own table does accept keep a packet from the entry's rule.
    if (ends && !own) continue;
    if (ends) return result;
    const isEntry =
      own && entry.rules.some((one) => one.chain === result.chain.name && one.position === rule.position);
    const sameEnd = entry.kind === 'masquerade' && rule.statements.some(({ kind }) => kind === 'masquerade');
    return isEntry || sameEnd ? undefined : result;
  }
  return undefined;
}

const isSourceNat = ({ base }: Chain) => base?.type === 'nat' && base.hook === 'postrouting';

/** What a chain does to a packet, where that is certain: a rule that may match is passed over. */
function run(table: Table, chain: Chain, view: HookView, depth: number): Decision | 'return' | undefined {
  if (depth > 16) return undefined;
  for (const rule of chain.rules) {
    if (rule.matches.some((match) => matches(view, table, match) !== 'yes')) continue;
    for (const statement of rule.statements) {
      if (['masquerade', 'snat'].includes(statement.kind)) return { table, chain, rule, ends: false };
      const verdict = verdictOf(table, view, statement);
      if (verdict === undefined) continue;
      if (verdict.kind === 'accept') return { table, chain, rule, ends: true };
      if (verdict.kind === 'return') return 'return';
      if (verdict.kind !== 'jump' && verdict.kind !== 'goto') continue;
      const next = table.chains.find(({ name }) => name === verdict.chain);
      const result = next && run(table, next, view, depth + 1);
      if (result !== undefined && result !== 'return') return result;
      if (verdict.kind === 'goto') return 'return';
    }
  }
  return undefined;
}

function verdictOf(table: Table, view: HookView, statement: Statement): Verdict | undefined {
  if (statement.kind === 'verdict') return statement.verdict;
  if (statement.kind !== 'vmap') return undefined;
  const elements = elementsOf(table, 'set' in statement ? statement.set : statement.elements);
  const found = lookUpElement(view, statement.fields, elements);
  return found === 'maybe' ? undefined : found?.verdict;
}
