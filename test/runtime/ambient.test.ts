import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { pathsFrom, realAmbient } from '../../runtime/ambient.ts';
import { makeGround } from './fake-plugins.ts';

const ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

t.test('each folder is moved by one variable', async (t) => {
  t.same(pathsFrom({}), {
    dataDir: '/var/lib/cni/networks',
    runDir: '/run/weft',
    cacheDir: '/var/lib/cni',
    confDir: '/etc/cni/net.d',
  });
  t.same(pathsFrom({ WEFT_DATA_DIR: '/d', WEFT_RUN_DIR: '/r', WEFT_CACHE_DIR: '/c', WEFT_CONF_DIR: '/n' }), {
    dataDir: '/d',
    runDir: '/r',
    cacheDir: '/c',
    confDir: '/n',
  });
});

t.test('standard input is read whole', async (t) => {
  const { root } = makeGround(t);
  const file = join(root, 'input');
  const text = 'äöü'.repeat(50_000);
  writeFileSync(file, text);
  const fd = openSync(file, 'r');
  t.equal(await realAmbient(ENV, { stdin: fd, stderr: 2 }).input(), text);
  closeSync(fd);
  t.equal(await realAmbient(ENV, { stdin: fd, stderr: 2 }).input(), '', 'a closed one is empty');
  const folder = openSync(root, 'r');
  await t.rejects(realAmbient(ENV, { stdin: folder, stderr: 2 }).input(), { code: 5 });
  closeSync(folder);
  const zero = openSync('/dev/zero', 'r');
  await t.rejects(realAmbient(ENV, { stdin: zero, stderr: 2 }).input(), { code: 6, message: /longer than/ });
  closeSync(zero);
});

t.test('a slow writer on a non-blocking pipe is waited for', async (t) => {
  const { root } = makeGround(t);
  const pipe = join(root, 'pipe');
  t.equal(spawnSync('mkfifo', [pipe]).status, 0);
  const fd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  // The writer opens the pipe before the first read: a pipe without one reads as its end.
  const ready = join(root, 'ready');
  const writer = spawn('bash', [
    '-c',
    'exec 3>"$0"; printf hello >&3; touch "$1"; sleep 0.3; printf world >&3',
    pipe,
    ready,
  ]);
  while (!existsSync(ready)) await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(await realAmbient(ENV, { stdin: fd, stderr: 2 }).input(), 'helloworld');
  closeSync(fd);
  writer.unref();
});

t.test('the log is lines on stderr', async (t) => {
  const { root } = makeGround(t);
  const file = join(root, 'log');
  const fd = openSync(file, 'w');
  const { log } = realAmbient(ENV, { stdin: 0, stderr: fd });
  log('one');
  log('two');
  closeSync(fd);
  t.equal(readFileSync(file, 'utf8'), 'one\ntwo\n');
  t.doesNotThrow(() => log('nobody reads'));
});

t.test('the host has an identity', async (t) => {
  t.equal(realAmbient({ WEFT_HOST_ID: 'host-7' }).hostId(), 'host-7');
  t.ok(realAmbient({}).hostId().length >= 32);
});

t.test('programs', async (t) => {
  const { root } = makeGround(t);
  const { run } = realAmbient(ENV);
  t.same(await run('sh', ['-c', 'cat; echo oops >&2; exit 3'], { input: 'hello' }), {
    status: 3,
    stdout: 'hello',
    stderr: 'oops\n',
  });
  t.match(await run('sh', ['-c', 'echo "$A-$HOME"'], { env: { ...ENV, A: 'b' } }), { stdout: 'b-\n' });
  t.match(await run('sh', ['-c', 'kill -TERM $$']), { status: 143 });
  t.match(await run('sleep', ['60'], { timeout: 50 }), { status: 137 });
  t.match(await run('sh', ['-c', 'sleep 5 & wait'], { timeout: 50 }), { status: 137 }, 'its children too');
  t.match(await run('true', [], { input: 'x'.repeat(1_000_000) }), { status: 0 }, 'input that nobody reads');
  await t.rejects(run('/nonexistent', []), { code: 105, cause: { code: 'ENOENT' } });
  await t.rejects(run(root, []), { code: 105, cause: { code: 'EACCES' } });
  const busy = join(root, 'busy');
  copyFileSync('/bin/true', busy);
  const fd = openSync(busy, 'r+');
  await t.rejects(run(busy, []), { code: 105, cause: { code: 'ETXTBSY' } });
  closeSync(fd);
  t.match(await run(busy, []), { status: 0 });
});

t.test('stderr can be handed on', async (t) => {
  const { root } = makeGround(t);
  const file = join(root, 'stderr');
  const fd = openSync(file, 'w');
  const { run } = realAmbient(ENV, { stdin: 0, stderr: fd });
  t.match(await run('sh', ['-c', 'echo out; echo err >&2'], { passStderr: true }), {
    stdout: 'out\n',
    stderr: '',
  });
  closeSync(fd);
  t.equal(readFileSync(file, 'utf8'), 'err\n');
});
