/** Callers of a Unix socket: a request comes out as it went in, an answer arrives whole, and who does not keep to it harms nobody else. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { type ListenerCaller, type ListenerOptions, RequestListener } from '../../netlink/listener.ts';
import { until } from '../support/until.ts';
import '../support/seed.ts';

const IDENTITY = 'weft test: this one ';
const OPTIONS = {
  identity: IDENTITY,
  mostCallers: 100,
  mostHeld: 1 << 20,
  longest: 1 << 19,
  patience: 60_000,
};

// Paths of sockets must be short.
const folder = mkdtempSync(join(tmpdir(), 'w'));
t.teardown(() => rmSync(folder, { recursive: true }));
let sockets = 0;

interface Asked {
  caller: ListenerCaller;
  words: string;
  input: string;
}

/** A listener with what it has heard. */
function open(t: Test, options: Partial<ListenerOptions> = {}) {
  const path = join(folder, `${sockets++}`);
  const asked: Asked[] = [];
  const odd: string[] = [];
  const listener = new RequestListener(
    path,
    { ...OPTIONS, ...options },
    {
      request: (caller, words, input) => asked.push({ caller, words, input }),
      odd: (reason, why) => odd.push(`${why}: ${reason}`),
    },
  );
  t.teardown(() => {
    listener.close();
    for (const { caller } of asked) caller.drop();
  });
  const next = (count = 1) =>
    until(`${count} requests`, () => asked.length >= count).then(() => asked[count - 1] as Asked);
  return { path, listener, asked, odd, next };
}

/** A connection with what it has received; `ended` when the other side has closed. */
async function call(t: Test, path: string) {
  const socket = connect({ path, allowHalfOpen: true });
  const seen = { socket, text: '', ended: false };
  socket.on('data', (chunk) => {
    seen.text += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  for (const end of ['end', 'close']) socket.on(end, () => Object.assign(seen, { ended: true }));
  t.teardown(() => socket.destroy());
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return seen;
}

const lengths = (...numbers: number[]) => Buffer.from(Uint32Array.from(numbers).buffer);

/** `words` without the identity and the zero byte at the end. */
function encode(words: string, input = '', identity = IDENTITY): Buffer {
  const head = Buffer.from(`${identity}\0${words}\0`);
  const rest = Buffer.from(input);
  return Buffer.concat([lengths(head.length + rest.length, head.length), head, rest]);
}

const frame = (kind: string, text: string) =>
  `${kind}${lengths(Buffer.byteLength(text, 'latin1')).toString('latin1')}${text}`;
const GREETING = frame('H', IDENTITY);

t.test('a request comes out as it went in, however it is cut', async (t) => {
  const { path, asked, odd, next } = open(t);
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary', maxLength: 2000 }),
      fc.integer({ min: 1, max: 600 }),
      async (words, text, size) => {
        // What is no Unicode cannot be asked for.
        const [plain, input] = [words, text].map((one) => Buffer.from(one).toString());
        const { socket } = await call(t, path);
        socket.setNoDelay(true);
        const bytes = encode(`a\0b\0${plain}`, input);
        for (let at = 0; at < bytes.length; at += size) {
          await new Promise((resolve) => socket.write(bytes.subarray(at, at + size), resolve));
        }
        const got = await next();
        asked.length = 0;
        got.caller.drop();
        socket.destroy();
        if (got.words !== `a\0b\0${plain}` || got.input !== input) throw new Error('another request');
      },
    ),
    { numRuns: 60 },
  );
  t.same(odd, []);
});

t.test('who connects is greeted, asks, and is answered in frames; then it is over', async (t) => {
  const { path, next, odd } = open(t);
  const seen = await call(t, path);
  await until('it is greeted', () => seen.text === GREETING);
  seen.socket.write(encode('a\0b\0c', 'input'));
  const { caller, words, input } = await next();
  t.same([words, input, caller.pid, caller.gone], ['a\0b\0c', 'input', process.pid, false]);
  caller.send('B');
  caller.send('E', 'a line\n');
  caller.end('D', 'out', 3);
  caller.send('E', 'too late');
  await until('it is over', () => seen.ended);
  t.equal(seen.text, `${GREETING}${frame('B', '')}${frame('E', 'a line\n')}${frame('D', '\x03out')}`);
  t.equal(caller.gone, true);
  t.same(odd, []);
});

