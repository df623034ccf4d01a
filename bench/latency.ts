/** What one ADD and one DEL of one more container take, on hosts that have so many. */
import { type Contestant, type Folders, startAgent, stopAgent, type Verb } from './contestants.ts';
import type { Ground } from './ground.ts';
import type { Latency } from './results.ts';
import { summarize } from './statistics.ts';

/** Links per container namespace while a host is filled; what counts is what stands on the host. */
const LINKS_PER_NAMESPACE = 50;
/** The cold path takes part in one of so many rounds: it takes more time than all others together, and most of it is Node's start. */
const COLD_ROUNDS = 4;

/**
 * Measures at each level (number of containers, that which is measured included), in ascending order. The contestants take turns, so
 * that a noisy machine disturbs all of them alike. So do, at the last level, `twins` of theirs that have no container: what grows with the
 * number of containers must not be taken for what grew with the machine's load since the first level.
 */
export async function measureLatency(
  ground: Ground,
  contestants: readonly Contestant[],
  twins: readonly Contestant[],
  folders: Folders,
  levels: readonly number[],
  rounds: number,
  tell: (what: string) => void,
): Promise<Latency[]> {
  const results: Latency[] = [];
  const [measured = ''] = await ground.namespaces('measured', 1);
  let filled = 0;
  const ascending = [...levels].sort((a, b) => a - b);
  for (const level of ascending) {
    tell(`filling to ${level - 1} containers`);
    await fill(ground, contestants, folders, filled, level - 1);
    filled = Math.max(filled, level - 1);
    tell(`measuring container ${level}`);
    const isLast = level === ascending.at(-1) && level > 1;
    const all = [
      ...contestants.map((contestant) => newSeries(contestant, { level })),
      ...(isLast ? twins.map((twin) => newSeries(twin, { level: 1, beside: level })) : []),
    ];
    await measure(all, measured, rounds);
    for (const { contestant, labels, times } of all) {
      const { way, network } = contestant;
      for (const verb of ['ADD', 'DEL'] as const) {
        results.push({ verb, ...labels, way, network, ...summarize(times[verb]) });
      }
    }
  }
  return results;
}

/** Attaches containers `from` to `to` on every host. Without an agent, by one that ends then: it is the state that counts. */
async function fill(
  ground: Ground,
  contestants: readonly Contestant[],
  folders: Folders,
  from: number,
  to: number,
): Promise<void> {
  if (to <= from) return;
  const spaces = Math.ceil(to / LINKS_PER_NAMESPACE);
  await Promise.all(
    contestants.map(async ({ way, host, job }) => {
      if (way === 'process') return;
      const netns = await ground.namespaces(`${host.name}-fill-${to}`, spaces);
      const attachments = Array.from({ length: to - from }, (_, n) => ({
        number: from + n,
        netns: netns[Math.floor(n / LINKS_PER_NAMESPACE)] ?? '',
        ifname: `eth${n % LINKS_PER_NAMESPACE}`,
      }));
      const helper = way === 'cold' ? await startAgent(host, folders.weft) : undefined;
      await host.run(attachments.map((attachment) => job('ADD', attachment)));
      if (helper !== undefined) await stopAgent(host, helper);
    }),
  );
}

interface Measured {
  contestant: Contestant;
  labels: Pick<Latency, 'level' | 'beside'>;
  /** Milliseconds. */
  times: Record<Verb, number[]>;
}

const newSeries = (contestant: Contestant, labels: Measured['labels']): Measured => ({
  contestant,
  labels,
  times: { ADD: [], DEL: [] },
});

async function measure(all: readonly Measured[], netns: string, rounds: number): Promise<void> {
  for (let round = -1; round < rounds; round++) {
    for (const { contestant, labels, times } of all) {
      const { way, host, job } = contestant;
      if (way === 'cold' && round % COLD_ROUNDS !== 0) continue;
      for (const verb of ['ADD', 'DEL'] as const) {
        // As many attachments were there before: a number that no other has.
        const [done] = await host.run([job(verb, { number: labels.level, netns, ifname: 'eth0' })]);
        if (done && round >= 0) times[verb].push(done.end - done.start);
      }
    }
  }
}
