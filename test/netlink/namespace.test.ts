import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { listAddresses } from '../../netlink/address.ts';
import { createBridge, createVeth, getLink, listLinks, setLink } from '../../netlink/link.ts';
import { lock } from '../../netlink/lock.ts';
import { tolerating } from '../../netlink/message.ts';
import { createNamespace, openDoor, removeNamespace } from '../../netlink/namespace.ts';
import { until } from '../support/until.ts';
import { ask, namespaceFor, refused } from './support.ts';

const descriptors = () => readdirSync('/proc/self/fd').length;

t.test('what is no network namespace is refused, and nothing blocks', async (t) => {
  const folder = t.testdir({ file: 'x' });
  const door = openDoor();
  execFileSync('mkfifo', [join(folder, 'fifo')]);
  symlinkSync('/proc/self/ns/mnt', join(folder, 'mnt'));
  // Paths of sockets must be short.
  const short = mkdtempSync(join(tmpdir(), 'w'));
  const server = createServer().listen(join(short, 'socket'));
  await new Promise((listening) => server.once('listening', listening));
  t.teardown(() => rmSync(short, { recursive: true }));
  t.teardown(() => server.close());
  for (const path of [
    ...['fifo', 'file', 'mnt', '.'].map((name) => join(folder, name)),
    join(short, 'socket'),
  ]) {
    await t.rejects(door.open(path), {
      code: 'ENOTNS',
      message: new RegExp(`^cannot open network namespace ${path}: ENOTNS`),
    });
  }
  await t.rejects(door.open('/dev/zero'), { code: 'ENOTNS' });
  await t.rejects(door.open(join(folder, 'none')), { code: 'ENOENT' });
  await t.rejects(door.open(join(folder, 'file', 'below')), { code: 'ENOTDIR' });
  await t.rejects(door.open(''), { code: 'ENOENT' });
  await t.rejects(door.open('/proc/self/ns/net\0x'), TypeError);
});

t.test('calls that are made on this thread answer alike, and in order with those that are not', async (t) => {
  const { path, json } = await namespaceFor(t);
  let here = true;
  const door = openDoor(() => here);
  const before = readlinkSync('/proc/thread-self/ns/net');
  const ns = await door.open(path);
  t.teardown(() => ns.close());
  await t.rejects(door.open('/nowhere'), { code: 'ENOENT' });
  await ns.send(createBridge({ name: 'br0', up: true }));
  t.match(json('ip', '-j', 'link', 'show', 'br0'), [{ ifname: 'br0' }]);
  t.match(await refused(ns, createBridge({ name: 'br0' })), { errno: 'EEXIST', index: 0 });
  const file = '/proc/sys/net/ipv4/conf/br0/arp_notify';
  await ns.writeFile(file, '1');
  t.equal(await ns.readFile(file), '1\n');
  await t.rejects(ns.readFile('/proc/sys/net/ipv4/conf/br1/arp_notify'), { code: 'ENOENT' });
  here = false;
  const slow = ns.send(setLink('br0', { alias: 'first' }));
  here = true;
  const quick = ns.send(setLink('br0', { alias: 'second' }));
  await Promise.all([slow, quick]);
  t.match(json('ip', '-j', 'link', 'show', 'br0'), [{ ifalias: 'second' }]);
  t.equal(readlinkSync('/proc/thread-self/ns/net'), before, 'this thread is where it was');
});

