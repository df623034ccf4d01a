import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { RunOptions, RunResult } from '../../cni/ambient.ts';
import {
  delegateAdd,
  delegateCheck,
  delegateDel,
  delegateGc,
  delegateStatus,
  delegateVersion,
} from '../../cni/delegate.ts';
import { CniError } from '../../cni/errors.ts';
import { findPlugin, invokePlugin } from '../../cni/invoke.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { fakeAmbient } from './support.ts';

const input = '{"cniVersion":"1.0.0","name":"n","type":"bridge","ipam":{"type":"ours"}}';

type Run = (file: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;

/** A delegation to `ours`, whose execution is replaced by `run`. */
function delegation(t: Pick<typeof import('tap').default, 'testdir'>, run: Run) {
  const dir = t.testdir({});
  writeFileSync(join(dir, 'ours'), '', { mode: 0o755 });
  const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_PATH: dir, OTHER: 'kept' };
  return {
    request: { input, cniVersion: '1.0.0' as const, path: [dir], ambient: fakeAmbient(env, input, run) },
    dir,
  };
}

const printing =
  (stdout: string, status = 0): Run =>
  async () => ({ status, stdout, stderr: '' });

t.test('the delegate gets our environment with its command, and the whole configuration', async (t) => {
  const seen: unknown[] = [];
  const { request, dir } = delegation(t, async (file, args, options) => {
    seen.push({ file, args, options });
    return { status: 0, stdout: '', stderr: '' };
  });
  for (const [command, run] of [
    ['CHECK', delegateCheck],
    ['DEL', delegateDel],
    ['GC', delegateGc],
    ['STATUS', delegateStatus],
  ] as const) {
    await run('ours', request);
    t.strictSame(seen.pop(), {
      file: `${dir}/ours`,
      args: [],
      options: {
        env: { CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_PATH: dir, OTHER: 'kept' },
        input,
        passStderr: true,
      },
    });
  }
});

t.test("ADD: the result is read by its own version, else by the configuration's", async (t) => {
  const newest = { interfaces: [], ips: [{ address: '10.0.0.2/24' }], routes: [], dns: {} };
  for (const stdout of [
    '{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24"}}',
    '{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}',
    '{"ips":[{"address":"10.0.0.2/24"}]}',
  ]) {
    t.strictSame(await delegateAdd('ours', delegation(t, printing(stdout)).request), newest);
  }
  const odd = '{"ips":[{"address":7}]}';
  await t.rejects(delegateAdd('ours', delegation(t, printing(odd)).request), {
    code: 6,
    message: 'result of ours.ips[0].address: found 7, wanted an address with prefix length',
  });
  for (const [stdout, found] of [
    ['', /found nothing/],
    ['hello', /found "hello"/],
    ['[]', /wanted a JSON object/],
    ['x'.repeat(1000), /found "x{200}"$/],
  ] as const) {
    await t.rejects(delegateAdd('ours', delegation(t, printing(stdout)).request), {
      code: 6,
      message: found,
    });
  }
});

t.test("the delegate's error is passed on unchanged", async (t) => {
  const error = { cniVersion: '0.3.1', code: 11, msg: 'Later, please', details: 'busy' };
  await t.rejects(delegateAdd('ours', delegation(t, printing(JSON.stringify(error), 1)).request), {
    name: 'CniError',
    code: 11,
    message: 'Later, please',
    details: 'busy',
  });
});

t.test('a failure without an error in JSON is told as one', async (t) => {
  for (const stdout of [
    '',
    'panic: nil',
    '{}',
    '[1]',
    'null',
    '{"code":"7"}',
    '{"code":0}',
    'y'.repeat(500),
  ]) {
    const failure = await delegateDel('ours', delegation(t, printing(stdout, 2)).request).catch((e) => e);
    t.ok(failure instanceof CniError);
    t.match(failure, { code: 105, message: /DEL by .*\/ours ended with status 2: wanted an error as JSON/ });
    t.ok(failure.message.length < 500);
  }
});

