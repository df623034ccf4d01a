/** TCP, UDP and CPU by iperf3, requests and responses by bench/pingpong.c. */
import type { Path } from './throughput-paths.ts';

/** What is found out of one path in one round. */
export interface Sample {
  /** Bits per second of one TCP stream, and of eight. */
  tcp: number;
  streams: number;
  /** CPU time of both ends per gigabit of the one stream, milliseconds. */
  cpu: number;
  /** Bits per second that arrive. */
  udp: number;
  /** Requests and responses of one byte per second. */
  requests: number;
}

interface Measure {
  key: keyof Sample;
  title: string;
  better: 'more' | 'less';
  show(value: number): string;
}

const gigabits = (value: number) => (value / 1e9).toFixed(1);

export const MEASURES: readonly Measure[] = [
  { key: 'tcp', title: 'TCP Gbit/s', better: 'more', show: gigabits },
  { key: 'streams', title: '8 STREAMS', better: 'more', show: gigabits },
  { key: 'cpu', title: 'CPU ms/Gbit', better: 'less', show: (value) => value.toFixed(0) },
  { key: 'requests', title: 'REQUESTS/s', better: 'more', show: (value) => value.toFixed(0) },
  { key: 'udp', title: 'UDP Gbit/s', better: 'more', show: gigabits },
];

export interface MeasureOptions {
  /** The program. */
  pingpong: string;
  /** Bytes, of the wire. */
  mtu: number;
  seconds: number;
}

const PORT = '7778';
/** Who measures goes before whatever else runs on the machine. */
const FIRST = ['nice', '-n', '-10'] as const;

export async function startServers({ lab, to }: Path, pingpong: string): Promise<void> {
  await lab.daemon(to, 'iperf3.log', /Server listening/, [...FIRST, 'iperf3', '-s', '--forceflush']);
  await lab.daemon(to, 'pingpong.log', /listening/, [...FIRST, pingpong, PORT]);
}

interface Report {
  end: {
    sum_received: { bits_per_second: number };
    sum: { bits_per_second: number; lost_percent: number };
    cpu_utilization_percent: { host_total: number; remote_total: number };
  };
}

export async function measure(
  { lab, from, address }: Path,
  kind: 'tcp' | 'streams' | 'udp' | 'requests',
  { pingpong, mtu, seconds }: MeasureOptions,
): Promise<Partial<Sample>> {
  if (kind === 'requests') {
    return { requests: Number(await lab.must(from, ...FIRST, pingpong, PORT, address, `${seconds / 2}`)) };
  }
  // One datagram is one packet on every path: IPv4, UDP and the tunnel's 50 bytes around it.
  const extra =
    kind === 'udp' ? ['-u', '-b', '0', '-l', `${mtu - 78}`] : kind === 'streams' ? ['-P', '8'] : [];
  const text = await lab.must(from, ...FIRST, 'iperf3', '-c', address, '-t', `${seconds}`, '-J', ...extra);
  const { end } = JSON.parse(text) as Report;
  if (kind === 'udp') return { udp: end.sum.bits_per_second * (1 - end.sum.lost_percent / 100) };
  const speed = end.sum_received.bits_per_second;
  if (kind === 'streams') return { streams: speed };
  const { host_total: here, remote_total: there } = end.cpu_utilization_percent;
  return { tcp: speed, cpu: ((here + there) * 10) / (speed / 1e9) };
}
