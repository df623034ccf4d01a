/** One thing that rewrites addresses on a host: a rule, or an element of the set or map that the rule asks. */
import type { Owner } from '../owner.ts';
import type { Counters, HookName, Table, Variant } from '../ruleset/model.ts';

/** The rule by which it happens. */
export interface RuleRef {
  variant: Variant;
  family: Table['family'];
  table: string;
  chain: string;
  position: number;
  handle?: number;
  text: string;
}

/**
 * What packets it is about, as far as rules say what they want; what they do not want (`! -d 10.0.0.0/8`) is in their text alone. An empty
 * list is every value.
 */
export interface Condition {
  /** Absent: both. */
  family?: 4 | 6;
  protocols: readonly string[];
  /** Addresses, prefixes, ranges; `@set` for those of a set. */
  sources: readonly string[];
  destinations: readonly string[];
  /** Destination ports: `8080`, `8000-8100`. */
  ports: readonly string[];
  /** Links by which it comes and leaves. */
  in: readonly string[];
  out: readonly string[];
  /** `0x2000/0x2000` */
  mark?: string;
  /** Only of connections whose destination is rewritten. */
  published: boolean;
  /** Only what is sent to an address of this host. */
  local: boolean;
}

export interface Translation extends Condition {
  kind: 'masquerade' | 'snat' | 'dnat' | 'redirect';
  owner: Owner;
  /** Absent for a masquerade, which takes the address of the link that the packet leaves by. */
  to?: { address?: string; port?: string };
  /** One of several targets, by chance. */
  chance: boolean;
  /** From which hooks it is reached. */
  hooks: readonly HookName[];
  /** Of the first hook, for the order. */
  priority: number;
  /** More than one where several rules ask the same element for the same end. */
  rules: readonly RuleRef[];
  element?: { set: string; words: string };
  /** NAT rules see the first packet of each connection. Absent where nobody counts. */
  counters?: Counters;
  /** How many translations those counters are of. */
  shared: number;
}

/** `podnet c1 eth0`, `docker`. */
export function ownerWords({ who, plugin, network, containerId, ifname }: Owner): string {
  const program = plugin === undefined ? who : `${who} ${plugin}`;
  const attachment = [network, containerId, ifname].filter((word) => word !== undefined).join(' ');
  return attachment === '' ? program : `${program} (${attachment})`;
}

/** `inet weft-ports published rule 2` */
export function ruleWords({ family, table, chain, position, variant }: RuleRef): string {
  const legacy = variant === 'iptables-legacy' ? ' (legacy)' : '';
  return `${family} ${table} ${chain} rule ${position}${legacy}`;
}

/** What it does, on one line: `masquerade 10.88.0.5`, `tcp 8080 -> 10.88.0.5:80`. */
export function translationWords(translation: Translation): string {
  const { kind, to } = translation;
  if (kind === 'dnat' || kind === 'redirect') {
    const from = translation.sources.length > 0 ? ` from ${translation.sources.join(' ')}` : '';
    return `${entryWords(translation)} -> ${targetWords(kind, to)}${from}${limits(translation)}`;
  }
  const sources = translation.sources.join(' ');
  const toward = translation.destinations.length > 0 ? `to ${translation.destinations.join(' ')}` : '';
  const packets =
    [translation.protocols.join('/'), sources, toward].filter(Boolean).join(' ') ||
    (translation.published ? 'published' : 'all');
  return kind === 'masquerade'
    ? `masquerade ${packets}${limits(translation)}`
    : `source of ${packets} -> ${targetWords(kind, to)}${limits(translation)}`;
}

/** `tcp 8080`, `udp 203.0.113.1:53` */
export function entryWords({ protocols, destinations, ports }: Condition): string {
  const port = ports.join(',');
  const at = destinations.map((address) => {
    if (port === '') return address;
    return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  });
  return [protocols.join('/'), at.length > 0 ? at.join(' ') : port].filter(Boolean).join(' ') || 'all';
}

function targetWords(kind: Translation['kind'], to: Translation['to']): string {
  const { address = kind === 'redirect' ? 'this host' : '', port } = to ?? {};
  if (port === undefined) return address || 'somewhere';
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function limits({ in: comes, out, mark }: Condition): string {
  return [
    ...(comes.length > 0 ? [` in ${comes.join(' ')}`] : []),
    ...(out.length > 0 ? [` out ${out.join(' ')}`] : []),
    ...(mark === undefined ? [] : [` marked ${mark}`]),
  ].join('');
}
