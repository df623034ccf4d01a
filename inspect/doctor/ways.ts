/** Ways that packets should take, as `weft trace` predicts them: what stops them on this host. */
import type { Finding } from '../finding.ts';
import { ownerWords } from '../nat/translation.ts';
import type { Hop, Path } from '../path/hop.ts';
import type { DoctorView, Way } from './view.ts';

type RuleHop = Extract<Hop, { kind: 'rule' }>;

/** Rules that drop what containers need. Rules of ours stand where a configuration wants them. */
export function droppedByRules(view: DoctorView): Finding[] {
  const found = new Map<string, Finding>();
  for (const way of view.ways) {
    const { path, last } = endOf(way) ?? {};
    if (path === undefined || last?.kind !== 'rule' || last.owner.who === 'weft') continue;
    const key = `${last.family} ${last.table} ${last.chain} ${last.text}`;
    if (!found.has(key)) found.set(key, dropped(way, path, last));
  }
  return [...found.values()];
}

function dropped({ words, command }: Way, path: Path, hop: RuleHop): Finding {
  const { family, table, chain, text, handle, owner } = hop;
  const isPolicy = /policy/.test(text);
  return {
    code: 'rule-drops',
    severity: 'error',
    what: `${isPolicy ? 'the' : 'a'} rule of ${ownerWords(owner)} drops packets ${words}: ${family} ${table} ${chain}: ${text}`,
    why: `${path.why}. See each step: ${command}`,
    mend:
      handle === undefined || isPolicy
        ? []
        : [`nft delete rule ${family} ${table} ${chain} handle ${handle}`],
    // It may be there on purpose.
    safe: false,
    subject: `${family} ${table} ${chain}`,
  };
}

/** What no other check explains. */
export function blockedWays(view: DoctorView): Finding[] {
  const found = new Map<string, Finding>();
  for (const way of view.ways) {
    const { path, last } = endOf(way) ?? {};
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
