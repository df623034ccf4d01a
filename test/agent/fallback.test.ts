/** What the launcher makes of agents that do not behave: the cold path, with the same input, and a right result. */
import { existsSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fallbackCounts, openFallbacks } from '../../agent/fallbacks.ts';
import { ownIdentity } from '../../agent/identity.ts';
import { FRAME } from '../../agent/protocol.ts';
import { hostLinkName } from '../../plan/names.ts';
import { execIn, type Host, leases, links, makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BIN, call, NETWORK, ok } from './support.ts';
import { doneFrame, frame } from './wire.ts';

/** What a launcher on this host takes for its own agent's greeting. */
const greetingOn = (host: Host) =>
  frame(
    FRAME.greeting,
    ownIdentity(join(BIN, 'weft-core.js'), host.seenFromMachine('').replace(/root$/, '')),
  );

/** Something that listens where the agent of a host would. Its calls are counted. */
async function pretend(t: Test, host: Host, serve: (socket: Socket) => void): Promise<{ calls: number }> {
  const seen = { calls: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    seen.calls += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(join(host.dirs.run, 'agent.sock'), resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return seen;
}

/** Waits for the whole request, then acts. */
const afterRequest = (greeting: Buffer, act: (socket: Socket) => void) => (socket: Socket) => {
  socket.write(greeting);
  let got = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    got = Buffer.concat([got, chunk]);
    if (got.length >= 8 && got.length === 8 + got.readUInt32LE(0)) act(socket);
  });
};

const hangUp = (socket: Socket) => socket.destroy();

/** ADD, CHECK and DEL have the results that they always have. */
async function isRight(t: Test, host: Host, env: Record<string, string> = {}): Promise<void> {
  const container = await host.container();
  const added = await call(host, 'ADD', { container, env });
  t.equal(added.status, 0, added.stdout);
  t.match(added.json, { ips: [{ address: /^10\.88\.0\.\d+\/16$/ }] });
  const config = { ...NETWORK, prevResult: added.json };
  t.equal((await call(host, 'CHECK', { container, config, env })).status, 0);
  t.equal((await call(host, 'DEL', { container, config, env })).status, 0);
  t.same(await leases(host), []);
  t.same(await links(container.netns), ['lo']);
}

/** Once for each call; what a caller does not wait for may be seen later than its answer. */
async function wasAsked(t: Test, seen: { calls: number }): Promise<void> {
  await until('it is asked every time', () => seen.calls >= 3);
  t.equal(seen.calls, 3, 'it was asked every time');
}

/** What launchers note of it, where an agent has made the file (agent/fallbacks.ts). */
type Reason = 'silent' | 'other' | 'refused' | 'broken';

const silent: Record<string, (socket: Socket) => void> = {
  'says nothing': () => {},
  'hangs up': hangUp,
  'speaks another protocol': (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'greets for another build': (socket) =>
    socket.write(frame(FRAME.greeting, 'weft 1 1:1 1.1 1 1:1 1:1 1:1 ')),
  'announces a greeting without end': (socket) => socket.write(Buffer.from('H\xff\xff\xff\xff', 'latin1')),
  'greets by and by': (socket) => {
    let at = 0;
    const timer = setInterval(() => socket.write('H\0\0\0\0'.charAt(at++ % 5)), 60);
    socket.on('close', () => clearInterval(timer));
  },
};

for (const [behaviour, serve] of Object.entries(silent)) {
  t.test(`an agent that ${behaviour}`, async (t) => {
    const host = await makeHost(t);
    const seen = await pretend(t, host, serve);
    // The bound that everybody has: nobody waits for this agent.
    openFallbacks(host.dirs.run);
    await isRight(t, host, { WEFT_AGENT_WAIT: '' });
    await wasAsked(t, seen);
    // A busy machine may be too slow to tell it is another build within the bound.
    noted(t, host, behaviour.includes('another build') ? ['other', 'silent'] : ['silent']);
  });
}

function noted(t: Test, host: Host, reasons: readonly Reason[]): void {
  const counts = fallbackCounts(host.dirs.run);
  t.equal(
    reasons.reduce((sum, reason) => sum + (counts.get(reason) ?? 0), 0),
    3,
    `counted as ${reasons.join(' or ')}`,
  );
}

t.test('an agent that is at work is waited for beyond the bound', async (t) => {
  const host = await makeHost(t);
  // In a process of the host's own, which can be looked at from there.
  const script = `const [, socket, greeting, refusal] = process.argv;
    const serve = (caller) => {
      for (const end = performance.now() + 400; performance.now() < end; );
      caller.on('error', () => {}).write(Buffer.from(greeting, 'hex'));
      caller.on('data', () => caller.end(Buffer.from(refusal, 'hex')));
    };
    require('net').createServer(serve).listen(socket);`;
  const socket = join(host.dirs.run, 'agent.sock');
  const words = [greetingOn(host), frame(FRAME.refused, 'not today')].map((bytes) => bytes.toString('hex'));
  await host.daemon('busy', process.execPath, ['-e', script, socket, ...words]);
  await until('it listens', () => existsSync(socket));
  openFallbacks(host.dirs.run);
  await isRight(t, host, { WEFT_AGENT_WAIT: '' });
  noted(t, host, ['refused']);
});

t.test('an agent that is another user’s is not asked', async (t) => {
  const host = await makeHost(t);
  await host.exec('chmod', ['711', host.root, host.dirs.run]);
  const script = `const s = require('net').createServer((c) => c.end()); process.setuid(65534);
    s.listen(process.argv[1]);`;
  await host.exec('chown', ['65534', host.dirs.run]);
  await host.daemon('stranger', process.execPath, ['-e', script, join(host.dirs.run, 'agent.sock')]);
  await isRight(t, host);
});

const broken: Record<string, (socket: Socket) => void> = {
  'takes the request and hangs up': hangUp,
  refuses: (socket) => socket.end(frame(FRAME.refused, 'not today')),
  'hangs up in the middle of its answer': (socket) => socket.end(doneFrame(0, '{}\n').subarray(0, 6)),
  'answers with a frame that nobody knows': (socket) => socket.write(frame('?', 'x')),
  'says that it begins, and hangs up': (socket) => socket.end(frame(FRAME.begins)),
};

for (const [behaviour, act] of Object.entries(broken)) {
  t.test(`an agent that ${behaviour}`, async (t) => {
    const host = await makeHost(t);
    const seen = await pretend(t, host, afterRequest(greetingOn(host), act));
    openFallbacks(host.dirs.run);
    await isRight(t, host);
    await wasAsked(t, seen);
    noted(t, host, [behaviour === 'refuses' ? 'refused' : 'broken']);
  });
}

t.test('an agent of protocol 1 finds no plugin in a request, and refuses', async (t) => {
  const host = await makeHost(t);
  const names: (string | undefined)[][] = [];
  const greeting = frame(FRAME.greeting, 'weft 1 1:1 1.1 1 1:1 1:1 1:1 ');
  await pretend(t, host, (socket) => {
    socket.write(greeting);
    let got = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
    });
    // It has sent the whole request before it has read the greeting.
    socket.on('close', () => names.push(got.toString('utf8', 8).split('\0').slice(0, 2)));
  });
  openFallbacks(host.dirs.run);
  await isRight(t, host);
  await until('all have ended', () => names.length === 3);
  for (const [first, second] of names) {
    t.match(first, /^weft 2 /);
    t.match(second, /^\d+:\d+ $/);
  }
  noted(t, host, ['other']);
});

