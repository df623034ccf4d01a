/** What an agent did between two looks at its metrics. */
import { quantile, type Sample, select, total } from '../../agent/exposition.ts';
import { agentFacts } from './scrape.ts';

export interface Look {
  /** Milliseconds of a clock that only goes forward. */
  at: number;
  samples: readonly Sample[];
}

/** Durations are milliseconds; undefined where there was no request. */
export interface VerbLoad {
  plugin: string;
  verb: string;
  perSecond: number;
  errorsPerSecond: number;
  p50: number | undefined;
  p99: number | undefined;
  kernelP50: number | undefined;
  /** Since the agent started. */
  total: number;
  errors: number;
}

export interface NetworkLoad {
  network: string;
  family: string;
  used: number;
  free: number | undefined;
}

export interface Load {
  pid: number;
  version: string;
  /** Seconds that lie between the looks. */
  interval: number;
  /** Seconds. */
  uptime: number;
  /** Bytes. */
  memory: number;
  /** Milliseconds. */
  eventLoopLag: number;
  perSecond: number;
  errorsPerSecond: number;
  underWay: number;
  fallbacks: number;
  refused: number;
  corrections: number;
  verbs: VerbLoad[];
  leases: NetworkLoad[];
}

/** `now` in seconds since the epoch. A restarted agent counts from zero: then all that it counts happened in between. */
export function loadBetween(before: Look, after: Look, now: number): Load {
  const { samples } = after;
  const { pid, version, memory, started } = agentFacts(samples);
  const earlier = agentFacts(before.samples).started === started ? before.samples : [];
  const interval = Math.max(0.001, (after.at - before.at) / 1000);
  const verbs = verbLoads(earlier, samples, interval);
  const sum = (value: (load: VerbLoad) => number) => verbs.reduce((all, load) => all + value(load), 0);
  return {
    ...{ pid, version, interval, uptime: now - started, memory },
    eventLoopLag: total(samples, 'nodejs_eventloop_lag_seconds') * 1000,
    perSecond: sum(({ perSecond }) => perSecond),
    errorsPerSecond: sum(({ errorsPerSecond }) => errorsPerSecond),
    underWay: total(samples, 'weft_requests_under_way'),
    fallbacks: total(samples, 'weft_fallbacks_total'),
    refused: total(samples, 'weft_callers_refused_total'),
    corrections: total(samples, 'weft_reconcile_corrections_total'),
    verbs,
    leases: select(samples, 'weft_leases_used').map(({ labels, value }) => {
      const { network = '', family = '' } = labels;
      const free = select(samples, 'weft_leases_free', { network, family })[0]?.value;
      return { network, family, used: value, free };
    }),
  };
}

function verbLoads(before: readonly Sample[], after: readonly Sample[], interval: number): VerbLoad[] {
  const kinds = select(after, 'weft_request_duration_seconds_count').map(({ labels }) => labels);
  return kinds
    .map(({ plugin = '', verb = '' }) => {
      const labels = { plugin, verb };
      const count = (samples: readonly Sample[]) => total(samples, 'weft_requests_total', labels);
      const failed = (samples: readonly Sample[]) =>
        count(samples) - total(samples, 'weft_requests_total', { ...labels, code: '0' });
      const durations = growth('weft_request_duration_seconds_bucket', labels, before, after);
      const kernel = growth('weft_request_kernel_seconds_bucket', labels, before, after);
      return {
        ...labels,
        perSecond: (count(after) - count(before)) / interval,
        errorsPerSecond: (failed(after) - failed(before)) / interval,
        ...{ p50: milliseconds(0.5, durations), p99: milliseconds(0.99, durations) },
        kernelP50: milliseconds(0.5, kernel),
        ...{ total: count(after), errors: failed(after) },
      };
    })
    .sort((a, b) => `${a.plugin} ${a.verb}`.localeCompare(`${b.plugin} ${b.verb}`));
}

/** By how much each bucket of a histogram grew. */
function growth(
  name: string,
  labels: Readonly<Record<string, string>>,
  before: readonly Sample[],
  after: readonly Sample[],
): [bound: number, count: number][] {
  const old = new Map(select(before, name, labels).map((sample) => [sample.labels.le, sample.value]));
  return select(after, name, labels)
    .map(({ labels: { le = '' }, value }): [number, number] => [
      le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le),
      value - (old.get(le) ?? 0),
    ])
    .sort(([a], [b]) => a - b);
}

function milliseconds(q: number, buckets: [number, number][]): number | undefined {
  const seconds = quantile(q, buckets);
  return seconds === undefined ? undefined : seconds * 1000;
}
