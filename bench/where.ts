/**
 * Where the time of one ADD and one DEL by the agent goes, step by step: traced from the outside (bench/trace.ts), so that the programs
 * are the same as ever. Each traced event has its price; it is measured, and taken off.
 *
 * Usage: tsx bench/where.ts [--network plain|iptables|nftables] [--rounds 60] [--warm 200] [--weft DIR] [--json FILE]
 */
import { cpSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Contestant, openContestants, stopAgent, type Verb } from './contestants.ts';
import { type Ground, openGround } from './ground.ts';
import { phasesOf } from './phases.ts';
import { asText } from './results.ts';
import { median } from './statistics.ts';
import { startTrace } from './trace.ts';
import { sharesTable, stepsTable, typical, type Where } from './where-tables.ts';

const { values } = parseArgs({
  options: {
    network: { type: 'string', default: 'nftables' },
    rounds: { type: 'string', default: '60' },
    warm: { type: 'string', default: '200' },
    weft: { type: 'string', default: path.resolve(import.meta.dirname, '../dist/bin') },
    json: { type: 'string' },
  },
});

/** Microseconds of CLOCK_MONOTONIC. */
type Times = Record<Verb, { start: number; end: number }[]>;

async function pairs({ host, job }: Contestant, netns: string, count: number): Promise<Times> {
  const times: Times = { ADD: [], DEL: [] };
  for (let round = 0; round < count; round++) {
    for (const verb of ['ADD', 'DEL'] as const) {
      const [done] = await host.run([job(verb, { number: 1, netns, ifname: 'eth0' })]);
      if (done) times[verb].push({ start: done.start * 1000, end: done.end * 1000 });
    }
  }
  return times;
}

const medianOf = (times: readonly { start: number; end: number }[]) =>
  median(times.map(({ start, end }) => end - start));

async function measure(ground: Ground): Promise<Where> {
  const weft = path.join(ground.dir, 'bin');
  // A path that no other process on this machine is started by.
  cpSync(path.resolve(values.weft), weft, { recursive: true });
  const wanted = (way: string, network: string) => way === 'agent' && network === values.network;
  const [contestant] = await openContestants(ground, { weft, reference: '' }, wanted);
  if (contestant?.agent === undefined)
    throw new Error(`no network ${values.network}: wanted plain, iptables or nftables`);
  const { agent, host } = contestant;
  const [netns = ''] = await ground.namespaces('where', 1);
  const rounds = Number(values.rounds);
  await pairs(contestant, netns, Number(values.warm));
  const before = await pairs(contestant, netns, rounds);
  const trace = await startTrace(agent, path.join(weft, 'bridge'));
  // bpftrace says that it attaches, not that it has done so: what was before is not found, and left out.
  await pairs(contestant, netns, 10);
  const during = await pairs(contestant, netns, rounds);
  const events = await trace.stop();
  await stopAgent(host, agent);
  const requests = (['ADD', 'DEL'] as const).map((verb) => {
    const found = during[verb].flatMap(({ start, end }) => {
      const phases = phasesOf(events, agent, start, end);
      return phases ? [phases] : [];
    });
    if (found.length === 0) throw new Error(`the trace tells nothing of ${verb}`);
    return typical(verb, found, medianOf(before[verb]), medianOf(during[verb]));
  });
  return { network: values.network, requests };
}

const ground = await openGround();
try {
  const where = await measure(ground);
  for (const request of where.requests) {
    const { verb, untraced, traced, share } = request;
    process.stdout.write(`${verb}, ${where.network}: ${untraced.toFixed(0)} µs, ${traced.toFixed(0)} while traced; ${(100 * share).toFixed(0)} % went these steps

${asText(sharesTable(request))}
${asText(stepsTable(request))}
`);
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(where, null, 1)}\n`);
} finally {
  await ground.close();
}