t.test('what is no request of ours is told by its reason', async (t) => {
  const { path, asked, odd } = open(t);
  const wrong: [Buffer, RegExp][] = [
    [Buffer.from('GET / HTTP/1.1\r\n\r\n'), /^protocol: .* request of \d+ bytes$/],
    [lengths(100, 101), /^protocol: .* 101 bytes of words$/],
    [Buffer.concat([lengths(8, 0), Buffer.alloc(8)]), /^protocol: .* 0 bytes of words$/],
    [Buffer.concat([lengths(4, 4), Buffer.from('abcd')]), /^protocol: .* the last word has no end$/],
    [Buffer.concat([encode('a\0b\0c'), Buffer.from('x')]), /^protocol: .* bytes after the end/],
    [encode('a\0b\0c', '', 'another'), /^declined: a caller is of another build/],
    [encode('a\0b\0c', '', ''), /^declined: a caller is of another build/],
    [encode('a\0b\0c', '', `${IDENTITY}x`), /^declined: a caller is of another build/],
  ];
  for (const [index, [bytes, reason]] of wrong.entries()) {
    const seen = await call(t, path);
    seen.socket.write(bytes);
    await until('it is sent away', () => seen.ended && odd.length > index);
    t.match(odd[index], reason);
  }
  for (const half of [0, 5, 30]) {
    const { socket } = await call(t, path);
    socket.end(encode('a\0b\0c').subarray(0, half));
    await until('it is noticed', () => odd.length > wrong.length);
    t.match(odd.pop(), /^declined: a caller went away/);
  }
  t.same(asked, []);
});

t.test('who goes away, half or whole, or says more, is gone when that is asked', async (t) => {
  const { path, next, odd } = open(t);
  const ways: ((socket: Socket) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.end(),
    (socket) => socket.write('more'),
  ];
  for (const [index, leave] of ways.entries()) {
    const { socket } = await call(t, path);
    socket.write(encode('a\0b\0c'));
    const { caller } = await next(index + 1);
    t.equal(caller.gone, false);
    leave(socket);
    await until('it is gone', () => caller.gone);
    caller.send('E', 'a line');
    caller.end('D', '');
    caller.drop();
  }
  t.same(odd, ['protocol: bytes after the end of a request']);
});

t.test('an answer that does not fit into the socket arrives whole, others meanwhile', async (t) => {
  const { path, listener, next, odd } = open(t);
  const slow = await call(t, path);
  slow.socket.pause();
  slow.socket.write(encode('a\0b\0c'));
  const { caller } = await next();
  const text = 'x'.repeat(4 << 20);
  caller.send('E', text);
  caller.end('D', text, 0);
  const quick = await call(t, path);
  quick.socket.write(encode('a\0b\0c'));
  (await next(2)).caller.end('D', '', 0);
  await until('the other one is served', () => quick.ended);
  listener.close();
  t.equal(slow.ended, false);
  slow.socket.resume();
  await until('all is there', () => slow.ended);
  t.equal(slow.text.length, GREETING.length + 2 * (5 + text.length) + 1);
  t.same(odd, []);
});

t.test('there is an end to patience: with requests, with answers, not while one is served', async (t) => {
  const { path, next, odd } = open(t, { patience: 300 });
  const served = await call(t, path);
  served.socket.write(encode('a\0b\0c'));
  const { caller } = await next();
  const silent = await call(t, path);
  silent.socket.write(encode('a\0b\0c').subarray(0, 20));
  await until('it is ended', () => silent.ended);
  t.same(odd, ['slow: a caller sent no whole request']);
  const lazy = await call(t, path);
  lazy.socket.pause();
  lazy.socket.write(encode('a\0b\0c'));
  (await next(2)).caller.end('D', 'x'.repeat(4 << 20));
  await until('it is ended', () => odd.length === 2);
  t.equal(odd[1], 'slow: a caller does not fetch its answer');
  t.equal(caller.gone, false);
  caller.end('D', '', 0);
  await until('it is answered', () => served.ended);
});

t.test('bounds: callers at once, bytes at once', async (t) => {
  const few = open(t, { mostCallers: 2 });
  const crowd = [await call(t, few.path), await call(t, few.path)];
  await until('both are greeted', () => crowd.every(({ text }) => text === GREETING));
  const more = await call(t, few.path);
  await until('it is sent away', () => more.ended);
  t.equal(more.text, '');
  crowd[0]?.socket.destroy();
  await until('there is room', () => few.odd.length === 1);
  const again = await call(t, few.path);
  await until('it is greeted', () => again.text === GREETING);

  const { path, odd, next } = open(t, { mostHeld: 100_000 });
  const halves = [await call(t, path), await call(t, path)];
  for (const { socket } of halves) socket.write(encode('a\0b\0c', 'x'.repeat(60_000)).subarray(0, -1));
  await until('one is too much', () => odd.length === 1);
  t.match(odd, ['overload: too many requests at once are too long']);
  const left = halves.find(({ ended }) => !ended);
  await until('the other one is ended', () => halves.some(({ ended }) => ended));
  halves.find(({ ended }) => !ended)?.socket.write('x');
  t.ok(left);
  (await next()).caller.end('D', '', 0);
  await until('it is over', () => halves.every(({ ended }) => ended));
  const after = await call(t, path);
  after.socket.write(encode('a\0b\0c', 'x'.repeat(90_000)));
  await next(2);
});

