/** The native functions, called with everything that is wrong: each call throws, rejects or answers; the process lives. */
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { listLinks } from '../../netlink/link.ts';
import { loadNative, type Native } from '../../netlink/native.ts';
import { addElements, batch } from '../../netlink/nftables.ts';
import { namespaceFor, refused } from './support.ts';
import '../support/seed.ts';

const native = loadNative();
type Anything = (...args: unknown[]) => unknown;
const functions = native as unknown as Record<keyof Native, Anything>;

/** Whatever comes of a call; only the process's end is a failure. */
async function outcome(act: () => unknown): Promise<unknown> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Error)) throw new Error(`thrown: ${String(error)}`);
    return error;
  }
}

const detached = (): Uint8Array => {
  const bytes = new Uint8Array(64);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};

const junk = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    0,
    1,
    2,
    1.5,
    2 ** 32,
    2 ** 53,
  ),
  fc.nat(),
  fc.constantFrom<unknown>(
    '',
    'x',
    '/proc/sys/none',
    '/sys/none',
    '/proc/\0',
    '/nonexistent/folder/file',
    'a'.repeat(70_000),
  ),
  fc.constantFrom<unknown>({}, [], () => {}, Symbol('s'), 10n, new Date(0), /x/, new Map()),
  fc.uint8Array({ maxLength: 200 }),
  fc.uint32Array({ maxLength: 20 }),
  fc.constantFrom<unknown>(
    new ArrayBuffer(8),
    new DataView(new ArrayBuffer(8)),
    new Float64Array(4),
    new Int32Array(4),
  ),
  fc.constant(null).map(detached),
  fc.constant(null).map(() => new Uint8Array(new SharedArrayBuffer(32))),
);

t.test('any function with any arguments', async (t) => {
  // Those that would block for ever on a lock that the test itself holds are called below; what takes nothing cannot be given anything wrong,
  // and what ends the process ends the test.
  const others = ['waitLock', 'tryLock', 'openTracefs', 'clocks', 'endProcess'];
  const names = Object.keys(functions).filter((name) => !others.includes(name)) as (keyof Native)[];
  let calls = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...names), fc.array(junk, { maxLength: 5 }), async (name, args) => {
      // Nothing of the machine's own is made, removed or listened to.
      if (
        ['createNamespace', 'removeNamespace'].includes(name) &&
        typeof args[0] === 'string' &&
        !args[0].startsWith('/')
      )
        return;
      if (name === 'openNamespace' && args[0] === undefined) return;
      if (/File$|Folder$|^claimName/.test(name) && typeof args[0] === 'string') return;
      const result = await outcome(() => functions[name](...args));
      // Closing and removing what is not there is no error; a descriptor of the test's own may be a socket; some take nothing.
      if (!/^close|^remove|^trimMemory|^placeOf|[cC]aller/.test(name) && !(result instanceof Error))
        throw new Error(`${name} took it`);
      calls++;
    }),
    { numRuns: 8000 },
  );
  t.ok(calls > 4000, `${calls} calls`);
});

t.test('arguments are named', async (t) => {
  const { ns } = await namespaceFor(t);
  void ns;
  const { handle } = await native.openNamespace('/proc/self/ns/net');
  t.teardown(() => native.closeNamespace(handle));
  const empty = new Uint32Array();
  t.throws(
    () => functions.send('1', new Uint8Array(), empty, empty),
    /^namespace handle: want a whole number/,
  );
  t.throws(() => functions.send(handle, 'bytes', empty, empty), /^bytes: want a Uint8Array/);
  t.throws(() => functions.send(handle, new Uint8Array(), [], empty), /^ops: want a Uint32Array/);
  t.throws(() => functions.readFile(handle, 7), /^path: want a string/);
  t.throws(() => functions.openMonitor(handle, 0, empty, 'x'), /^listener: want a function/);
  t.throws(() => functions.openMonitor(handle, 5, empty, () => {}), /^family: want 0 or 1/);
  t.throws(() => functions.openSocket(handle, 2, 2, 0, 0, () => {}), /^room: want 1..1048576 bytes/);
  t.throws(() => functions.openSocket(handle, 2, 2, 0, 64, 'x'), /^listener: want a function/);
  t.throws(() => functions.sendSocket(4_000_000_000, new Uint8Array()), /socket is closed/);
  await t.rejects(
    outcomeOf(() => native.send(4_000_000_000, new Uint8Array(), empty, empty)),
    /namespace is closed/,
  );
});

