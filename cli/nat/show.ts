/** `weft nat show` */

import { CniError, ErrorCode } from '../../cni/errors.ts';
import { rangeOf } from '../../inspect/nat/condition.ts';
import { natFindings } from '../../inspect/nat/findings.ts';
import { ownerWords, ruleWords, translationWords } from '../../inspect/nat/translation.ts';
import type { NatEntry, NatView } from '../../inspect/nat/view.ts';
import { protocolName } from '../../inspect/ruleset/names.ts';
import type { Connection, Flow } from '../../netlink/conntrack.ts';
import { duration } from '../agent/units.ts';
import type { WeftContext } from '../context.ts';
import { plural } from '../plural.ts';
import { printable } from '../printable.ts';
import { lines, table } from '../table.ts';
import { findingLines, verdict } from './findings.ts';
import { entryJson } from './list.ts';
import { look } from './look.ts';

/** Connections that are shown of one translation; `--json` has all. */
const MOST = 20;

export async function show(
  this: WeftContext,
  flags: { json?: boolean },
  what: string,
): Promise<Error | undefined> {
  const { terminal } = this;
  const view = await look(this);
  const entries = view.entries.filter(about(what, view));
  if (entries.length === 0) throw nothing(what, view);
  const findings = natFindings(view).filter((finding) => concerns(finding.subject, what, entries));
  if (flags.json) {
    const translations = entries.map((entry) => ({
      ...entryJson(entry),
      connections: entry.connections.map(connectionJson),
    }));
    terminal.out(`${JSON.stringify({ translations, findings }, null, 2)}\n`);
  } else {
    terminal.out(
      lines(...entries.flatMap((entry, i) => [...(i > 0 ? [''] : []), ...screen(entry).map(printable)])),
    );
    const found = await findingLines(findings, terminal);
    if (found.length > 0) terminal.out(lines('', ...found));
  }
  return verdict(findings);
}

/** `8080`, `tcp/8080`, `8080/tcp`, an address, a container's id, the beginning of it, or its name. */
function about(what: string, { entries }: NatView): (entry: NatEntry) => boolean {
  const asked = portOf(what);
  if (asked) {
    return ({ kind, ports, protocols }) =>
      (kind === 'dnat' || kind === 'redirect') &&
      ports.some((one) => {
        const range = rangeOf(one);
        return range !== undefined && asked.port >= range[0] && asked.port <= range[1];
      }) &&
      (asked.protocol === undefined || protocols.length === 0 || protocols.includes(asked.protocol));
  }
  // A whole id or name is meant, also where others begin with it.
  const isWhole = (entry: NatEntry) => idsOf(entry).includes(what) || entry.container?.name === what;
  if (entries.some(isWhole)) return isWhole;
  return (entry) =>
    idsOf(entry).some((id) => id.startsWith(what)) ||
    [entry.to?.address, ...entry.sources, ...entry.destinations].includes(what);
}

function idsOf({ owner, container }: NatEntry): string[] {
  return [owner.containerId, container?.id].filter((id) => id !== undefined);
}

function portOf(what: string): { port: number; protocol?: string } | undefined {
  const [, before, port, after] = /^(?:([a-z]+)[/ ])?(\d{1,5})(?:\/([a-z]+))?$/.exec(what) ?? [];
  if (port === undefined || Number(port) > 65_535) return undefined;
  const protocol = before ?? after;
  return { port: Number(port), ...(protocol === undefined ? {} : { protocol }) };
}

function nothing(what: string, { entries }: NatView): CniError {
  const ids = [
    ...new Set(
      entries.flatMap(({ container, owner }) => container?.name ?? container?.id ?? owner.containerId ?? []),
    ),
  ];
  const known =
    ids.length > 0
      ? `containers: ${ids.slice(0, 10).join(', ')}${ids.length > 10 ? ', ...' : ''}`
      : 'no container has any';
  return new CniError(
    ErrorCode.invalidConfig,
    `nothing rewrites addresses for ${JSON.stringify(what)}: ${known} (weft nat lists all)`,
  );
}

function concerns(subject: string, what: string, entries: readonly NatEntry[]): boolean {
  const words = entries.flatMap(({ container, owner, ports, protocols, to, sources }) => [
    ...[container?.id, owner.containerId, to?.address, ...sources],
    ...ports.flatMap((port) => protocols.map((protocol) => `${protocol} ${port}`)),
  ]);
  return subject === what || words.includes(subject);
}

function screen(entry: NatEntry): string[] {
  const { owner, rules, element, hooks, counters, shared, connections, container } = entry;
  const facts = [
    ['who', ownerWords(owner)],
    ...(container && container.id !== owner.containerId
      ? [['container', container.name ?? container.id]]
      : []),
    ['hooks', hooks.join(', ')],
    ...(element === undefined
      ? []
      : [['element', `${element.words} of ${rules[0]?.family} ${rules[0]?.table} ${element.set}`]]),
    ...rules.flatMap((rule) => [
      ['rule', `${ruleWords(rule)}${rule.handle === undefined ? '' : `, handle ${rule.handle}`}`],
      ['', rule.text],
    ]),
    [
      'counted',
      counters === undefined
        ? 'no: the rule has no counter'
        : `${plural(counters.packets, 'packet')}, ${plural(counters.bytes, 'byte')} (the first of each connection${shared > 1 ? `, with ${shared - 1} others` : ''})`,
    ],
    ['live', `${connections.length}`],
  ];
  return [
    translationWords(entry),
    ...table(facts).map((line) => `  ${line}`),
    ...connections.slice(0, MOST).flatMap(connectionLines),
    ...(connections.length > MOST ? [`    and ${connections.length - MOST} more`] : []),
  ];
}

function connectionLines({ original, reply, timeout, counters }: Connection): string[] {
  const traffic =
    counters === undefined
      ? ''
      : `, ${plural(counters.packets, 'packet')}, ${plural(counters.bytes, 'byte')}`;
  const left = timeout === undefined ? '' : `, kept ${duration(timeout)}`;
  return [
    `    ${protocolName(original.protocol)} ${flowWords(original)}${left}${traffic}`,
    `      answered by ${flowWords(reply)}`,
  ];
}

function flowWords({ source, sourcePort, destination, destinationPort }: Flow): string {
  return `${endWords(source, sourcePort)} -> ${endWords(destination, destinationPort)}`;
}

function endWords(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function connectionJson({ original, reply, mark, timeout, counters, status }: Connection) {
  return { protocol: protocolName(original.protocol), original, reply, status, mark, timeout, counters };
}
