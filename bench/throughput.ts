/**
 * How fast containers on two hosts are with each other: `make bench-throughput`. The paths take turns, so that a busy machine disturbs all
 * of them alike; of each the best round counts, because others can only slow it down. What is compared are ratios to the hosts' own best.
 *
 * Usage: tsx bench/throughput.ts [--mtu 1500,9000] [--rounds 10] [--seconds 1] [--only WORD,...] [--nat] [--weft DIR] [--json FILE]
 *                               [--into FILE.md]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { table } from '../cli/table.ts';
import { realAmbient } from '../runtime/ambient.ts';
import { MEASURES, measure, type Sample, startServers } from './throughput-measure.ts';
import { openPaths, type Path } from './throughput-paths.ts';

const { values } = parseArgs({
  options: {
    mtu: { type: 'string', default: '1500,9000' },
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    nat: { type: 'boolean', default: false },
    weft: { type: 'string', default: path.resolve(import.meta.dirname, '../dist/bin') },
    json: { type: 'string' },
    into: { type: 'string' },
  },
});

interface Row {
  mtu: number;
  path: string;
  /** One for each round. */
  samples: Sample[];
}

interface Best {
  mtu: number;
  path: string;
  best: Sample;
}

async function rows(mtu: number, pingpong: string): Promise<Row[]> {
  const paths = await openPaths({
    ...{ ambient: realAmbient(process.env), bin: path.resolve(values.weft), mtu, nat: values.nat },
    only: values.only.split(',').filter(Boolean),
  });
  try {
    await Promise.all(paths.map((one) => startServers(one, pingpong)));
    const found = paths.map(({ name }): Row => ({ mtu, path: name, samples: [] }));
    for (let round = 0; round < Number(values.rounds); round += 1) {
      if (stopped) throw new Error('interrupted');
      const samples = await oneRound(paths, pingpong, mtu);
      for (const [i, sample] of samples.entries()) found[i]?.samples.push(sample);
      process.stderr.write(`MTU ${mtu}: round ${round + 1} of ${values.rounds}\n`);
    }
    return found;
  } finally {
    for (const { lab } of paths) await lab.close();
  }
}

/** One measure after the other, each by all paths in turn: what is compared is close in time. */
async function oneRound(paths: readonly Path[], pingpong: string, mtu: number): Promise<Sample[]> {
  const samples = paths.map((): Partial<Sample> => ({}));
  for (const kind of ['tcp', 'streams', 'udp', 'requests'] as const) {
    for (const [i, one] of paths.entries()) {
      Object.assign(
        samples[i] ?? {},
        await measure(one, kind, { pingpong, mtu, seconds: Number(values.seconds) }),
      );
    }
  }
  return samples as Sample[];
}

/** A path with its best values. */
function bestOf({ mtu, path: name, samples }: Row): Best {
  const entries = MEASURES.map(({ key, better }) => {
    const all = samples.map((sample) => sample[key]);
    return [key, better === 'more' ? Math.max(...all) : Math.min(...all)];
  });
  return { mtu, path: name, best: Object.fromEntries(entries) as Sample };
}

function cells(all: readonly Best[]): string[][] {
  const head = ['MTU', 'PATH', ...MEASURES.flatMap(({ title }) => [title, 'RATIO'])];
  const lines = all.map(({ mtu, path: name, best }) => {
    const hosts = all.find((row) => row.mtu === mtu)?.best ?? best;
    const values = MEASURES.flatMap(({ key, show }) => [
      show(best[key]),
      (best[key] / hosts[key]).toFixed(2),
    ]);
    return [`${mtu}`, name, ...values];
  });
  return [head, ...lines];
}

/** Puts the table between the marks of a document. */
function document(file: string, machine: string, [head = [], ...lines]: string[][]): void {
  const row = (words: readonly string[]) => `| ${words.join(' | ')} |`;
  const rule = head.map((_, i) => (i < 2 ? '---' : '---:'));
  const text = [`${machine}.`, '', row(head), row(rule), ...lines.map(row)].join('\n');
  const marks = /(<!-- bench: throughput -->\n)[\s\S]*?(<!-- end -->)/;
  writeFileSync(file, readFileSync(file, 'utf8').replace(marks, `$1\n${text}\n\n$2`));
}

if (!/^[1-9]\d?$/.test(values.seconds))
  throw new Error('--seconds: wanted a whole number from 1, as iperf3 does');
// What was made is taken away after the round that is under way.
let stopped = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    stopped = true;
  });
}
if (process.getuid?.() !== 0) throw new Error('the benchmark makes network namespaces: run it as root');
const folder = mkdtempSync(path.join(os.tmpdir(), 'weft-throughput-'));
const pingpong = path.join(folder, 'pingpong');
try {
  execFileSync('cc', ['-O2', '-static', '-o', pingpong, path.join(import.meta.dirname, 'pingpong.c')]);
  const load = os.loadavg()[0]?.toFixed(1);
  const all: Row[] = [];
  for (const mtu of values.mtu.split(',').map(Number)) all.push(...(await rows(mtu, pingpong)));
  const [cpu] = os.cpus();
  const machine = `Linux ${os.release()}, ${os.cpus().length} × ${cpu?.model}; load ${load} before, ${os.loadavg()[0]?.toFixed(1)} after; the best of ${values.rounds} rounds; ${values.nat ? 'with' : 'without'} masquerade`;
  const found = cells(all.map(bestOf));
  process.stdout.write(`${machine}\n\n${table(found).join('\n')}\n`);
  if (values.into !== undefined) document(values.into, machine, found);
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ machine, rows: all }, null, 1)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