t.test('VERSION', async (t) => {
  const { request } = delegation(
    t,
    printing('{"cniVersion":"1.0.0","supportedVersions":["0.4.0",5,"1.0.0"]}'),
  );
  t.strictSame(await delegateVersion('ours', request), ['0.4.0', '1.0.0']);
  t.strictSame(await delegateVersion('ours', delegation(t, printing('{}')).request), ['0.1.0']);
});

t.test('where the program is looked for', async (t) => {
  const dir = t.testdir({ a: { folder: {} }, b: {}, c: {} });
  writeFileSync(join(dir, 'a/plain'), '', { mode: 0o644 });
  writeFileSync(join(dir, 'b/plain'), '', { mode: 0o755 });
  writeFileSync(join(dir, 'c/plain'), '', { mode: 0o755 });
  writeFileSync(join(dir, 'a/dull'), '', { mode: 0o644 });
  const path = ['a', 'b', 'c', 'missing'].map((name) => join(dir, name));
  t.equal(findPlugin('plain', path), join(dir, 'b/plain'));
  t.throws(() => findPlugin('absent', path), {
    code: 105,
    message: `plugin absent cannot be executed: it is in none of ${path.join(', ')}: install it or correct CNI_PATH`,
  });
  t.throws(() => findPlugin('folder', path), { code: 105, message: /in none of/ });
  t.throws(() => findPlugin('dull', path), { code: 105, message: /a\/dull is not executable/ });
  t.throws(() => findPlugin('plain', []), { code: 105, message: /CNI_PATH names no folder/ });
  for (const type of ['', '.', '..', 'a/plain', '../b/plain', '/bin/sh', 'a\0']) {
    t.throws(() => findPlugin(type, path), { code: 7, message: /without "\/"/ }, JSON.stringify(type));
  }
});

t.test('a program that is being installed is tried again, a bounded number of times', async (t) => {
  const busy = () => {
    const cause = Object.assign(new Error('spawn ETXTBSY'), { code: 'ETXTBSY' });
    return new CniError(105, 'cannot start', undefined, { cause });
  };
  let tries = 0;
  const { request } = delegation(t, async () => {
    if (++tries < 3) throw busy();
    return { status: 0, stdout: '', stderr: '' };
  });
  await delegateDel('ours', request);
  t.equal(tries, 3);
  let others = 0;
  const broken = delegation(t, async () => {
    others++;
    throw new CniError(105, 'cannot start: ENOEXEC');
  });
  await t.rejects(delegateDel('ours', broken.request), { code: 105, message: /ENOEXEC/ });
  t.equal(others, 1);
});

t.test('real programs: output, error, stderr, ETXTBSY', async (t) => {
  const dir = t.testdir({});
  const script = (name: string, body: string) =>
    writeFileSync(join(dir, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  script('echo-input', `printf '{"cniVersion":"1.0.0","command":"%s","input":%s}' "$CNI_COMMAND" "$(cat)"`);
  script('failing', `echo to-stderr >&2; echo '{"code":7,"msg":"no"}'; exit 3`);
  script('killed', 'kill -9 $$');
  const log = openSync(join(dir, 'log'), 'w+');
  t.teardown(() => closeSync(log));
  const ambient = realAmbient({ PATH: process.env.PATH }, { stdin: 0, stderr: log });
  const invocation = { path: [dir], command: 'ADD' as const, env: ambient.env, input, ambient };
  t.strictSame(JSON.parse(await invokePlugin({ ...invocation, type: 'echo-input' })), {
    cniVersion: '1.0.0',
    command: 'ADD',
    input: JSON.parse(input),
  });
  await t.rejects(invokePlugin({ ...invocation, type: 'failing' }), { code: 7, message: 'no' });
  await t.rejects(invokePlugin({ ...invocation, type: 'killed' }), {
    code: 105,
    message: /status 137.*nothing/,
  });
  t.equal((await import('node:fs')).readFileSync(join(dir, 'log'), 'utf8'), 'to-stderr\n');

  script('busy', 'exec true');
  // An executable that is open for writing cannot be started.
  const writer = openSync(join(dir, 'busy'), 'r+');
  setTimeout(() => closeSync(writer), 250);
  t.equal(await invokePlugin({ ...invocation, type: 'busy' }), '');
});