async function outcomeOf(act: () => unknown): Promise<unknown> {
  return act();
}

const word = (length: number, type: number, flags: number) => {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  return bytes;
};

t.test('messages that are no messages are refused before anything is sent', async (t) => {
  const { handle } = await native.openNamespace((await namespaceFor(t)).path);
  t.teardown(() => native.closeNamespace(handle));
  const none = new Uint32Array();
  const send =
    (bytes: Uint8Array, ...ops: number[]) =>
    () =>
      native.send(handle, bytes, Uint32Array.from(ops), none);
  const good = word(16, 18, 1);
  const cases: [string, () => unknown][] = [
    ['nothing', send(good, 0, 0, 0, 0)],
    ['shorter than a header', send(good, 0, 0, 15, 0)],
    ['a length of zero', send(word(0, 18, 1), 0, 0, 16, 0)],
    ['a length below the header', send(word(15, 18, 1), 0, 0, 16, 0)],
    ['a length beyond the buffer', send(word(17, 18, 1), 0, 0, 16, 0)],
    ['the largest length', send(word(0xffffffff, 18, 1), 0, 0, 16, 0)],
    ['a second message cut off', send(Buffer.concat([good, good.subarray(0, 8)]), 0, 0, 24, 0)],
    ['an offset beyond the buffer', send(good, 0, 4, 16, 0)],
    ['an offset that overflows', send(good, 0, 0xffffffff, 16, 0)],
    ['a length that overflows', send(good, 0, 16, 0xfffffff0, 0)],
    ['an unknown family', send(good, 2, 0, 16, 0)],
    ['tolerated words that are not there', send(good, 0, 0, 16, 1)],
    ['more tolerated words than memory', send(good, 0, 0, 16, 0xffffffff)],
    ['a table of three words', send(good, 0, 0, 16)],
    ['a batch without end', send(word(20, 0x10, 1).fill(0, 16), 1, 0, 16, 0)],
    ['a batch that is not closed', send(Buffer.concat([word(16, 0x10, 1), word(16, 0xa00, 5)]), 1, 0, 32, 0)],
  ];
  for (const [name, act] of cases) t.throws(act, RangeError, name);
  t.same((await native.send(handle, new Uint8Array(), none, none)).status, new Int32Array());
});

t.test('random tables, random bytes', async (t) => {
  const { handle } = await native.openNamespace((await namespaceFor(t)).path);
  t.teardown(() => native.closeNamespace(handle));
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 300 }),
      fc.uint32Array({ maxLength: 12, max: 400 }),
      fc.uint32Array({ maxLength: 4 }),
      async (bytes, ops, tolerated) => {
        await outcome(() => native.send(handle, bytes, ops, tolerated));
      },
    ),
    { numRuns: 5000 },
  );
  t.pass('alive');
});

t.test('well-framed nonsense reaches the kernel, which says no, and the socket stays in step', async (t) => {
  const { ns, path } = await namespaceFor(t);
  const { handle } = await native.openNamespace(path);
  t.teardown(() => native.closeNamespace(handle));
  const message = fc
    .tuple(
      fc.oneof(fc.nat(130), fc.constantFrom(0x10, 0x11, 0xa00, 0xa0c, 0x609, 0x607, 0x101)),
      fc.nat(0xfff),
      fc.uint8Array({ maxLength: 120 }),
    )
    .map(([type, flags, body]) =>
      Buffer.concat([word(16 + body.length, type, flags), body, Buffer.alloc(-body.length & 3)]),
    );
  await fc.assert(
    fc.asyncProperty(
      fc.nat(1),
      fc.array(message, { minLength: 1, maxLength: 4 }),
      async (family, messages) => {
        const bytes = Buffer.concat(messages);
        const batched = fc.sample(fc.boolean(), 1)[0] && family === 1;
        const whole = batched
          ? Buffer.concat([
              word(20, 0x10, 1),
              Buffer.from([0, 0, 0, 10]),
              bytes,
              word(20, 0x11, 1),
              Buffer.from([0, 0, 0, 10]),
            ])
          : bytes;
        await outcome(() =>
          native.send(handle, whole, Uint32Array.of(family, 0, whole.length, 0), new Uint32Array()),
        );
      },
    ),
    { numRuns: 1500 },
  );
  // The same socket still answers properly.
  const { bytes } = listLinks();
  const { status, index } = await native.send(
    handle,
    bytes,
    Uint32Array.of(0, 0, bytes.length, 0),
    new Uint32Array(),
  );
  t.same([...status], [0]);
  t.ok(index.length >= 4);
  const nowhere = addElements({ family: 'inet', table: 'none', set: 'none' }, [{ key: new Uint8Array(4) }]);
  t.equal((await refused(ns, batch([nowhere]))).errno, 'ENOENT');
});

