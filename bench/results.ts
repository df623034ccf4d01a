/** What `make bench` finds out: the shape of its JSON file, and the tables that a person reads. */
import type { Network, Verb, Way } from './contestants.ts';
import type { Summary } from './statistics.ts';

/** Milliseconds of whole processes. */
export interface Latency extends Summary {
  verb: Verb;
  /** How many containers the host has with this one. */
  level: number;
  /** On a host that was measured in turn with those of this level, so that the two can be compared. */
  beside?: number;
  way: Way;
  network: Network;
}

export interface Burst {
  way: Way;
  network: Network;
  count: number;
  callers: number;
  /** Milliseconds from the first start to the last end. */
  add: number;
  del: number;
  /** Addresses that two containers got. */
  twice: number;
  /** Requests that the agent did not serve, because it did not answer in time or went away. */
  fallenBack?: number;
  /** MiB resident of the agent: at rest before, at most, and at rest with all containers. */
  memory?: { before: number; peak: number; filled: number };
}

export interface Machine {
  kernel: string;
  cpus: number;
  cpu: string;
  node: string;
  reference: string;
  /** Load average of the last minute, before and after. */
  load: [number, number];
}

export interface StartUp {
  /** Milliseconds. */
  times: ({ what: string } & Summary)[];
  kibibytes: { file: string; size: number }[];
}

export interface Results {
  machine: Machine;
  /** What a caller in Node would have seen of a process that does nothing, beside what the caller in C sees; milliseconds. */
  callers: { inC: number; inNode: number };
  startUp: StartUp;
  latency: Latency[];
  bursts: Burst[];
}

/** Which contestant stands beside which. */
const BESIDE: readonly (readonly [Network, against: Network])[] = [
  ['plain', 'plain'],
  ['iptables', 'iptables'],
  ['nftables', 'iptables'],
];

export type Table = readonly (readonly string[])[];

export const find = (latency: readonly Latency[], verb: Verb, level: number, way: Way, network: Network) =>
  latency.find(
    (one) =>
      one.verb === verb &&
      one.level === level &&
      one.way === way &&
      one.network === network &&
      one.beside === undefined,
  );

const ms = (value: number | undefined) =>
  value === undefined ? '' : value < 10 ? value.toFixed(2) : value.toFixed(1);
const ratio = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? '' : (a / b).toFixed(2);
/** 1/12: how much smaller a is. */
const part = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? '' : b > a ? `1/${(b / a).toFixed(1)}` : (a / b).toFixed(2);

const levelsOf = (latency: readonly Latency[]) => [...new Set(latency.map(({ level }) => level))];

/** Ours beside the reference. */
export function comparison({ latency }: Results): Table {
  const head = [
    '',
    'cold ms',
    'agent ms',
    'reference ms',
    'cold/ref',
    'agent/ref',
    'p99 agent',
    'p99 ref',
    'p99 ratio',
  ];
  const rows = (['ADD', 'DEL'] as const).flatMap((verb) =>
    BESIDE.flatMap(([network, against]) =>
      levelsOf(latency).map((level) => {
        const cold = find(latency, verb, level, 'cold', network);
        const agent = find(latency, verb, level, 'agent', network);
        const peer = find(latency, verb, level, 'reference', against);
        return [
          `${verb} ${network} at ${level}`,
          ...[ms(cold?.median), ms(agent?.median), ms(peer?.median)],
          ...[part(cold?.median, peer?.median), part(agent?.median, peer?.median)],
          ...[ms(agent?.p99), ms(peer?.p99), part(agent?.p99, peer?.p99)],
        ];
      }),
    ),
  );
  return [head, ...rows];
}

/** The agent beside a C program that sends the same messages, and one that does nothing. */
export function floors({ latency }: Results): Table {
  const head = ['', 'agent ms', 'floor ms', 'agent/floor', 'empty process ms', 'above it: agent', 'floor'];
  const rows = (['ADD', 'DEL'] as const).flatMap((verb) =>
    levelsOf(latency).map((level) => {
      const agent = find(latency, verb, level, 'agent', 'plain')?.median;
      const floor = find(latency, verb, level, 'floor', 'plain')?.median;
      const empty = find(latency, verb, level, 'process', 'plain')?.median;
      const above = (value: number | undefined) =>
        value === undefined || empty === undefined ? '' : ms(value - empty);
      return [
        `${verb} plain at ${level}`,
        ms(agent),
        ms(floor),
        ratio(agent, floor),
        ms(empty),
        above(agent),
        above(floor),
      ];
    }),
  );
  return [head, ...rows];
}

/** The last level beside an empty host, in the same rounds. Empty when there is one level alone. */
export function growth({ latency }: Results): Table {
  const empty = latency.filter(({ beside }) => beside !== undefined);
  const ways = [...new Set(empty.map(({ way }) => way))].filter((way) => way !== 'process');
  const rows = (['ADD', 'DEL'] as const).flatMap((verb) =>
    [...new Set(empty.map(({ network }) => network))].map((network) => {
      const ratios = ways.map((way) => {
        const first = empty.find((one) => one.verb === verb && one.way === way && one.network === network);
        const last = find(latency, verb, first?.beside ?? 0, way, network);
        return ratio(last?.median, first?.median);
      });
      return [`${verb} ${network}`, ...ratios];
    }),
  );
  return [[`container ${empty[0]?.beside ?? ''} to the first`, ...ways], ...rows];
}

export function burstTable({ bursts }: Results): Table {
  const head = [
    '',
    'ADD s',
    'DEL s',
    'ms an ADD',
    'address twice',
    'fell back to cold',
    'agent MiB at rest',
    'peak',
    'at rest, filled',
  ];
  const rows = bursts.map(({ way, network, count, callers, add, del, twice, memory, fallenBack }) => [
    `${count} by ${callers}, ${network}, ${way}`,
    (add / 1000).toFixed(2),
    (del / 1000).toFixed(2),
    ms(add / count),
    `${twice}`,
    `${fallenBack ?? ''}`,
    ...(memory ? [memory.before, memory.peak, memory.filled].map(String) : ['', '', '']),
  ]);
  return [head, ...rows];
}

export const startUpTable = ({ startUp: { times } }: Results): Table => [
  ['', 'ms', 'p99'],
  ...times.map(({ what, median, p99 }) => [what, ms(median), ms(p99)]),
];

export const sizesLine = ({ startUp: { kibibytes } }: Results): string =>
  `Files: ${kibibytes.map(({ file, size }) => `${file} ${size} KiB`).join(', ')}.`;

/** For a terminal: columns. */
export function asText(table: Table): string {
  const widths = (table[0] ?? []).map((_, column) =>
    Math.max(...table.map((row) => (row[column] ?? '').length)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart((widths[column] ?? 0) + 2),
      )
      .join('');
  return `${table.map(line).join('\n')}\n`;
}

/** For a document. */
export function asMarkdown([head = [], ...rows]: Table): string {
  const line = (row: readonly string[]) => `| ${row.join(' | ')} |`;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return `${[head, rule, ...rows].map(line).join('\n')}\n`;
}

/** One line. */
export const machineLine = ({ machine: { kernel, cpus, cpu, node, reference, load } }: Results): string =>
  `Linux ${kernel}, ${cpus} × ${cpu}, Node ${node}; ${reference}; load ${load.map((value) => value.toFixed(1)).join(' before, ')} after.`;
