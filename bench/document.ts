/**
 * `make plots`: draws what the last `make bench` found, and puts its tables into docs/performance.md, between the marks that stand there.
 *
 * Usage: tsx bench/document.ts BENCH.json WHERE.json [--out docs]
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Network, Verb, Way } from './contestants.ts';
import { linePlot, type Series } from './plot.ts';
import {
  asMarkdown,
  burstTable,
  comparison,
  floors,
  growth,
  machineLine,
  type Results,
  sizesLine,
  startUpTable,
} from './results.ts';
import type { Where } from './where-tables.ts';
import { sharesTable, stepsTable } from './where-tables.ts';

const { values, positionals } = parseArgs({
  options: { out: { type: 'string', default: path.resolve(import.meta.dirname, '../docs') } },
  allowPositionals: true,
});

function read<T>(file: string | undefined): T {
  if (file === undefined || !existsSync(file))
    throw new Error(`${file} is not there: run \`make bench\` first`);
  return JSON.parse(readFileSync(file, 'utf8')) as T;
}

const results = read<Results>(positionals[0]);
const where = read<Where>(positionals[1]);

function series(verb: Verb, way: Way, network: Network, name: string, look: Series['look']): Series[] {
  const points = results.latency
    .filter(
      (one) => one.verb === verb && one.way === way && one.network === network && one.beside === undefined,
    )
    .map(({ level, median }) => [level, median] as const);
  return points.length === 0 ? [] : [{ name, look, points }];
}

const plotOf = (verb: Verb) =>
  linePlot({
    title: `${verb}: bridge and host-local, one more container`,
    x: 'containers on the host',
    y: 'milliseconds, median of whole processes',
    panels: [
      {
        title: 'without masquerade',
        series: [
          ...series(verb, 'cold', 'plain', 'weft, no agent', 'ours-dashed'),
          ...series(verb, 'reference', 'plain', 'reference plugins', 'theirs'),
          ...series(verb, 'agent', 'plain', 'weft', 'ours'),
          ...series(verb, 'floor', 'plain', 'a C program: the floor', 'floor'),
        ],
      },
      {
        title: 'with masquerade',
        series: [
          ...series(verb, 'cold', 'iptables', 'weft, no agent, iptables', 'ours-dashed'),
          ...series(verb, 'reference', 'iptables', 'reference, iptables', 'theirs'),
          ...series(verb, 'agent', 'iptables', 'weft, iptables', 'ours'),
          ...series(verb, 'agent', 'nftables', 'weft, nftables', 'ours'),
        ],
      },
    ],
  });

for (const verb of ['ADD', 'DEL'] as const) {
  writeFileSync(path.join(values.out, `latency-${verb.toLowerCase()}.svg`), plotOf(verb));
}

const { inC, inNode } = results.callers;
const sections: Readonly<Record<string, string>> = {
  machine: `${machineLine(results)} An empty process takes ${inC.toFixed(2)} ms by the caller in C that is used here, ${inNode.toFixed(2)} ms by Node's \`spawnSync\`.\n`,
  'start-up': `${asMarkdown(startUpTable(results))}\n${sizesLine(results)}\n`,
  comparison: asMarkdown(comparison(results)),
  growth: asMarkdown(growth(results)),
  floor: asMarkdown(floors(results)),
  burst: asMarkdown(burstTable(results)),
  where: where.requests
    .map((request) => `${asMarkdown(sharesTable(request))}\n${asMarkdown(stepsTable(request))}`)
    .join('\n'),
};
const document = path.join(values.out, 'performance.md');
let text = readFileSync(document, 'utf8');
for (const [name, section] of Object.entries(sections)) {
  const marked = new RegExp(`(<!-- bench: ${name} -->\n)[\\s\\S]*?(<!-- end -->)`);
  if (!marked.test(text)) throw new Error(`${document} has no mark "<!-- bench: ${name} -->" with an end`);
  text = text.replace(marked, (_, begin: string, end: string) => `${begin}\n${section}\n${end}`);
}
writeFileSync(document, text);
