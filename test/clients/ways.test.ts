/**
 * The clients' suites once more, served by an agent, which the agent's own log proves (test/support/plugins.ts: expectWay). Here: each client
 * by the agent, and two of them mixed at random. All of them, both ways, and the change-over from and to the reference:
 *
 *   WEFT_TEST_CLIENTS=all npx tap run test/clients/ways.test.ts     (some minutes)
 */
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import t from 'tap';
import type { Way } from '../support/agent.ts';
import { weftIsMissing } from '../support/plugins.ts';

const root = resolve(import.meta.dirname, '../..');
const SUITES: readonly (readonly [suite: string, ...ways: Way[]])[] =
  process.env.WEFT_TEST_CLIENTS === 'all'
    ? ['containerd', 'cri', 'podman', 'podman-macvlan', 'libcni', 'mixed'].map((suite) => [
        suite,
        'agent',
        'mixed',
      ])
    : [
        ['containerd', 'agent', 'mixed'],
        ['cri', 'agent'],
        ['podman', 'agent'],
        ['podman-macvlan', 'agent'],
        ['libcni', 'agent', 'mixed'],
      ];

t.setTimeout(1_800_000);

/** Runs a suite as a process of its own; resolves with its exit status and what it printed. */
function run(suite: string, way: Way): Promise<{ status: number | null; output: string }> {
  const child = spawn(process.execPath, ['--import=tsx', join('test/clients', `${suite}.test.ts`)], {
    cwd: root,
    env: { ...process.env, WEFT_TEST_WAY: way },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  return new Promise((done) => child.once('close', (status) => done({ status, output })));
}

for (const [suite, ...ways] of SUITES) {
  for (const way of ways) {
    t.test(`${suite}, ${way}`, { skip: await weftIsMissing() }, async (t) => {
      const { status, output } = await run(suite, way);
      t.equal(status, 0);
      if (status !== 0) t.comment(output);
    });
  }
}
