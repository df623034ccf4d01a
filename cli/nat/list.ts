/** `weft nat` */
import { natFindings } from '../../inspect/nat/findings.ts';
import { ruleWords, type Translation, translationWords } from '../../inspect/nat/translation.ts';
import { containerWords, type NatEntry } from '../../inspect/nat/view.ts';
import type { Counters } from '../../inspect/ruleset/model.ts';
import type { WeftContext } from '../context.ts';
import { printable } from '../printable.ts';
import { lines, table } from '../table.ts';
import { findingLines, verdict } from './findings.ts';
import { type FilterFlags, wanted } from './flags.ts';
import { look } from './look.ts';

export interface ListFlags extends FilterFlags {
  json?: boolean;
}

const HEAD = ['WHO', 'NETWORK', 'CONTAINER', 'WHAT', 'PACKETS', 'BYTES', 'LIVE', 'BY'];
/** Columns that are numbers stand to the right. */
const NUMBERS = [4, 5, 6];

export async function list(this: WeftContext, flags: ListFlags): Promise<Error | undefined> {
  const { terminal } = this;
  const view = await look(this);
  const entries = view.entries.filter(wanted(flags));
  const findings = natFindings(view);
  const { unread } = view.host.ruleset;
  if (flags.json) {
    const translations = entries.map(entryJson);
    terminal.out(`${JSON.stringify({ translations, findings, unread }, null, 2)}\n`);
  } else {
    if (entries.length === 0) terminal.err('nothing rewrites addresses here\n');
    else terminal.out(lines(...table(rightAligned([HEAD, ...entries.map(row)])).map(printable)));
    const found = await findingLines(findings, terminal);
    if (found.length > 0) terminal.out(lines('', ...found));
  }
  return verdict(findings);
}

function row(entry: NatEntry): string[] {
  const { owner, connections } = entry;
  return [
    [owner.who, owner.plugin].filter(Boolean).join(' '),
    owner.network ?? entry.container?.networks[0] ?? '-',
    short(containerWords(entry) ?? '-'),
    translationWords(entry),
    ...counterCells(entry),
    String(connections.length),
    by(entry),
  ];
}

/** Runtimes' ids have 64 digits, and 12 tell containers apart. */
export function short(id: string): string {
  return /^[0-9a-f]{32,}$/.test(id) ? id.slice(0, 12) : id;
}

/** A counter that several translations share says nothing of one of them; without one, the connections may have counted. */
function counterCells(entry: NatEntry): string[] {
  const { counters, shared } = entry;
  const mark = counters === undefined ? '~' : shared > 1 ? '*' : '';
  const found = counters ?? trafficOf(entry);
  return found === undefined ? ['-', '-'] : [`${found.packets}${mark}`, `${found.bytes}${mark}`];
}

/** What the connections that live carried, both ways; undefined where the kernel does not count (nf_conntrack_acct). */
export function trafficOf({ connections }: NatEntry): Counters | undefined {
  const counted = connections.flatMap(({ counters }) => counters ?? []);
  if (counted.length === 0) return undefined;
  return {
    packets: counted.reduce((sum, { packets }) => sum + packets, 0),
    bytes: counted.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

function by({ rules, element }: Translation): string {
  const [rule] = rules;
  if (rule === undefined) return '-';
  return element === undefined ? ruleWords(rule) : `${rule.family} ${rule.table} @${element.set}`;
}

function rightAligned(rows: readonly (readonly string[])[]): string[][] {
  const widths = NUMBERS.map((column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows.map((cells) =>
    cells.map((cell, i) => (NUMBERS.includes(i) ? cell.padStart(widths[NUMBERS.indexOf(i)] ?? 0) : cell)),
  );
}

/** Stable names for scripts. */
export function entryJson(entry: NatEntry) {
  const { container, connections, ...translation } = entry;
  const traffic = trafficOf(entry);
  return {
    what: translationWords(entry),
    ...translation,
    ...(container ? { container: container.id } : {}),
    live: connections.length,
    ...(traffic ? { traffic } : {}),
  };
}