t.test('an agent that greets in the moment in which it is given up: its end is waited for', async (t) => {
  const host = await makeHost(t);
  let ended = 0;
  const asked = await pretend(t, host, (socket) => {
    setTimeout(() => socket.write(greetingOn(host)), 600);
    setTimeout(() => {
      ended = Date.now();
      socket.destroy();
    }, 5000);
  });
  openFallbacks(host.dirs.run);
  // Between its last look and what makes the greeting impossible, three seconds go by.
  const late = ['-e', 'trace=shutdown', '-e', 'inject=shutdown:delay_enter=3s', '-o', '/dev/null'];
  const env = { CNI_COMMAND: 'VERSION', WEFT_AGENT_WAIT: '200' };
  const { stdout } = await host.exec('strace', [...late, join(BIN, 'bridge')], { env, input: '{}' });
  t.match(JSON.parse(stdout), { supportedVersions: ['0.1.0'] });
  t.equal(asked.calls, 1);
  t.ok(ended > 0, 'not before its end');
  t.equal(fallbackCounts(host.dirs.run).get('broken'), 1);
});

t.test('what the agent had begun is cleared away first', async (t) => {
  const host = await makeHost(t);
  const container = await host.container();
  // A link and a lease of this very attachment, as an ADD that was cut off leaves them.
  await ok(host, 'ADD', { container });
  const name = hostLinkName(NETWORK.name, { containerId: container.id, ifname: 'eth0' });
  await execIn(container.netns, 'ip', ['addr', 'flush', 'dev', 'eth0']);
  t.ok((await links(host.netns)).includes(name));
  await pretend(
    t,
    host,
    afterRequest(greetingOn(host), (socket) => socket.end(frame(FRAME.begins))),
  );
  const { status, stdout, json } = await call(host, 'ADD', { container });
  t.equal(status, 0, stdout);
  t.equal((await leases(host)).length, 1);
  const check = { container, config: { ...NETWORK, prevResult: json } };
  t.equal((await call(host, 'CHECK', check)).status, 0);
});

t.test(
  'before it has begun, a second ADD is refused as ever, and the running container keeps its link',
  async (t) => {
    const host = await makeHost(t);
    const container = await host.container();
    const { json } = await ok(host, 'ADD', { container });
    await pretend(t, host, afterRequest(greetingOn(host), hangUp));
    const again = await call(host, 'ADD', { container });
    t.equal(again.status, 1);
    t.match(again.json, { code: 104 });
    t.equal((await call(host, 'CHECK', { container, config: { ...NETWORK, prevResult: json } })).status, 0);
  },
);

t.test('the answer: exit status, both streams, and a reader that is gone', async (t) => {
  const host = await makeHost(t);
  const answer = Buffer.concat([frame(FRAME.log, 'a line\n'), doneFrame(3, 'out\n')]);
  const pieces = (socket: Socket) => {
    for (let at = 0; at < answer.length; at++)
      setTimeout(() => socket.write(answer.subarray(at, at + 1)), at);
  };
  await pretend(t, host, afterRequest(greetingOn(host), pieces));
  const env = { CNI_COMMAND: 'VERSION' };
  const done = await host.exec(join(BIN, 'bridge'), [], { env, input: '{}', mayFail: true });
  t.same([done.status, done.stdout, done.stderr], [3, 'out', 'a line']);
  const script = '"$1" </dev/null | true; exit $PIPESTATUS';
  const closed = await host.exec('bash', ['-c', script, 'bash', join(BIN, 'bridge')], { env, mayFail: true });
  t.equal(closed.status, 3, 'no signal');
});
