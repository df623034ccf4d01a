/** Ways that packets should take, as `weft trace` predicts them: what stops them on this host. */
import type { Finding } from '../finding.ts';
import { ownerWords } from '../nat/translation.ts';
import type { Hop, Path } from '../path/hop.ts';
import type { Table } from '../ruleset/model.ts';
import type { DoctorView, Way } from './view.ts';

/** What Docker's policy is survived by. */
const LET_THROUGH =
  'The plugin firewall lets containers through: {"type": "firewall"} at the end of the network\'s plugins. ';

type RuleHop = Extract<Hop, { kind: 'rule' }>;

/** Rules that drop what containers need. Rules of ours stand where a configuration wants them. */
export function droppedByRules(view: DoctorView): Finding[] {
  const found = new Map<string, Finding>();
  for (const way of view.ways) {
    const { path, last } = endOf(way) ?? {};
    if (path === undefined || last?.kind !== 'rule' || last.owner.who === 'weft') continue;
    const key = `${last.family} ${last.table} ${last.chain} ${last.text}`;
    if (!found.has(key)) found.set(key, dropped(view, way, path, last));
  }
  return [...found.values()];
}

function dropped({ nat: { host } }: DoctorView, { words, command }: Way, path: Path, hop: RuleHop): Finding {
  const { family, table, chain, text, handle, owner, place } = hop;
  const isPolicy = text === 'policy drop';
  // Elsewhere than on the host it is read for the way alone.
  const found = place.namespace === host.identity ? tableWith(host.ruleset.tables, hop) : undefined;
  const variant = found?.variant ?? 'nftables';
  const where = `${family} ${table} ${chain}${variant === 'iptables-legacy' ? ' (legacy)' : ''}: ${text}`;
  return {
    code: 'rule-drops',
    severity: 'error',
    what: `${isPolicy ? 'the policy of a chain' : `a rule of ${ownerWords(owner)}`} drops packets ${words}: ${where}`,
    why: `${path.why}. ${isPolicy && variant !== 'nftables' ? LET_THROUGH : ''}See each step: ${command}`,
    mend: removalOf(variant, hop, handle),
    // It may be there on purpose.
    safe: false,
    subject: `${family} ${table} ${chain}`,
  };
}

function tableWith(tables: readonly Table[], { family, table, chain, text }: RuleHop): Table | undefined {
  const named = tables.filter((one) => one.family === family && one.name === table);
  return named.find(({ chains }) =>
    chains.some(
      (one) =>
        one.name === chain &&
        (text === 'policy drop' ? one.base?.policy === 'drop' : one.rules.some((rule) => rule.text === text)),
    ),
  );
}

function removalOf(variant: Table['variant'], hop: RuleHop, handle: number | undefined): string[] {
  const { family, table, chain, text } = hop;
  if (variant === 'nftables') {
    return handle === undefined ? [] : [`nft delete rule ${family} ${table} ${chain} handle ${handle}`];
  }
  const program = `${family === 'ip' ? 'iptables' : 'ip6tables'}-${variant === 'iptables-nft' ? 'nft' : 'legacy'}`;
  const change = text === 'policy drop' ? `-P ${chain} ACCEPT` : `-D ${chain} ${text}`;
  return [`${program} ${table === 'filter' ? '' : `-t ${table} `}${change}`];
}

/** What no other check explains. */
export function blockedWays(view: DoctorView): Finding[] {
  const found = new Map<string, Finding>();
  for (const way of view.ways) {
    const { path, last } = endOf(way) ?? notSentOn(view, way) ?? {};
    if (path === undefined || last?.kind === 'rule' || found.has(path.why)) continue;
    found.set(path.why, {
      code: 'way-blocked',
      severity: 'error',
      what: `packets ${way.words} do not arrive: ${last?.words ?? path.outcome}`,
      why: path.why,
      mend: [],
      safe: false,
      subject: way.words,
    });
  }
  return [...found.values()];
}

/** What is for a published port, and ends at the host itself: no rule has rewritten it. */
function notSentOn(
  { nat }: DoctorView,
  { published, prediction: { there } }: Way,
): { path: Path; last: Hop } | undefined {
  const last = there.hops.at(-1);
  const isHere =
    last?.place.namespace === nat.host.identity && /^(?:delivered|rejected)$/.test(there.outcome);
  if (!published || !isHere) return undefined;
  const why = `${there.why}. The port is published, and nothing sends the packet on: a rule skips connection tracking (notrack), or accepts the packet before it is rewritten`;
  return { path: { ...there, why }, last };
}

/** Where the packet, or its answer, ends on this host or in one of its containers; undefined where it does not. */
function endOf({ prediction: { there, back }, own }: Way): { path: Path; last: Hop } | undefined {
  for (const path of [there, back]) {
    if (path === undefined || path.outcome === 'delivered' || path.outcome === 'left') continue;
    const last = path.hops.at(-1);
    const isOpen = path.outcome === 'unknown' || /nobody listens|answers? no ping|echo_ignore/.test(path.why);
    return last === undefined || isOpen || !own.has(last.place.namespace) ? undefined : { path, last };
  }
  return undefined;
}