t.test('handles are closed under running calls', async (t) => {
  const { path } = await namespaceFor(t);
  const { bytes } = listLinks();
  await Promise.all(
    Array.from({ length: 500 }, async () => {
      const { handle } = await native.openNamespace(path);
      const calls = Array.from({ length: 3 }, () =>
        outcome(() => native.send(handle, bytes, Uint32Array.of(0, 0, bytes.length, 0), new Uint32Array())),
      );
      const monitoring = outcome(() => native.openMonitor(handle, 0, Uint32Array.of(1), () => {}));
      native.closeNamespace(handle);
      native.closeNamespace(handle);
      await Promise.all(calls);
      const id = await monitoring;
      if (typeof id === 'number') [id, id].map((one) => native.closeMonitor(one));
    }),
  );
  t.pass('alive');
});

t.test('a listener that throws does not take the monitor with it', async (t) => {
  const { ns, path, run } = await namespaceFor(t);
  void ns;
  const { handle } = await native.openNamespace(path);
  t.teardown(() => native.closeNamespace(handle));
  let told = 0;
  const thrown = new Promise((resolve) => process.once('uncaughtException', resolve));
  const id = await native.openMonitor(handle, 0, Uint32Array.of(1), () => {
    if (told++ === 0) throw new Error('of the listener');
  });
  run('ip', 'link', 'add', 'br0', 'type', 'bridge');
  t.match(await thrown, /of the listener/);
  run('ip', 'link', 'add', 'br1', 'type', 'bridge');
  while (told < 2) await new Promise((later) => setTimeout(later, 5));
  native.closeMonitor(id);
});

t.test('locks with odd paths', async (t) => {
  const folder = t.testdir({});
  for (const path of ['', '/', '.', '/dev/null/x', 'a\0b', join(folder, 'x'.repeat(300)), 7, null]) {
    t.throws(() => functions.tryLock(path), `${path}`);
  }
  for (const path of ['/', join(folder, 'no', 'such')])
    await t.rejects(outcomeOf(() => functions.waitLock(path)));
});

t.test('worker threads load it, use it, and are ended in the middle', async (t) => {
  const { path } = await namespaceFor(t);
  const { Worker } = await import('node:worker_threads');
  // Threads that wait for the lock outlive their workers: they get it at the end, and the file may be made once more by the next.
  const folder = mkdtempSync(join(tmpdir(), 'weft-hostile-'));
  const held = join(folder, 'lock');
  const fd = native.tryLock(held);
  t.teardown(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });
  const source = `const native = require(${JSON.stringify(addon())}), LOCK = ${JSON.stringify(held)};
    native.openNamespace(${JSON.stringify(path)}).then(({ handle }) =>
      native.openMonitor(handle, 0, Uint32Array.of(1), () => {}).then(() => {
        require('node:worker_threads').parentPort.postMessage('up');
        const dump = Buffer.from('1400000012000103000000000000000000000000', 'hex');
        native.waitLock(LOCK).catch(() => {});
        (function more() { native.send(handle, dump, Uint32Array.of(0, 0, 20, 0), new Uint32Array()).then(more); })();
      }));`;
  for (let i = 0; i < 40; i++) {
    const worker = new Worker(source, { eval: true });
    await new Promise((up, failed) => worker.once('message', up).once('error', failed));
    await worker.terminate();
  }
  t.pass('alive');
});

/** The file that loadNative() found. */
function addon(): string {
  const { createRequire } = process.getBuiltinModule('node:module');
  const found = Object.keys(createRequire(import.meta.url).cache).find(
    (file) => file.endsWith('.node') && file.includes('weft'),
  );
  if (found === undefined) throw new Error('the addon is not in the module cache');
  return found;
}