t.test('many at once go into many namespaces, and keep none of them alive', async (t) => {
  const door = openDoor();
  const outside = await namespaceFor(t);
  const folder = mkdtempSync(join(tmpdir(), 'w'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const pins = Array.from({ length: 8 }, (_, i) => join(folder, `${i}`));
  await Promise.all(
    pins.map(async (pin, i) => {
      await createNamespace(pin);
      const ns = await (i % 2 === 0 ? openDoor(() => true) : door).open(pin);
      await outside.ns.send(createVeth({ name: `v${i}`, peer: { name: 'inner', netnsFd: ns.fd } }));
      for (let n = 0; n < 5; n++) {
        await ns.writeFile('/proc/sys/net/ipv4/conf/inner/arp_notify', `${n % 2}`);
        const links = await ask(ns, listLinks());
        t.same(links.map(({ name }) => name).sort(), ['inner', 'lo']);
      }
      ns.close();
      await removeNamespace(pin);
    }),
  );
  // A namespace that ends takes its links away, and so their other ends.
  await until('all of them have ended', async () => (await ask(outside.ns, listLinks())).length === 1);
});

t.test('a namespace has one identity, whatever the path', async (t) => {
  const { ns, path } = await namespaceFor(t);
  const door = openDoor();
  const again = await door.open(path);
  const own = await door.open();
  const ownByPath = await door.open('/proc/self/ns/net');
  t.teardown(() =>
    [again, own, ownByPath].forEach((one) => {
      one.close();
    }),
  );
  t.equal(again.identity, ns.identity);
  t.equal(own.identity, ownByPath.identity);
  t.not(own.identity, ns.identity);
  const { dev, ino } = statSync(path);
  t.equal(ns.identity, `${dev}:${ino}`);
  t.equal(readlinkSync(`/proc/self/fd/${ns.fd}`), readlinkSync(`/proc/self/fd/${again.fd}`));
  t.equal(own.path, undefined);
  t.equal(ns.path, path);
});

t.test('no thread of ours stays in another namespace', async (t) => {
  const { ns } = await namespaceFor(t);
  await Promise.all(Array.from({ length: 20 }, () => ns.send(listLinks())));
  await ns.readFile('/proc/sys/net/ipv4/ip_forward');
  const own = readlinkSync('/proc/self/ns/net');
  for (const task of readdirSync('/proc/self/task'))
    t.equal(readlinkSync(`/proc/self/task/${task}/ns/net`), own);
});

t.test('a run stops at the first refusal that is not tolerated', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const run = ns.send(
    createBridge({ name: 'a0' }),
    tolerating(createBridge({ name: 'a0' }), 'EEXIST'),
    createBridge({ name: 'b0' }),
    createBridge({ name: 'a0' }),
    createBridge({ name: 'c0' }),
  );
  await t.rejects(run, { name: 'NetlinkError', errno: 'EEXIST', index: 3, what: 'create bridge a0' });
  t.same(
    json('ip', '-j', 'link')
      .map(({ ifname }) => ifname)
      .sort(),
    ['a0', 'b0', 'lo'],
  );
  const [first, second] = await ns.send(tolerating(getLink('zz'), 'ENODEV', 'EPERM'), getLink('b0'));
  t.match(first, { ok: false, error: { errno: 'ENODEV', index: 0 } });
  t.match(second, { ok: true, value: { name: 'b0' } });
  t.same(await ns.send(), []);
  await t.rejects(ns.send(tolerating(getLink('zz'), 'EWHAT')), /unknown errno name 'EWHAT'/);
});

t.test('calls on one namespace keep their order, and namespaces do not wait for each other', async (t) => {
  const [one, two] = [await namespaceFor(t), await namespaceFor(t)];
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      one.ns.send(createBridge({ name: `a${i}` })).then(() => order.push(i)),
    ),
  );
  t.same(
    order,
    Array.from({ length: 30 }, (_, i) => i),
  );
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => ask(i % 2 ? one.ns : two.ns, listLinks())),
  );
  t.ok(answers.every((links, i) => links.length === (i % 2 ? 31 : 1)));
});

