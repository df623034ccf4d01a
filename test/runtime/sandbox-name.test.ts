import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { defaultContainerId, namespacePath, namespacePathIfAlive } from '../../runtime/sandbox-name.ts';
import { makeGround } from './fake-plugins.ts';

t.test('by path, by name, by process', async (t) => {
  const name = `weft-t-${randomBytes(4).toString('hex')}`;
  t.equal(spawnSync('ip', ['netns', 'add', name]).status, 0);
  t.teardown(() => void spawnSync('ip', ['netns', 'del', name]));
  t.equal(namespacePath(name), `/run/netns/${name}`);
  t.equal(namespacePath(`/run/netns/${name}`), `/run/netns/${name}`);
  t.equal(namespacePath(`/run/netns/../netns/${name}`), `/run/netns/${name}`);
  const child = spawn('sleep', ['60']);
  t.teardown(() => void child.kill());
  t.equal(namespacePath(String(child.pid)), `/proc/${child.pid}/ns/net`);
});

t.test('what is none is told', async (t) => {
  const { root } = makeGround(t);
  const file = join(root, 'file');
  writeFileSync(file, '');
  const table: [string, RegExp][] = [
    [
      'no-such-name',
      /no network namespace is called "no-such-name": \/run\/netns\/no-such-name does not exist/,
    ],
    ['4194304999', /there is no process 4194304999/],
    ['/no/such', /there is no network namespace at \/no\/such/],
    [file, /is no network namespace but an ordinary file/],
    ['', /"" names no network namespace/],
    ['..', /"\.\." names no network namespace/],
  ];
  for (const [sandbox, message] of table) {
    t.throws(() => namespacePath(sandbox), { code: 8, message }, sandbox);
  }
});

t.test('for DEL it may be gone', async (t) => {
  t.equal(namespacePathIfAlive('no-such-name'), '');
  t.equal(namespacePathIfAlive('/no/such'), '');
  t.throws(() => namespacePathIfAlive(''), { code: 8 });
});

t.test('the default id is the same for every way to say it', async (t) => {
  t.equal(defaultContainerId('blue'), 'blue');
  t.equal(defaultContainerId('/run/netns/blue'), 'blue');
  t.equal(defaultContainerId('/var/run/netns/blue'), 'blue');
  t.equal(defaultContainerId('4711'), 'pid-4711');
  t.equal(defaultContainerId('/proc/4711/ns/net'), 'pid-4711');
  t.match(defaultContainerId('/some/where'), /^ns-[0-9a-f]{16}$/);
  t.equal(defaultContainerId('/some/where'), defaultContainerId('/some/../some/where'));
  t.not(defaultContainerId('/some/where'), defaultContainerId('/some/where/else'));
});
