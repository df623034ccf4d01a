/** The plugins' suites once more as executables: cold, served by an agent, and mixed at random. */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import t from 'tap';
import type { Way } from '../support/agent.ts';

const root = resolve(import.meta.dirname, '../..');
const WAYS: readonly Way[] = ['cold', 'agent', 'mixed'];
const SUITES = [
  'bridge',
  'ptp',
  'loopback',
  'check',
  'refusal',
  'removal',
  'masquerade',
  'mac-filter',
  'concurrency',
];

t.setTimeout(1_800_000);

for (const suite of SUITES) {
  for (const way of WAYS) {
    t.test(`${suite}, ${way}`, async (t) => {
      const { status, stdout } = spawnSync(
        process.execPath,
        ['--import=tsx', join('test/plugins', `${suite}.test.ts`)],
        { cwd: root, encoding: 'utf8', env: { ...process.env, WEFT_TEST_WAY: way }, maxBuffer: 1 << 28 },
      );
      t.equal(status, 0);
      if (status !== 0) t.comment(stdout);
    });
  }
}
