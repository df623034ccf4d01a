/** What one ADD and one DEL of one more container take, on hosts that have so many. */
import { type Contestant, type Folders, startAgent, stopAgent, type Verb } from './contestants.ts';
import type { Ground } from './ground.ts';
import type { Latency } from './results.ts';
import { summarize } from './statistics.ts';

/** Links per container namespace while a host is filled; what counts is what stands on the host. */
const LINKS_PER_NAMESPACE = 50;
/** What is quick is measured so many times for each time that the rest is: its p99 needs it, and it costs nothing. */
const QUICK = 4;

/**
 * Measures at each level (number of containers, that which is measured included), in ascending order. The contestants take turns, so
 * that a noisy machine disturbs all of them alike.
 */
export async function measureLatency(
  ground: Ground,
  contestants: readonly Contestant[],
  folders: Folders,
  levels: readonly number[],
  rounds: number,
  tell: (what: string) => void,
): Promise<Latency[]> {
  const results: Latency[] = [];
  const [measured = ''] = await ground.namespaces('measured', 1);
  let filled = 0;
  for (const level of [...levels].sort((a, b) => a - b)) {
    tell(`filling to ${level - 1} containers`);
    await fill(ground, contestants, folders, filled, level - 1);
    filled = Math.max(filled, level - 1);
    tell(`measuring container ${level}`);
    for (const { way, network, times } of await measure(contestants, measured, level, rounds)) {
      for (const verb of ['ADD', 'DEL'] as const) {
        results.push({ verb, level, way, network, ...summarize(times[verb]) });
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

interface Measured extends Pick<Contestant, 'way' | 'network'> {
  /** Milliseconds. */
  times: Record<Verb, number[]>;
}

async function measure(
  contestants: readonly Contestant[],
  netns: string,
  level: number,
  rounds: number,
): Promise<Measured[]> {
  const all = contestants.map((contestant) => {
    const { way, network } = contestant;
    return { contestant, measured: { way, network, times: { ADD: [], DEL: [] } } as Measured };
  });
  for (let round = -1; round < rounds; round++) {
    for (const { contestant, measured } of all) {
      const { way, host, job } = contestant;
      const quick = way !== 'cold' && way !== 'reference';
      for (let repeated = 0; repeated < (quick ? QUICK : 1); repeated++) {
        for (const verb of ['ADD', 'DEL'] as const) {
          // As many attachments were there before: a number that no other has.
          const [done] = await host.run([job(verb, { number: level, netns, ifname: 'eth0' })]);
          if (done && round >= 0) measured.times[verb].push(done.end - done.start);
        }
      }
    }
  }
  return all.map(({ measured }) => measured);
}
