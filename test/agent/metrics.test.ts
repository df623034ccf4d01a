/** Metrics of an agent on a simulated host: requests are made through the executables, and the counts are exact. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { parseExposition, type Sample, select, total } from '../../agent/exposition.ts';
import { startAgent } from '../support/agent.ts';
import { bridgeConflist, installConflist } from '../support/conflist.ts';
import { type Host, makeHost } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { byLabel, metrics } from './support.ts';

const BIN = pluginsUnderTest();
const skip = await weftIsMissing();
const NETWORK = bridgeConflist({ cniVersion: '1.1.0', name: 'podnet' });

const curl = (host: Host, ...args: string[]) =>
  host.exec('curl', ['-s', '--unix-socket', join(host.dirs.run, 'metrics.sock'), ...args], { mayFail: true });

/** `plugin verb code` with its count. */
function requests(samples: readonly Sample[]): Record<string, number> {
  return Object.fromEntries(
    select(samples, 'weft_requests_total').map(({ labels, value }) => [
      `${labels.plugin} ${labels.verb} ${labels.code}`,
      value,
    ]),
  );
}

/** One execution of the bridge plugin as a runtime does it. */
function bridge(
  host: Host,
  command: string,
  container: { id: string; netns: string },
  extra: { bin?: string; conf?: object; env?: Record<string, string> } = {},
) {
  const { bin = BIN, conf = {}, env = {} } = extra;
  const { name, cniVersion, plugins } = NETWORK;
  return host.exec(join(bin, 'bridge'), [], {
    env: {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: container.id, CNI_NETNS: container.netns },
      ...{ CNI_IFNAME: 'eth0', CNI_PATH: bin },
      ...env,
    },
    input: JSON.stringify({ name, cniVersion, ...plugins[0], ...conf }),
    mayFail: true,
  });
}

t.test('every request is counted once, by plugin, verb and code', { skip }, async (t) => {
  const host = await makeHost(t);
  await installConflist(host, NETWORK);
  await startAgent(host, { bin: BIN });
  const containers = [await host.container(), await host.container(), await host.container()] as const;
  const [first, second] = containers;

  await Promise.all(containers.map(async (one) => t.equal((await bridge(host, 'ADD', one)).status, 0)));
  t.equal((await bridge(host, 'ADD', first)).status, 1, 'a second time is a conflict');
  t.equal((await bridge(host, 'DEL', second)).status, 0);
  t.equal((await bridge(host, 'DEL', second)).status, 0);
  t.equal((await bridge(host, 'STATUS', first)).status, 0);
  t.equal((await bridge(host, 'VERSION', first)).status, 0);
  t.equal((await bridge(host, 'NONSENSE', first)).status, 1);
  t.equal((await bridge(host, 'DEL', second, { env: { WEFT_AGENT: 'off' } })).status, 0, 'not by the agent');

  const samples = await until('all are counted', async () => {
    const seen = await metrics(host);
    return total(seen, 'weft_requests_total') >= 9 && total(seen, 'weft_requests_under_way') === 0 && seen;
  });
  t.same(requests(samples), {
    'bridge ADD 0': 3,
    'bridge ADD 104': 1,
    'bridge DEL 0': 2,
    'bridge STATUS 0': 1,
    'bridge VERSION 0': 1,
    'bridge other 4': 1,
  });
  t.equal(total(samples, 'weft_requests_under_way'), 0);
  t.equal(total(samples, 'weft_callers_refused_total'), 0);
  t.equal(total(samples, 'weft_fallbacks_total'), 0, 'nobody fell back: WEFT_AGENT=off is a choice');
  for (const family of ['4', '6']) {
    t.equal(total(samples, 'weft_leases_used', { network: 'podnet', family }), 2, `IPv${family}`);
  }
  // A /24 without network, broadcast and gateway.
  t.equal(total(samples, 'weft_leases_free', { network: 'podnet', family: '4' }), 251);
  const errors = select(samples, 'weft_request_last_error_timestamp_seconds');
  t.same(errors.map(({ labels }) => labels.code).sort(), ['104', '4']);
  for (const { value } of errors) t.ok(Math.abs(Date.now() / 1000 - value) < 600, 'a time of today');

  const add = { plugin: 'bridge', verb: 'ADD' };
  const seconds = (name: string) => total(samples, `weft_request_${name}_seconds_sum`, add);
  for (const name of ['duration', 'kernel']) {
    t.equal(total(samples, `weft_request_${name}_seconds_count`, add), 4);
    t.equal(total(samples, `weft_request_${name}_seconds_bucket`, { ...add, le: '+Inf' }), 4);
  }
  t.ok(seconds('kernel') > 0, 'the kernel takes time');
  t.ok(seconds('kernel') < seconds('duration'), 'but not all of it');
});

