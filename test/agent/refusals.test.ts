/** Who is not served is counted, by the reason: in the agent, and in the launchers that took the cold path (docs/metrics.md). */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startAgent } from '../support/agent.ts';
import { type Host, links, makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BIN, byLabel, metrics, NETWORK, ok } from './support.ts';

type Counts = Readonly<Record<string, number>>;

/** Waits until the counts of a metric, by their reason, are as wanted. */
async function expectCounts(host: Host, name: string, wanted: (counts: Counts) => boolean): Promise<void> {
  let counts: Counts = {};
  await until(`${name} is as wanted`, async () => {
    counts = byLabel(await metrics(host), name, 'reason');
    return wanted(counts);
  }).catch((error) => {
    throw new Error(`${name} is ${JSON.stringify(counts)}, not ${wanted}`, { cause: error });
  });
}

const REFUSED = 'weft_callers_refused_total';
const FALLBACKS = 'weft_fallbacks_total';
const sum = (counts: Counts) => Object.values(counts).reduce((all, count) => all + count, 0);

t.test('a stopped agent is silent to its callers, who decline later what it says', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  await agent.signal('STOP');
  t.match((await ok(host, 'VERSION', { env: { WEFT_AGENT_WAIT: '200' } })).json, { cniVersion: /./ });
  await agent.signal('CONT');
  await expectCounts(host, FALLBACKS, (counts) => counts.silent === 1 && sum(counts) === 1);
  // It greets who has gone already, whose process it may or may not find.
  await expectCounts(host, REFUSED, (counts) => (counts.declined ?? 0) + (counts.stranger ?? 0) === 1);
});

t.test('an agent that is killed in the middle of a request has broken it off', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const [container, before] = [await host.container(), await host.container()];
  // Its folder of leases is made.
  await ok(host, 'ADD', { container: before });
  await ok(host, 'DEL', { container: before });
  const [lock, gate] = [join(host.root, 'held'), join(host.root, 'gate')];
  await host.exec('mkfifo', [gate]);
  const hold = ['sh', '-c', 'echo >"$1"; read x <"$2"', 'sh', lock, gate];
  await host.daemon('holder', 'flock', [join(host.dirs.data, NETWORK.name, 'lock'), ...hold]);
  await until('the lock is held', () => stat(lock));
  const waiters = async () => (await host.exec('cat', ['/proc/locks'])).stdout.split('-> FLOCK').length - 1;
  const others = await waiters();
  const added = ok(host, 'ADD', { container });
  await until('the agent waits for it', async () => (await waiters()) > others);
  await agent.signal('KILL');
  await agent.ended();
  await writeFile(gate, 'go\n');
  t.match((await added).json, { ips: [{ address: /^10\.88\.0\.\d+\/16$/ }] });
  t.ok((await links(container.netns)).includes('eth0'));
  await startAgent(host, { bin: BIN, name: 'successor' });
  await expectCounts(host, FALLBACKS, (counts) => counts.broken === 1 && sum(counts) === 1);
  await ok(host, 'DEL', { container });
});

/** Connects so many times to a socket, sends each time a head that announces `announced` bytes and then so many of them, and waits. */
const CROWD = `
const [socket, count, announced, sent] = process.argv.slice(1);
for (let n = 0; n < Number(count); n++) {
  const client = require('node:net').connect(socket);
  client.on('error', () => {});
  const head = Buffer.alloc(8);
  new Uint32Array(head.buffer, head.byteOffset, 2).set([Number(announced), 16]);
  client.write(Buffer.concat([head, Buffer.alloc(Number(sent))]));
}
setTimeout(() => {}, 60_000);
`;

t.test('who is slow, too much, or stands elsewhere is sent away', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const crowd = (name: string, ...numbers: number[]) =>
    host.daemon(name, process.execPath, ['-e', CROWD, agent.socket, ...numbers.map(String)]);

  // In another network namespace, and in another mount namespace. Both do their work all the same.
  const env = { CNI_COMMAND: 'VERSION' };
  for (const kind of ['--net', '--mount']) {
    const { stdout } = await host.exec('unshare', [kind, join(BIN, 'bridge')], { env, input: '{}' });
    t.match(JSON.parse(stdout), { supportedVersions: ['0.1.0'] });
  }
  await expectCounts(host, REFUSED, (counts) => counts.stranger === 2 && sum(counts) === 2);

  // One sends nothing. Four send 20 MiB each but for the last byte: no more than three of them may be held, 64 MiB in all.
  const size = 20 << 20;
  await crowd('idle', 1, size, 0);
  await crowd('much', 4, size, size - 1);
  await expectCounts(host, REFUSED, (counts) => (counts.overload ?? 0) >= 1);
  await ok(host, 'VERSION');
  // Nothing more comes for ten seconds: then the time of all the others is over.
  await expectCounts(
    host,
    REFUSED,
    ({ stranger, overload = 0, slow = 0 }) => stranger === 2 && slow >= 1 && overload + slow === 5,
  );
  await ok(host, 'VERSION');
  t.match(await readFile(join(host.root, 'agent.log'), 'utf8'), /too many requests at once are too long/);
});
