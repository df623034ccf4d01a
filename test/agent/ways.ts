/** The plugins' suites once more as executables: cold, served by an agent, or mixed at random. A file for each way, so that they run side by side. */
import { join, resolve } from 'node:path';
import t from 'tap';
import type { Way } from '../support/agent.ts';

const root = resolve(import.meta.dirname, '../..');
const SUITES = [
  'bridge',
  'ptp',
  'loopback',
  'vxlan',
  'routed',
  'macvlan',
  'tap',
  'host-device',
  'check',
  'refusal',
  'removal',
  'masquerade',
  'mac-filter',
  'concurrency',
  'bandwidth',
  'sbr',
];

/** What one way leaves for the other is the same for all plugins: links, leases, rules, and what other containers still use. */
const MIXED = ['bridge', 'vxlan', 'macvlan', 'check', 'removal', 'masquerade', 'mac-filter', 'concurrency'];

export function runSuites(way: Way): void {
  t.setTimeout(1_800_000);
  for (const suite of way === 'mixed' ? MIXED : SUITES) {
    // Its TAP is ours: what fails there is told by name.
    t.spawn(
      process.execPath,
      ['--import=tsx', join('test/plugins', `${suite}.test.ts`)],
      { cwd: root, env: { ...process.env, WEFT_TEST_WAY: way }, timeout: 900_000 },
      `${suite}, ${way}`,
    );
  }
}
