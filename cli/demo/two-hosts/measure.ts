/** How fast, and how far: TCP by iperf3, round trips by ping. Short: a look, no benchmark (bench/throughput.ts). */
import type { Lab, Place } from '../lab.ts';

export interface Figures {
  /** Bits per second of one TCP stream. */
  throughput: number;
  /** Milliseconds; average of the round trips. */
  roundTrip: number;
}

const ROUND_TRIPS = 100;

/** From one place to an address of another, for a second. Throws CniError with the program's words. */
export async function figures(lab: Lab, from: Place, to: Place, address: string): Promise<Figures> {
  const server = await lab.daemon(to, `${to}.iperf3.log`, /Server listening/, [
    ...['iperf3', '-s', '-1', '--forceflush'],
  ]);
  try {
    const json = await lab.must(from, 'iperf3', '-c', address, '-t', '1', '-J');
    const report = JSON.parse(json) as { end: { sum_received: { bits_per_second: number } } };
    const pings = ['-n', '-q', '-c', `${ROUND_TRIPS}`, '-i', '0.002', '-w', '5', address];
    const text = await lab.must(from, 'ping', ...pings);
    const [, average] = /^rtt .* = [\d.]+\/([\d.]+)\//m.exec(text) ?? [];
    return { throughput: report.end.sum_received.bits_per_second, roundTrip: Number(average) };
  } finally {
    await server.stop();
  }
}