t.test('a dump of thousands comes whole while it changes', async (t) => {
  const { ns, run, name } = await namespaceFor(t);
  run('ip', 'link', 'add', 'br0', 'index', '10', 'up', 'type', 'bridge');
  const lines = Array.from({ length: 3000 }, (_, i) => `address add 10.${i >> 8}.${i & 255}.1/32 dev br0`);
  execFileSync('ip', ['-n', name, '-batch', '-'], { input: lines.join('\n') });
  t.equal((await ask(ns, listAddresses({ link: 10, family: 2 }))).length, 3000);
  // Somebody else adds and removes all the while: each dump is whole, or was given up with EINTR.
  const changer = spawn('ip', ['-n', name, '-batch', '-'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise((resolve) => changer.on('exit', resolve));
  const noise = Array.from(
    { length: 4000 },
    (_, i) => `address ${i % 2 ? 'del' : 'add'} 172.16.0.${(i >> 1) % 250}/32 dev br0`,
  );
  changer.stdin.end(noise.join('\n'));
  for (let round = 0; round < 20; round++) {
    const [reply] = await ns.send(tolerating(listAddresses({ link: 10, family: 2 }), 'EINTR'));
    if (reply.ok) {
      const mine = reply.value.filter(({ address }) => address.startsWith('10.'));
      t.equal(new Set(mine.map(({ address }) => address)).size, 3000);
    } else t.equal(reply.error.errno, 'EINTR');
  }
  await ended;
});

t.test('files are those of the namespace', async (t) => {
  const host = await namespaceFor(t);
  const { ns } = await namespaceFor(t);
  const key = '/proc/sys/net/ipv4/ip_forward';
  await host.ns.writeFile(key, '0\n');
  await ns.writeFile(key, '1\n');
  t.equal(await ns.readFile(key), '1\n');
  t.equal(await host.ns.readFile(key), '0\n');
  t.equal(host.run('sysctl', '-n', 'net.ipv4.ip_forward').trim(), '0');
  await ns.send(createBridge({ name: 'only-here', mtu: 1234 }));
  t.match(await ns.readFile('/proc/net/dev'), /only-here/);
  t.equal(await ns.readFile('/sys/class/net/only-here/mtu'), '1234\n');
  await t.rejects(host.ns.readFile('/sys/class/net/only-here/mtu'), { code: 'ENOENT' });
  t.notOk(existsSync('/sys/class/net/only-here'), 'our own view of /sys is as it was');
  await t.rejects(ns.readFile('/proc/sys/net/no/such'), {
    code: 'ENOENT',
    message: /^cannot read \/proc\/sys\/net\/no\/such: ENOENT/,
  });
  await t.rejects(ns.writeFile(key, 'maybe\n'), { code: 'EINVAL' });
  await t.rejects(ns.readFile('/proc/sys/net'), { code: 'EISDIR' });
  for (const path of ['/etc/passwd', '/proc/../etc/passwd', '/proc/sys/..', 'proc/x', '', '/proc/x\0']) {
    await t.rejects(ns.readFile(path), TypeError, path);
    await t.rejects(ns.writeFile(path, ''), TypeError, path);
  }
});

t.test('namespaces are made, pinned and removed', async (t) => {
  const folder = t.testdir({});
  const pin = join(folder, 'pin');
  await createNamespace(pin);
  t.teardown(() => removeNamespace(pin));
  const ns = await openDoor().open(pin);
  t.same(
    (await ask(ns, listLinks())).map(({ name }) => name),
    ['lo'],
  );
  await t.rejects(createNamespace(pin), { code: 'EEXIST' });
  await t.rejects(createNamespace(join(folder, 'no', 'pin')), { code: 'ENOENT' });
  await removeNamespace(pin);
  t.notOk(existsSync(pin));
  await removeNamespace(pin);
  t.same((await ask(ns, listLinks())).length, 1, 'it lives on while somebody holds it');
  ns.close();
  writeFileSync(pin, 'left by a crash');
  await removeNamespace(pin);
  t.notOk(existsSync(pin));
});

t.test('close is final, idempotent, and leaves no descriptor', async (t) => {
  const { path } = await namespaceFor(t);
  const door = openDoor();
  await (await door.open(path)).send(listLinks()).catch(() => {});
  const before = descriptors();
  for (let i = 0; i < 20; i++) {
    const ns = await door.open(path);
    await ns.send(listLinks());
    const late = ns.send(listLinks());
    ns.close();
    ns.close();
    await late.catch((error) => t.equal(error.code, 'EBADF'));
    await t.rejects(ns.send(listLinks()), { code: 'EBADF' });
    await t.rejects(ns.readFile('/proc/sys/net/ipv4/ip_forward'), { code: 'EBADF' });
  }
  t.ok(descriptors() <= before, `${descriptors()} descriptors, ${before} before`);
});

t.test('locks exclude, in order or not, however many wait', async (t) => {
  const folder = t.testdir({});
  const path = join(folder, 'lock');
  let inside = 0;
  let most = 0;
  const release = await lock(path);
  const waiting = Array.from({ length: 40 }, async () => {
    const done = await lock(path);
    most = Math.max(most, ++inside);
    await new Promise((later) => setImmediate(later));
    inside--;
    done();
    done();
  });
  t.equal(statSync(path).mode & 0o777, 0o600);
  // The pool is free although forty wait.
  const own = await openDoor().open();
  await own.readFile('/proc/sys/net/ipv4/ip_forward');
  own.close();
  t.equal(most, 0);
  t.throws(() => execFileSync('flock', ['-n', path, 'true']), 'other programs see it');
  release();
  await Promise.all(waiting);
  t.equal(most, 1);
  execFileSync('flock', ['-n', path, 'true']);
});

t.test('a lock waits for other programs, and is not fooled by a file that is replaced', async (t) => {
  const folder = t.testdir({ plain: '' });
  const path = join(folder, 'plain');
  const other = spawn('flock', [path, 'sh', '-c', 'echo held; read line'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((held) => other.stdout.once('data', held));
  const waiting = lock(path);
  unlinkSync(path);
  writeFileSync(path, '');
  other.stdin.end('\n');
  const release = await waiting;
  t.throws(() => execFileSync('flock', ['-n', path, 'true']), 'the file that has the name is the one locked');
  release();
  await t.rejects(lock(join(folder, 'no', 'lock')), { code: 'ENOENT', message: /^cannot lock / });
  mkdirSync(join(folder, 'folder'));
  await t.rejects(lock(join(folder, 'folder')), { code: 'EISDIR' });
  symlinkSync(path, join(folder, 'link'));
  await t.rejects(lock(join(folder, 'link')), { code: 'ELOOP' });
  execFileSync('mkfifo', [join(folder, 'fifo')]);
  await t.rejects(lock(join(folder, 'fifo')), { code: 'EINVAL' });
  chmodSync(path, 0o644);
  (await lock(path))();
  t.equal(readFileSync(path, 'utf8'), '');
});

t.test('a process ends although a lock of it waits', async (t) => {
  const folder = t.testdir({});
  const path = join(folder, 'lock');
  const release = await lock(path);
  const source = `import { lock } from ${JSON.stringify(new URL('../../netlink/lock.ts', import.meta.url).href)};
    lock(${JSON.stringify(path)}); setTimeout(() => process.exit(7), 50);`;
  const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', source], {
    stdio: 'inherit',
  });
  t.equal(await new Promise((ended) => child.on('exit', ended)), 7);
  release();
});

t.test('a refusal without a message of the kernel still names the request', async (t) => {
  const { ns } = await namespaceFor(t);
  const error = await refused(ns, getLink('none'));
  t.equal(error.message, 'cannot look up link none: ENODEV');
});
