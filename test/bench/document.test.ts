/** `make plots`: every table has its place in docs/performance.md, and what is drawn is what was measured. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import type { Latency, Results } from '../../bench/results.ts';
import type { Where } from '../../bench/where-tables.ts';

const root = resolve(import.meta.dirname, '../..');

const latency = (['ADD', 'DEL'] as const).flatMap((verb) =>
  [1, 500].flatMap((level): Latency[] => [
    { verb, level, way: 'agent', network: 'plain', samples: 9, median: 2 + level / 1000, p99: 4 },
    { verb, level, way: 'reference', network: 'plain', samples: 9, median: 20 + level / 10, p99: 80 },
    { verb, level: 1, beside: 500, way: 'agent', network: 'plain', samples: 9, median: 2.5, p99: 4 },
  ]),
);
const results: Results = {
  machine: { kernel: '6.1', cpus: 2, cpu: 'processor', node: '20', reference: 'theirs 1.1', load: [0, 1] },
  callers: { inC: 0.5, inNode: 1.5 },
  startUp: {
    times: [{ what: 'nothing', samples: 9, median: 1, p99: 2 }],
    kibibytes: [{ file: 'weft', size: 7 }],
  },
  latency,
  bursts: [
    { way: 'agent', network: 'plain', count: 300, callers: 8, add: 600, del: 300, twice: 0, fallenBack: 0 },
  ],
};
const where: Where = {
  network: 'plain',
  requests: [
    {
      ...{ verb: 'ADD', untraced: 100, traced: 200, share: 1 },
      phases: [{ what: 'netlink: NEWLINK', share: 'kernel: netlink', took: 100, events: 1 }],
    },
  ],
};

t.test('plots and tables', async (t) => {
  const place = t.testdir({});
  copyFileSync(join(root, 'docs/performance.md'), join(place, 'performance.md'));
  const [bench, traced] = [join(place, 'bench.json'), join(place, 'where.json')];
  writeFileSync(bench, JSON.stringify(results));
  writeFileSync(traced, JSON.stringify(where));
  const draw = () =>
    spawnSync(
      process.execPath,
      ['--import=tsx', join(root, 'bench/document.ts'), bench, traced, '--out', place],
      {
        cwd: root,
        encoding: 'utf8',
      },
    );
  t.match(draw(), { status: 0, stderr: '' });
  const page = readFileSync(join(place, 'performance.md'), 'utf8');
  t.match(page, '| ADD plain at 500 |  | 2.50 | 70.0 |  | 1/28.0 | 4.00 | 80.0 | 1/20.0 |');
  t.match(page, '| ADD plain | 1.00 |');
  t.match(page, '| 300 by 8, plain, agent | 0.60 | 0.30 | 2.00 | 0 | 0 |');
  t.match(page, '| netlink: NEWLINK | 100 | 100 % |');
  t.match(page, 'theirs 1.1; load 0.0 before, 1.0 after');
  for (const verb of ['add', 'del']) {
    t.match(
      readFileSync(join(place, `latency-${verb}.svg`), 'utf8'),
      /^<svg .*>reference plugins<.*>weft<\/text>/s,
    );
  }
  t.match(draw(), { status: 0 }, 'once more');
  t.equal(readFileSync(join(place, 'performance.md'), 'utf8'), page, 'the same again');
});
