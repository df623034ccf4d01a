/** Rules and elements of containers that are gone. */
import { parseEither } from '../../cni/prefix.ts';
import { quote } from '../../plan/render.ts';
import type { Finding } from '../finding.ts';
import { splitWords } from '../ruleset/iptables-words.ts';
import { protocolNumber } from '../ruleset/names.ts';
import { ownerWords, type RuleRef } from './translation.ts';
import { containerAddress, type NatEntry, type NatView } from './view.ts';

/** One for each container, with all that is left of it. */
export function withoutContainer({ host, entries, near, containers }: NatView): Finding[] {
  // A namespace out of view may have the address: from within a container, or another mount namespace, most are.
  if (host.links.some(({ index, linkNetnsId }) => linkNetnsId !== undefined && !host.peers.has(index)))
    return [];
  const held = new Set(near.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
  const alive = new Set(containers.filter(({ namespace }) => namespace !== undefined).map(({ id }) => id));
  const left = new Map<string, NatEntry[]>();
  for (const entry of entries) {
    const { containerId } = entry.owner;
    const address = containerAddress(entry);
    if (containerId === undefined || address === undefined || held.has(address) || alive.has(containerId))
      continue;
    left.set(containerId, [...(left.get(containerId) ?? []), entry]);
  }
  return [...left].map(([containerId, own]) => finding(containerId, own));
}

function finding(containerId: string, entries: readonly NatEntry[]): Finding {
  const [first] = entries;
  const addresses = [...new Set(entries.flatMap((entry) => containerAddress(entry) ?? []))].join(' ');
  const mend = entries.flatMap(removal);
  return {
    code: 'nat-without-container',
    severity: 'warning',
    what: `NAT of ${first ? ownerWords(first.owner) : containerId} is left behind: nobody here has ${addresses}`,
    why: 'whoever gets the address next gets these rules, too: its ports are open, its source is hidden',
    mend: [...new Set(mend)],
    // Nobody can be reached by them; what others made, others keep account of.
    safe: first?.owner.who === 'weft' && mend.length > 0,
    subject: containerId,
  };
}

/** Takes away the element, or the rule where there is none. */
function removal({ element, rules }: NatEntry): string[] {
  const [rule] = rules;
  if (rule === undefined) return [];
  if (element === undefined) return rules.map(ruleRemoval);
  const key = (element.words.split(' : ')[0] ?? element.words).split(' . ');
  if (rule.variant !== 'nftables') return [`ipset del ${quote(element.set)} ${quote(key.join(','))}`];
  // nft has no way to write a quote inside of a name.
  if (key.some((part) => /["'\\]/.test(part))) return [];
  const words = key.map((part) => (isValue(part) ? part : named(part)));
  return [`nft 'delete element ${rule.family} ${rule.table} ${element.set} { ${words.join(' . ')} }'`];
}

/** An address, a prefix, a number, or a range of these. */
function isValue(part: string): boolean {
  const ends = part.split('-');
  return parseEither(part) !== undefined || ends.every((end) => parseEither(end) ?? /^\d+$/.test(end));
}

/** A name of a link may be a word of nft's language. */
function named(part: string): string {
  return protocolNumber(part) === undefined ? `"${part}"` : part;
}

function ruleRemoval({ variant, family, table, chain, handle, text }: RuleRef): string {
  if (variant === 'nftables')
    return `nft delete rule ${family} ${quote(table)} ${quote(chain)} handle ${handle}`;
  const program = `${family === 'ip' ? 'iptables' : 'ip6tables'}-${variant === 'iptables-nft' ? 'nft' : 'legacy'}`;
  // What iptables-save quotes is no shell's word: a comment may have anything in it.
  return [program, '-t', table, '-D', ...[chain, ...splitWords(text)].map(quote)].join(' ');
}
