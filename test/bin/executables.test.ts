/** What stands in dist/bin works as runtimes and people use it: copied, symlinked, with almost no environment. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { PLUGIN_NAMES } from '../../plugins/registry.ts';

const bin = path.resolve(import.meta.dirname, '../../dist/bin');

interface Called {
  status: number | null;
  stdout: string;
  stderr: string;
}

function call(
  file: string,
  env: Record<string, string>,
  options: { cwd?: string; input?: string } = {},
): Called {
  const { status, stdout, stderr } = spawnSync(file, [], {
    env,
    input: '',
    encoding: 'utf8',
    timeout: 30_000,
    ...options,
  });
  return { status, stdout, stderr };
}

const supported = (called: Called): string[] => JSON.parse(called.stdout).supportedVersions;

t.test('every executable answers VERSION with an environment of one variable, from any folder', async (t) => {
  for (const name of PLUGIN_NAMES) {
    const called = call(path.join(bin, name), { CNI_COMMAND: 'VERSION' }, { cwd: '/' });
    t.equal(called.status, 0, name);
    t.match(supported(called), ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'], name);
    t.equal(called.stderr, '', `${name} is quiet`);
  }
});

t.test('a variable of somebody else’s Node program changes nothing', async (t) => {
  const env = { CNI_COMMAND: 'VERSION', NODE_OPTIONS: '--require=/no/such/file', NODE_PATH: '/nowhere' };
  t.equal(call(path.join(bin, 'bridge'), env).status, 0);
});

t.test('copied together to another folder', async (t) => {
  const dir = t.testdir();
  for (const file of readdirSync(bin)) cpSync(path.join(bin, file), path.join(dir, file));
  t.equal(call(path.join(dir, 'ptp'), { CNI_COMMAND: 'VERSION' }).status, 0);
});

t.test('symlinked one by one, also under another name', async (t) => {
  const dir = t.testdir();
  symlinkSync(path.join(bin, 'host-local'), path.join(dir, 'host-local'));
  symlinkSync(path.join(bin, 'bridge'), path.join(dir, 'my-bridge'));
  t.equal(call(path.join(dir, 'host-local'), { CNI_COMMAND: 'VERSION' }).status, 0);
  const other = call(path.join(dir, 'my-bridge'), {});
  t.equal(other.status, 0);
  t.match(other.stderr, /bridge/);
});

t.test('a lone copy says what is missing, as one JSON error', async (t) => {
  const dir = path.join(t.testdir(), 'alone');
  mkdirSync(dir);
  cpSync(path.join(bin, 'bridge'), path.join(dir, 'bridge'));
  const called = call(path.join(dir, 'bridge'), { CNI_COMMAND: 'ADD' });
  t.not(called.status, 0);
  t.match(JSON.parse(called.stdout), { code: 5, msg: /weft-core\.cjs.*copy the whole folder/ });
});

t.test('a Node that is not there is named, as one JSON error', async (t) => {
  const called = call(path.join(bin, 'bridge'), { CNI_COMMAND: 'ADD', WEFT_NODE: '/no/such/node' });
  t.not(called.status, 0);
  t.match(JSON.parse(called.stdout), { code: 5, msg: /\/no\/such\/node/ });
});

t.test('a runtime that closes the pipe early sees no crash', async (t) => {
  const { status } = spawnSync('sh', ['-c', '"$0" | true', path.join(bin, 'bridge')], {
    env: { CNI_COMMAND: 'VERSION', PATH: '/usr/bin:/bin' },
    input: '',
  });
  t.equal(status, 0);
});