t.test('who is not served is counted on both sides', { skip }, async (t) => {
  const host = await makeHost(t);
  const agent = await startAgent(host, { bin: BIN });
  const container = await host.container();
  const other = join(host.root, 'other-build');
  await host.exec('cp', ['-r', BIN, other]);

  t.equal((await bridge(host, 'ADD', container, { bin: other })).status, 0, 'the cold path serves it');
  const relative = { env: { WEFT_CACHE_DIR: 'here' } };
  t.equal((await bridge(host, 'VERSION', container, relative)).status, 0);
  await host.exec('curl', ['-s', '-m', '5', '--unix-socket', agent.socket, 'http://agent/']).catch(() => {});
  const counted = await until('the agent has seen them go', async () => {
    const samples = await metrics(host);
    return total(samples, 'weft_callers_refused_total') >= 3 ? samples : undefined;
  });
  t.same(byLabel(counted, 'weft_callers_refused_total', 'reason'), { declined: 1, request: 1, protocol: 1 });
  t.same(byLabel(counted, 'weft_fallbacks_total', 'reason'), { other: 1, refused: 1 });
  t.same(requests(counted), {});

  // Nobody is there to count; the launcher leaves a note for the next agent.
  await agent.signal('KILL');
  await agent.ended();
  t.equal((await bridge(host, 'DEL', container)).status, 0);
  await startAgent(host, { bin: BIN, name: 'successor' });
  t.same(byLabel(await metrics(host), 'weft_fallbacks_total', 'reason'), { other: 1, refused: 1, absent: 1 });
});

t.test('callers that are slow, too many, or strangers are told apart', { skip }, async (t) => {
  const host = await makeHost(t);
  const { socket } = await startAgent(host, { bin: BIN });
  const node = (script: string) =>
    host.exec(process.execPath, ['-e', `const net = require('net'); ${script}`, socket]);
  // It says nothing until it is sent away, after ten seconds.
  const slow = node(`net.connect(process.argv[1]).on('close', () => process.exit()).resume()`);
  // Four requests of 24 MiB that are not whole: more than the agent holds at once.
  await node(`
    for (let i = 0; i < 4; i++) {
      const head = Buffer.alloc(8);
      head.writeUInt32LE(24 << 20, 0);
      head.writeUInt32LE(16, 4);
      const socket = net.connect(process.argv[1], () => { socket.write(head); socket.write(Buffer.alloc(20 << 20)); });
      socket.on('error', () => {}).on('close', () => process.exit()).resume();
    }`);
  await new Promise<void>((resolve) => {
    connect(join(host.dirs.run, 'agent.sock'))
      .on('error', () => {})
      .on('close', () => resolve())
      .resume();
  });
  await slow;
  const counted = await until('all are counted', async () => {
    const reasons = byLabel(await metrics(host), 'weft_callers_refused_total', 'reason');
    return reasons.slow && reasons.overload && reasons.stranger ? reasons : undefined;
  });
  t.match(counted, { slow: 1, stranger: 1 });
  t.notOk(counted.protocol, 'none of them is taken for something else');
});

t.test('a launcher leaves no trace where there never was an agent', { skip }, async (t) => {
  const host = await makeHost(t);
  const container = await host.container();
  t.equal((await bridge(host, 'VERSION', container)).status, 0);
  t.throws(() => statSync(join(host.dirs.run, 'fallbacks')), { code: 'ENOENT' });
});

t.test('metrics are at a socket for root, and on a loopback port if asked for', { skip }, async (t) => {
  const host = await makeHost(t);
  const weft = join(BIN, 'weft');
  const refused = await host.exec(weft, ['agent', '--metrics', '0.0.0.0:9464'], { mayFail: true });
  t.match(refused, { status: 2, stderr: /loopback/ });
  await host.daemon('agent', weft, ['agent', '--metrics', '127.0.0.1:9464']);
  await until('it listens', () => readFileSync(join(host.root, 'agent.log'), 'utf8').includes('listening'));

  t.equal(statSync(join(host.dirs.run, 'metrics.sock')).mode & 0o777, 0o600);
  const code = async (...args: string[]) => {
    const { stdout } = await curl(host, '-o', '/dev/null', '-w', '%{http_code} %{content_type}', ...args);
    return stdout;
  };
  t.match(await code('http://agent/metrics'), /^200 text\/plain; version=0\.0\.4/);
  t.match(await code('http://agent/'), /^404/);
  t.match(await code('http://agent/metrics/more'), /^404/);
  t.match(await code('-X', 'POST', 'http://agent/metrics'), /^404/);
  const port = await host.exec('curl', ['-s', '--fail', 'http://127.0.0.1:9464/metrics']);
  const [info] = select(parseExposition(port.stdout), 'weft_agent_info');
  t.match(info?.labels, { version: /^\d/, pid: /^\d+$/ });

  // What is written about is what is there.
  const page = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  const documented = [...page.matchAll(/^\| `([a-z]+_[a-z_]+)`/gm)].map(([, name]) => name);
  const served = [...port.stdout.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  t.same(served.sort(), documented.sort());

  await host.exec('kill', [info?.labels.pid ?? '']);
  await until('nobody answers', async () => (await curl(host, 'http://agent/metrics')).status !== 0);
  await until('the socket is gone', () => !existsSync(join(host.dirs.run, 'metrics.sock')));
});
