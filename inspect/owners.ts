/** Whose tables, chains, rules and elements are: told from their names and comments, never from files. */
import { contains, type Prefix, parseEither } from '../cni/prefix.ts';
import { ADMIN, FORWARD_TABLE } from '../firewall/forward-ruleset.ts';
import { FILTER_TABLE } from '../firewall/mac-filter-ruleset.ts';
import { PORTS_TABLE } from '../firewall/ports-ruleset.ts';
import { NOBODY, type Owner } from './owner.ts';
import { filterMark, referenceMark, threeWords, twoWords, weftNetwork } from './owner-marks.ts';
import {
  FIREWALLD_RULE,
  ownerOfChain,
  ownerOfComment,
  ownerOfLink,
  ownerOfSet,
  ownerOfTable,
} from './owner-names.ts';
import type { Chain, Element, NamedSet, Rule, Ruleset, Statement, Table, Value } from './ruleset/model.ts';

/** The ruleset with an owner at each rule and element. */
export function withOwners({ tables, unread }: Ruleset): Ruleset {
  return { tables: tables.map(ownedTable), unread };
}

/** Elements without a name of their own are the rule's. */
function ownedRule(rule: Rule, owner: Owner): Rule {
  const owned = (elements: readonly Element[]) => elements.map((element) => ({ ...element, owner }));
  const statements = rule.statements.map((statement): Statement => {
    if ('elements' in statement) return { ...statement, elements: owned(statement.elements) };
    if (!('map' in statement) || statement.map === undefined || typeof statement.map.set === 'string')
      return statement;
    return { ...statement, map: { ...statement.map, set: owned(statement.map.set) } };
  });
  return { ...rule, statements, owner };
}

/** Whose a table is as a whole; iptables' tables are shared. */
export function tableOwner({ variant, name }: Pick<Table, 'variant' | 'name'>): Owner {
  return (variant === 'nftables' ? ownerOfTable(name) : undefined) ?? NOBODY;
}

function ownedTable(table: Table): Table {
  const whole = tableOwner(table);
  const sets = new Map<string, NamedSet>();
  for (const [name, set] of table.sets) sets.set(name, ownedSet(table, set, whole));
  const chains = table.chains.map((chain): Chain => {
    const own = chainOwner(table, chain.name);
    return {
      ...chain,
      rules: chain.rules.map((rule) => ownedRule(rule, ruleOwner(table, chain, rule, own))),
    };
  });
  return { ...table, sets, chains: inherited(chains).map(withNeighbours).map(withFirewalld) };
}

/** Whose a chain is; NOBODY for those of the kernel's hooks in shared tables. */
export function chainOwner(table: Pick<Table, 'variant' | 'name'>, chain: string): Owner {
  // What is in the administrator's chain is a person's.
  if (table.variant === 'nftables' && table.name === FORWARD_TABLE && chain === ADMIN) return NOBODY;
  const whole = tableOwner(table);
  const named = ownerOfChain(chain);
  const owner = whole.who === NOBODY.who ? (named ?? whole) : whole;
  if (owner.who !== 'weft') return owner;
  const network = table.name === 'weft' ? /^masq-(.+)$/.exec(chain)?.[1] : weftChainNetwork(table, chain);
  return network === undefined ? owner : { ...owner, network };
}

/** Without ipset: a chain for each network. */
function weftChainNetwork({ variant }: Pick<Table, 'variant'>, chain: string): string | undefined {
  const own = ownerOfChain(chain);
  return variant === 'nftables' || own?.plugin !== undefined ? undefined : /^WEFT-(.+)$/.exec(chain)?.[1];
}

function ruleOwner(table: Table, chain: Chain, rule: Rule, ofChain: Owner): Owner {
  const comment = rule.comment ?? '';
  if (ofChain.who === 'weft') return { ...ofChain, ...weftMark(table, ofChain, comment) };
  const pointed = ofChain.who === NOBODY.who ? (pointedAt(table, chain, rule) ?? ofChain) : ofChain;
  if (pointed.who === 'weft') {
    const network = weftNetwork(comment) ?? setNetwork(rule);
    return { ...pointed, ...(network === undefined ? {} : { network }) };
  }
  const mark = pointed.who === NOBODY.who ? undefined : attachmentOf(table, comment);
  return mark ? { ...pointed, ...mark } : pointed;
}

function attachmentOf(table: Table, comment: string) {
  // The container's id, and nothing else.
  if (table.name === 'cni_hostport' && /^\S+$/.test(comment)) return { containerId: comment };
  return referenceMark(comment);
}

/** What a rule of a shared chain, or of a table of a person, leads to or speaks of. */
function pointedAt(
  table: Table,
  chain: Chain,
  { comment = '', statements, matches }: Rule,
): Owner | undefined {
  const said = ownerOfComment(comment);
  if (said) return said;
  for (const statement of statements) {
    if (statement.kind !== 'verdict' || !('chain' in statement.verdict)) continue;
    const target = chainOwner(table, statement.verdict.chain);
    if (target.who !== NOBODY.who) return { ...target };
    // The administrator's chain is made, and jumped to, by a program.
    if (statement.verdict.chain === 'DOCKER-USER') return { who: 'docker' };
  }
  // What a person put where people's rules belong is the person's, whatever it speaks of.
  if (chain.base === undefined) return undefined;
  for (const match of matches) {
    const owner =
      'set' in match ? ownerOfSet(match.set) : 'values' in match ? linkOwner(match.values) : undefined;
    if (owner) return owner;
  }
  return undefined;
}

