/**
 * `make bench`: weft against Debian's containernetworking-plugins and against the floor, in one run, as whole processes. What counts
 * are the ratios: the contestants take turns, so that a noisy machine disturbs all of them alike.
 *
 * Usage: tsx bench/run.ts [--levels 1,100,250,500] [--rounds 100] [--burst 300] [--callers 8] [--weft DIR] [--reference DIR]
 *                         [--json FILE]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { measureBursts } from './burst.ts';
import { openContestants, stopAgent } from './contestants.ts';
import { type Ground, openGround } from './ground.ts';
import { measureLatency } from './latency.ts';
import {
  asText,
  burstTable,
  comparison,
  floors,
  growth,
  machineLine,
  type Results,
  sizesLine,
  startUpTable,
} from './results.ts';
import { measureStartUp } from './startup.ts';
import { median } from './statistics.ts';

const { values } = parseArgs({
  options: {
    levels: { type: 'string', default: '1,100,250,500' },
    rounds: { type: 'string', default: '100' },
    burst: { type: 'string', default: '300' },
    callers: { type: 'string', default: '8' },
    weft: { type: 'string', default: path.resolve(import.meta.dirname, '../dist/bin') },
    reference: { type: 'string', default: '/usr/lib/cni' },
    json: { type: 'string' },
  },
});
const folders = { weft: path.resolve(values.weft), reference: path.resolve(values.reference) };
const started = Date.now();
const tell = (what: string) =>
  process.stderr.write(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${what}\n`);

/** What it costs to start a process that does nothing, by our caller and by Node's spawnSync. */
async function compareCallers(ground: Ground): Promise<Results['callers']> {
  const rounds = Array.from({ length: 100 });
  const host = await ground.host('callers');
  const done = await host.run(rounds.map(() => ({ file: '/bin/true' })));
  const inNode = rounds.map(() => {
    const start = performance.now();
    spawnSync('/bin/true', [], { input: '', env: {} });
    return performance.now() - start;
  });
  return { inC: median(done.map(({ start, end }) => end - start)), inNode: median(inNode) };
}

async function measure(ground: Ground): Promise<Results> {
  const before = os.loadavg()[0] ?? 0;
  const callers = await compareCallers(ground);
  tell('start-up');
  const startUp = await measureStartUp(ground, folders);
  tell('hosts, and agents that have served before');
  const contestants = await openContestants(ground, folders);
  // Hosts that stay empty. The floor and a process that does nothing have none: nobody asks whether they grow.
  const twins = await openContestants(ground, folders, (way) => way !== 'floor' && way !== 'process');
  // The bursts first, while all hosts are empty. Node's start by 300 is no news for more than one network.
  const hurried = twins.filter(({ way, network }) => way !== 'cold' || network === 'plain');
  const bursts = await measureBursts(ground, hurried, Number(values.burst), Number(values.callers), tell);
  const [levels, rounds] = [values.levels.split(',').map(Number), Number(values.rounds)];
  const latency = await measureLatency(ground, contestants, twins, folders, levels, rounds, tell);
  for (const { host, agent } of [...contestants, ...twins]) {
    if (agent !== undefined) await stopAgent(host, agent);
  }
  const query = ['-W', 'containernetworking-plugins'];
  const version = spawnSync('dpkg-query', query, { encoding: 'utf8' }).stdout.trim().replace('\t', ' ');
  return {
    machine: {
      kernel: os.release(),
      cpus: os.cpus().length,
      cpu: os.cpus()[0]?.model ?? 'processor',
      node: process.version.slice(1),
      reference: version === '' ? folders.reference : version,
      load: [before, os.loadavg()[0] ?? 0],
    },
    ...{ callers, startUp, latency, bursts },
  };
}

if (process.getuid?.() !== 0) throw new Error('the benchmark makes network namespaces: run it as root');
if (!existsSync(path.join(folders.reference, 'bridge'))) {
  throw new Error(
    `no reference plugins in ${folders.reference}: apt-get install containernetworking-plugins`,
  );
}
const ground = await openGround();
try {
  const results = await measure(ground);
  const { inC, inNode } = results.callers;
  process.stdout.write(`${machineLine(results)}
Milliseconds of whole processes, medians. An empty process takes ${inC.toFixed(2)} by the caller in C used here (${inNode.toFixed(2)} by Node's spawnSync).

${asText(startUpTable(results))}${sizesLine(results)}

${asText(comparison(results))}
${asText(floors(results))}
${asText(growth(results))}
${asText(burstTable(results))}`);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 1)}\n`);
  tell('done');
} finally {
  await ground.close();
}
