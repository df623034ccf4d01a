/** How fast, and how far: TCP by iperf3, round trips by ping. Short: a look, no benchmark (bench/throughput.ts). */
import type { Lab, Place } from '../lab.ts';

export interface Figures {
  /** Bits per second of one TCP stream. */
  throughput: number;
  /** Milliseconds. */
  roundTrip: number;
}

export interface Way {
  from: Place;
  to: Place;
  /** Of `to`. */
  address: string;
}

/** Runs of a second (less says little of TCP), and round trips in each. */
const RUNS = 2;
const ROUND_TRIPS = 50;

/**
 * The best of each way: they take turns, and what else runs on the machine can only slow them down. Throws CniError with the
 * program's words.
 */
export async function figures<const W extends readonly Way[]>(
  lab: Lab,
  ways: W,
): Promise<{ [K in keyof W]: Figures }> {
  const servers = await Promise.all(
    ways.map(({ to }) =>
      lab.daemon(to, `${to}.iperf3.log`, /Server listening/, ['iperf3', '-s', '--forceflush']),
    ),
  );
  const best = ways.map((): Figures => ({ throughput: 0, roundTrip: Number.POSITIVE_INFINITY }));
  try {
    for (let run = 0; run < RUNS; run += 1) {
      for (const [i, way] of ways.entries()) {
        const found = best[i];
        if (found === undefined) continue;
        found.throughput = Math.max(found.throughput, await throughput(lab, way));
        found.roundTrip = Math.min(found.roundTrip, await roundTrip(lab, way));
      }
    }
    return best as { [K in keyof W]: Figures };
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

async function throughput(lab: Lab, { from, address }: Way): Promise<number> {
  const json = await lab.must(from, 'iperf3', '-c', address, '-t', '1', '-J');
  const report = JSON.parse(json) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second;
}

async function roundTrip(lab: Lab, { from, address }: Way): Promise<number> {
  const args = ['-n', '-q', '-c', `${ROUND_TRIPS}`, '-i', '0.002', '-w', '15', address];
  const [, least] = /^rtt .* = ([\d.]+)\//m.exec(await lab.must(from, 'ping', ...args)) ?? [];
  return Number(least);
}
