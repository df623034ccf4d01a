/** BGP on bad days, as agents and containers live through them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { BIN, conflist, type LabHost, makeLab, members, reach } from '../agent/cluster-lab.ts';
import { startAgent } from '../support/agent.ts';
import { installConflist } from '../support/conflist.ts';
import { execIn, ip } from '../support/host.ts';
import { weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';

const skip = await weftIsMissing();
const LIST = conflist({ type: 'routed', backend: 'bgp', bgp: { asn: 64512 } });

/** As `kill` on the host knows it. */
const birdOf = async (host: LabHost) =>
  (await readFile(join(host.dirs.run, 'bird', 'bird.pid'), 'utf8').catch(() => '')).trim();

const established = async (host: LabHost) => {
  const { sessions = [] } = await host.network();
  return sessions.length === 2 && sessions.every((session) => session.established);
};

t.test('BIRD is killed: no packet is lost, and it comes back', { skip }, async (t) => {
  const lab = await makeLab(t);
  const [a, b] = await members(lab, 2, LIST);
  if (!a || !b) return;
  const [one, two] = [await a.add(), await b.add()];
  await reach(one, two);
  await until('all sessions stand', async () => (await established(a)) && (await established(b)));
  const pid = await birdOf(b);
  const pings = execIn(one.netns, 'ping', ['-n', '-q', '-i', '0.1', '-c', '30', two.v4]);
  await b.exec('kill', ['-KILL', pid]);
  await until('another BIRD runs', async () => !['', pid].includes(await birdOf(b)));
  await until('its sessions stand', async () => (await established(a)) && (await established(b)));
  t.match((await pings).stdout, /30 packets transmitted, 30 received/);
  // The agent's next round says so.
  await until('nothing is wrong any more', async () => (await b.network()).problems.length === 0);
  await until('the other host is well', async () => {
    const { stdout } = await a.exec(join(BIN, 'weft'), ['status'], { mayFail: true });
    return /bgp, 2 of 2 sessions[\s\S]*this host is well/.test(stdout);
  });

  // For good: who would start it again goes first.
  await b.exec('sh', ['-c', `kill -KILL $(cat ${b.root}/agent.pid) ${await birdOf(b)}`]);
  const status = () => a.exec(join(BIN, 'weft'), ['status'], { mayFail: true });
  await until('a lost session is told', async () => {
    const { status: code, stdout } = await status();
    return code === 1 && /network podnet: no BGP session with host-2 at 192\.0\.2\.2: \w+/.test(stdout);
  });
});

t.test('a host gets another address: the others follow', { skip }, async (t) => {
  const lab = await makeLab(t);
  const [a, b] = await members(lab, 2, LIST);
  if (!a || !b) return;
  const [one, two] = [await a.add(), await b.add()];
  await reach(one, two);
  await b.exec('ip', ['address', 'del', '192.0.2.2/24', 'dev', 'eth0']);
  await b.exec('ip', ['address', 'add', '192.0.2.22/24', 'dev', 'eth0']);
  await b.exec('ip', ['route', 'replace', 'default', 'via', '192.0.2.254']);
  await until('the route has moved', async () => {
    const [route] = await ip(a.netns, 'route', 'get', two.v4);
    return route.gateway === '192.0.2.22';
  });
  await reach(one, two);
});

t.test('BIRD is missing: the agent says so, and what to do', { skip }, async (t) => {
  const lab = await makeLab(t);
  const host = await lab.host(1);
  await installConflist(host, LIST);
  // Debian has it in /usr/sbin.
  const flags = ['--registry', lab.registry, '--node', host.node];
  await startAgent(host, { bin: BIN, flags, env: { PATH: '/usr/bin:/bin' } });
  const problem = await until('it is said', async () => (await host.network()).problems[0]);
  t.match(problem, /bird, .* does not start: it is not installed \(Debian: bird2\)/);
  // A container would have its address, and no way to the other hosts.
  const status = await host.exec(join(BIN, 'weft'), ['net', 'status', 'podnet'], { mayFail: true });
  t.equal(status.status, 1);
  t.match(status.stderr, /bird2/);
});