function linkOwner(values: readonly Value[]): Owner | undefined {
  return values.flatMap((value) => ('text' in value ? (ownerOfLink(value.text) ?? []) : []))[0];
}

/** The network of the set that a rule of ours asks. */
function setNetwork({ matches }: Rule): string | undefined {
  return matches.flatMap((match) => ('set' in match ? (ipsetNetwork(match.set) ?? []) : []))[0];
}

const ipsetNetwork = (name: string) => /^weft-(.+)-x?[46]$/.exec(name)?.[1];

function weftMark({ variant }: Table, { plugin }: Owner, comment: string): Partial<Owner> {
  const network = weftNetwork(comment);
  if (network !== undefined) return { network };
  if (variant === 'nftables' || /^weft\b/.test(comment)) return {};
  return (plugin === undefined ? twoWords(comment) : threeWords(comment)) ?? {};
}

function ownedSet(table: Table, set: NamedSet, whole: Owner): NamedSet {
  const own = whole.who === NOBODY.who ? (ownerOfSet(set.name) ?? whole) : whole;
  return {
    ...set,
    elements: set.elements.map((element) => ({ ...element, owner: elementOwner(table, set, element, own) })),
  };
}

function elementOwner(table: Table, set: NamedSet, { comment = '', verdict }: Element, own: Owner): Owner {
  if (own.who !== 'weft') return own;
  if (table.name === PORTS_TABLE || table.name === FORWARD_TABLE) return { ...own, ...threeWords(comment) };
  if (table.family === 'bridge' && table.name === FILTER_TABLE)
    return { ...own, ...filterMark(set.name, comment) };
  const network =
    verdict && 'chain' in verdict ? chainOwner(table, verdict.chain).network : ipsetNetwork(set.name);
  return { ...own, ...twoWords(comment), ...(network === undefined ? {} : { network }) };
}

/** Rules of a chain that only one attachment's rules lead to are that attachment's: some programs say it but there. */
function inherited(chains: readonly Chain[]): Chain[] {
  const leading = new Map<string, Owner[]>();
  for (const { rules } of chains) {
    for (const { statements, owner } of rules) {
      for (const statement of statements) {
        if (statement.kind !== 'verdict' || !('chain' in statement.verdict)) continue;
        const { chain } = statement.verdict;
        leading.set(chain, [...(leading.get(chain) ?? []), owner]);
      }
    }
  }
  return chains.map((chain) => {
    const from = leading.get(chain.name) ?? [];
    const [first] = from;
    if (
      first?.containerId === undefined ||
      from.some(({ containerId }) => containerId !== first.containerId)
    ) {
      return chain;
    }
    const { network, containerId, ifname } = first;
    const attachment = { containerId, ...(network ? { network } : {}), ...(ifname ? { ifname } : {}) };
    const rules = chain.rules.map((rule) =>
      rule.owner.who === first.who && rule.owner.containerId === undefined
        ? { ...rule, owner: { ...rule.owner, ...attachment } }
        : rule,
    );
    return { ...chain, rules };
  });
}

/** In a chain that firewalld leads on from. */
function withFirewalld(chain: Chain): Chain {
  const isIts = ({ owner }: Rule) => owner.who === 'firewalld';
  if (chain.base === undefined || !chain.rules.some(isIts) || chain.rules.every(isIts)) return chain;
  const rules = chain.rules.map((rule) =>
    rule.owner.who === NOBODY.who && FIREWALLD_RULE.test(rule.text)
      ? { ...rule, owner: { who: 'firewalld' } }
      : rule,
  );
  return { ...chain, rules };
}

/** One address of a prefix whose other rule in the same chain is somebody's: Docker says of a published port no more than that. */
function withNeighbours(chain: Chain): Chain {
  if (chain.base?.type !== 'nat') return chain;
  const known = chain.rules.flatMap((rule) => {
    const prefix = rule.owner.who === NOBODY.who ? undefined : sourcePrefix(rule);
    return prefix && prefix.bits > 0 ? [{ prefix, who: rule.owner.who }] : [];
  });
  if (known.length === 0) return chain;
  const rules = chain.rules.map((rule) => {
    const own = rule.owner.who === NOBODY.who && rule.comment === undefined ? sourcePrefix(rule) : undefined;
    const near = own && known.find(({ prefix }) => prefix.bits < own.bits && contains(prefix, own.address));
    return near ? { ...rule, owner: { who: near.who } } : rule;
  });
  return { ...chain, rules };
}

function sourcePrefix({ matches }: Rule): Prefix | undefined {
  for (const match of matches) {
    if (!('values' in match) || match.not || match.fields.length !== 1 || match.fields[0] !== 'saddr')
      continue;
    const [value] = match.values;
    if (value && 'prefix' in value) return parseEither(value.prefix);
  }
  return undefined;
}
