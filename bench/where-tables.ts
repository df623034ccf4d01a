/** Where the time of a request went: what bench/where.ts writes into its JSON file, and the tables of it. */
import type { Verb } from './contestants.ts';
import type { Phase } from './phases.ts';
import type { Table } from './results.ts';
import { median } from './statistics.ts';
import type { Share } from './steps.ts';

export interface TracedRequest {
  verb: Verb;
  /** Medians in microseconds: without the trace, and with it. */
  untraced: number;
  traced: number;
  /** In order; what tracing cost is taken off. */
  phases: Phase[];
  /** How many of the requests went through these very phases, 0 to 1. */
  share: number;
}

export interface Where {
  network: string;
  requests: TracedRequest[];
}

/** The phases that most requests went through, with the median of each, without the price of the events that were traced. */
export function typical(
  verb: Verb,
  requests: readonly Phase[][],
  untraced: number,
  traced: number,
): TracedRequest {
  const key = (phases: readonly Phase[]) => phases.map(({ what }) => what).join('\n');
  const kinds = new Map<string, Phase[][]>();
  for (const phases of requests) kinds.set(key(phases), [...(kinds.get(key(phases)) ?? []), phases]);
  const most = [...kinds.values()].sort((a, b) => b.length - a.length)[0] ?? [];
  const phases = (most[0] ?? []).map((phase, at) => ({
    ...phase,
    took: median(most.map((one) => one[at]?.took ?? 0)),
    events: median(most.map((one) => one[at]?.events ?? 0)),
  }));
  const sum = (of: (phase: Phase) => number) => phases.reduce((before, phase) => before + of(phase), 0);
  const price = Math.max(
    0,
    (sum(({ took }) => took) - untraced) /
      Math.max(
        1,
        sum(({ events }) => events),
      ),
  );
  return {
    ...{ verb, untraced, traced, share: most.length / Math.max(1, requests.length) },
    phases: phases.map((phase) => ({ ...phase, took: Math.max(0, phase.took - phase.events * price) })),
  };
}

const rows = (verb: Verb, what: string, entries: readonly (readonly [string, number])[]): Table => {
  const total = entries.reduce((sum, [, took]) => sum + took, 0);
  return [
    [`${verb}: ${what}`, 'µs', 'share'],
    ...entries.map(([name, took]) => [name, took.toFixed(0), `${((100 * took) / total).toFixed(0)} %`]),
  ];
};

export const stepsTable = ({ verb, phases }: TracedRequest): Table =>
  rows(
    verb,
    'one after the other',
    phases.map(({ what, took }) => [what, took]),
  );

export function sharesTable({ verb, phases }: TracedRequest): Table {
  const shares = new Map<Share, number>();
  for (const { share, took } of phases) shares.set(share, (shares.get(share) ?? 0) + took);
  return rows(
    verb,
    'together',
    [...shares].sort(([, a], [, b]) => b - a),
  );
}
