/** Agents of several hosts and one registry: containers reach each other, whatever happens to agents, hosts and registry. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { installConflist } from '../support/conflist.ts';
import { execIn, ip, ping } from '../support/host.ts';
import { weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { BIN, conflist, etcd, makeLab, members, reach, seenAs, WORLD } from './cluster-lab.ts';

const skip = await weftIsMissing();
const STRETCHED = { pools: [{ prefix: '10.244.0.0/16' }, { prefix: 'fd00:244::/64' }] };

for (const [title, plugin] of [
  ['vxlan', { type: 'vxlan' }],
  ['routed', { type: 'routed' }],
] as const) {
  t.test(`${title}: two hosts, both directions, no NAT between them`, { skip }, async (t) => {
    const lab = await makeLab(t);
    const [a, b] = await members(lab, 2, conflist(plugin));
    if (!a || !b) return;
    const [one, two] = await Promise.all([a.add(), b.add()]);
    await reach(one, two);
    t.equal(await seenAs(one.netns, two.netns, two.v4), one.v4);
    t.equal(await seenAs(two.netns, one.netns, one.v6), two.v6);
    t.equal(await seenAs(one.netns, lab.wire, WORLD.v4), a.v4, 'to the world by the name of the host');
    t.equal(one.mtu, { vxlan: 1450, routed: 1500 }[title]);
    t.match(await a.weft('status'), new RegExp(`BETWEEN HOSTS .*\\n *podnet +${title} .* 2 +answers +0\\n`));
    const socket = join(a.dirs.run, 'metrics.sock');
    const metrics = (await a.exec('curl', ['-s', '--unix-socket', socket, 'http://agent/metrics'])).stdout;
    t.match(metrics, /^weft_network_members\{network="podnet"\} 2$/m);
    t.match(metrics, /^weft_registry_up\{network="podnet"\} 1$/m);
    t.match(metrics, /^weft_network_problems\{network="podnet"\} 0$/m);
  });
}

t.test('bgp: routes by sessions, which the agent starts and shows', { skip }, async (t) => {
  const lab = await makeLab(t);
  const [a, b] = await members(lab, 2, conflist({ type: 'routed', backend: 'bgp', bgp: { asn: 64512 } }));
  if (!a || !b) return;
  const [one, two] = await Promise.all([a.add(), b.add()]);
  await reach(one, two);
  t.equal(await seenAs(one.netns, two.netns, two.v4), one.v4);
  const { sessions = [] } = await a.network();
  t.ok(sessions.length > 0 && sessions.every(({ established }) => established));
  t.match(await a.weft('network', 'show', 'podnet'), /BGP NEIGHBOUR[\s\S]*host-2 +192\.0\.2\.2 +Established/);

  // The agent goes; routes stay, and the next one finds the daemon.
  await a.exec('kill', ['-KILL', (await a.exec('cat', [join(a.root, 'agent.pid')])).stdout]);
  t.ok(await ping(one.netns, two.v4));
  await a.agent({ name: 'next' });
  await until('the sessions are known', async () => {
    const { sessions = [], problems } = await a.network();
    return problems.length === 0 && sessions.length > 0 && sessions.every(({ established }) => established);
  });
  t.ok(await ping(one.netns, two.v6));

  await b.weft('net', 'del', 'podnet', two.netns);
  rmSync(join(b.dirs.conf, '10-podnet.conflist'));
  await b.weft('network', 'leave', 'podnet');
  await until('its routes are gone', async () => {
    const routes = [...(await ip(a.netns, 'route')), ...(await ip(a.netns, '-6', 'route'))];
    return routes.filter(({ protocol }) => protocol === 'bird').length === 0;
  });
  await until(
    'its daemon has ended',
    async () => (await b.exec('pgrep', ['-x', 'bird'], { mayFail: true })).stdout === '',
  );
});

t.test('etcd: an outage changes nothing but for hosts that come', { skip }, async (t) => {
  const lab = await makeLab(t);
  const registry = await etcd(t, lab, '?ttl=12&timeout=1');
  const hosts = await members(lab, 2, conflist({ type: 'vxlan' }), registry.location);
  const [a, b] = hosts;
  if (!a || !b) return;
  const [one, two] = await Promise.all([a.add(), b.add()]);
  await reach(one, two);
  const { subnets, validUntil = 0 } = await a.network();
  t.ok(validUntil > Date.now());

  registry.stop();
  await reach(await a.add(), two);
  const late = await lab.host(3);
  await installConflist(late, conflist({ type: 'vxlan' }));
  await late.agent({ registry: registry.location });
  await until('it is said', async () => /192\.0\.2\.254:2379/.test((await late.network()).problems.join()));
  // What the registry does not vouch for any more may be another host's: nobody new gets an address of it.
  const { netns } = await a.container();
  const refused = () =>
    a.exec(join(BIN, 'weft'), ['net', 'add', 'podnet', netns, '--json'], { mayFail: true });
  await until('no more containers come', async () => {
    const { status, stdout } = await refused();
    if (status === 0) await a.weft('net', 'del', 'podnet', netns);
    return status !== 0 && JSON.parse(stdout).code === 11 && /lapsed at/.test(stdout);
  });
  t.ok(await ping(one.netns, two.v4), 'those that run keep their network');

  // An agent that is told to stop waits for nobody.
  const unheard = await lab.host(4);
  await installConflist(unheard, conflist({ type: 'vxlan' }));
  const stopping = await unheard.agent({ registry: registry.location });
  await stopping.signal('TERM');
  await stopping.ended();

  registry.resume();
  await until('they come again', async () => (await refused()).status === 0);
  t.same((await a.network()).subnets, subnets);
  await until('the late one is a member', async () => (await late.network()).joined);
  await reach(one, await late.add());
});

t.test(
  'vxlan-l2: a container keeps its address and MAC when it moves; nothing is flooded',
  { skip },
  async (t) => {
    const lab = await makeLab(t);
    const l2 = { type: 'vxlan', mode: 'l2', vni: 7, capabilities: { ips: true, mac: true }, ...STRETCHED };
    const [a, b] = await members(lab, 2, conflist(l2));
    if (!a || !b) return;
    const [one, two] = await Promise.all([a.add(), b.add()]);
    await reach(one, two);
    t.equal(await seenAs(one.netns, two.netns, two.v4), one.v4);
    t.equal(one.mtu, 1450);
    const mac = '02:00:00:00:77:01';
    const first = await a.add('podnet', '--cap', `mac="${mac}"`);
    await reach(first, two);
    await until('both know where it is', async () => (await b.network()).endpoints === 6);
    const entry = async (netns: string) =>
      (await ip(netns, 'neigh', 'show', first.v4)).map(({ lladdr, dev }) => `${lladdr} ${dev}`).join();
    t.equal(await entry(b.netns), `${mac} weftbr.7`, 'by what the registry says, not by asking');

    // By the cold path, as where an agent is busy; the old container goes later.
    const brought = ['--cap', `mac="${mac}"`, '--cap', `ips=["${first.v4}","${first.v6}"]`];
    const second = await b.add('podnet', ...brought);
    t.match(second, { v4: first.v4, v6: first.v6 });
    await a.exec('ip', [
      'netns',
      'exec',
      first.netns.slice('/run/netns/'.length),
      'ip',
      'link',
      'set',
      'eth0',
      'down',
    ]);
    const owner = async () =>
      (await execIn(a.netns, 'bridge', ['fdb', 'show', 'dev', 'weft.7'])).stdout
        .split('\n')
        .some((line) => line.startsWith(mac) && line.includes(`dst ${b.v4}`));
    await until('a sends its frames to b', owner);
    await until('it is reached where it is', () => ping(one.netns, second.v4));
    await a.weft('net', 'del', 'podnet', first.netns);
    t.ok(await ping(one.netns, second.v4), 'the old one going changes nothing');
    t.ok(await ping(second.netns, one.v6));
    t.notOk(
      (await execIn(a.netns, 'bridge', ['fdb', 'show', 'dev', 'weft.7'])).stdout.includes(
        '00:00:00:00:00:00',
      ),
      'no entry for what is unknown',
    );
  },
);