t.test('an end: those who have not asked are let go, the others get their answers', async (t) => {
  const { path, listener, next, odd } = open(t);
  const [idle, busy] = [await call(t, path), await call(t, path)];
  busy.socket.write(encode('a\0b\0c'));
  const { caller } = await next();
  listener.close();
  listener.close();
  await until('it is let go', () => idle.ended);
  caller.end('D', '', 0);
  await until('it is answered', () => busy.ended);
  t.equal(busy.text, `${GREETING}${frame('D', '\0')}`);
  await t.rejects(call(t, path), { code: 'ECONNREFUSED' });
  t.equal(caller.gone, true);
  t.same(odd, []);
});

t.test('where nobody can listen', async (t) => {
  const { path } = open(t);
  const hooks = { request: () => {}, odd: () => {} };
  for (const [wrong, code] of [
    [path, 'EADDRINUSE'],
    [join(folder, 'none', 'socket'), 'ENOENT'],
    [`/${'x'.repeat(200)}`, 'ENAMETOOLONG'],
  ] as const) {
    t.throws(() => new RequestListener(wrong, OPTIONS, hooks), { code });
  }
});

/** Listens where its first argument says, holds every descriptor that it may have while a line of input is awaited, then lets them go. */
const SCARCE = `
import { closeSync, openSync, readSync } from 'node:fs';
import { RequestListener } from ${JSON.stringify(import.meta.resolve('../../netlink/listener.ts'))};
const hooks = { request: (caller) => caller.end('D', '', 0), odd: () => {} };
const held = [];
new RequestListener(${JSON.stringify(join(folder, 'scarce'))}, ${JSON.stringify({ ...OPTIONS, patience: 1000 })}, hooks);
const hold = () => {
  try {
    for (;;) held.push(openSync('/dev/null'));
  } catch {}
};
hold();
// What the loading of modules still gives back.
const again = setInterval(hold, 20);
console.log('scarce');
process.stdin.once('data', () => {
  clearInterval(again);
  for (const fd of held) closeSync(fd);
  process.stdin.destroy();
});
`;

t.test('where no descriptors are left, callers wait until there are', async (t) => {
  const script = join(folder, 'scarce.mts');
  writeFileSync(script, SCARCE);
  const child = spawn('sh', [
    ...['-c', 'ulimit -n 80; exec "$@"', 'sh', process.execPath],
    ...[`--import=${import.meta.resolve('tsx')}`, script],
  ]);
  t.teardown(() => child.kill('SIGKILL'));
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    err += data;
  });
  const cpu = () => {
    const [user = 0, system = 0] = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
      .split(' ')
      .slice(13, 15)
      .map(Number);
    return user + system;
  };
  await until(
    'it has none left',
    () => out.includes('scarce') || (child.exitCode !== null && Promise.reject(new Error(err))),
  );
  const crowd = await Promise.all(Array.from({ length: 30 }, () => call(t, join(folder, 'scarce'))));
  const before = cpu();
  await new Promise((resolve) => setTimeout(resolve, 600));
  t.ok(cpu() - before < 30, 'it does not turn in circles meanwhile');
  t.ok(
    crowd.some(({ text }) => text === ''),
    'some wait',
  );
  child.stdin.write('go\n');
  for (const { socket } of crowd) socket.write(encode('a\0b\0c'));
  await until('all are answered', () => crowd.every(({ ended }) => ended));
  for (const { text } of crowd) t.equal(text, `${GREETING}${frame('D', '\0')}`);
});

t.test('a thread that ends takes its callers with it', async (t) => {
  const path = join(folder, 'thread');
  const script = `
    const { RequestListener } = await import(${JSON.stringify(import.meta.resolve('../../netlink/listener.ts'))});
    const hooks = { request: (caller) => caller.send('B'), odd: () => {} };
    new RequestListener(${JSON.stringify(path)}, ${JSON.stringify(OPTIONS)}, hooks);
  `;
  const source = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(`data:text/javascript,${encodeURIComponent(script)}`)}); })`;
  const worker = new Worker(source, { eval: true });
  const failed = new Promise((_, reject) => worker.once('error', reject));
  failed.catch(() => {});
  await Promise.race([until('it listens', () => existsSync(path)), failed]);
  const [idle, busy] = [await call(t, path), await call(t, path)];
  busy.socket.write(encode('a\0b\0c'));
  await until('it is served', () => busy.text === `${GREETING}${frame('B', '')}`);
  await worker.terminate();
  await until('both are let go', () => idle.ended && busy.ended);
});
