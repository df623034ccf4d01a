/** dhcp on bridges with real servers: leases got, kept by the agent, given back. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { type RunningAgent, startAgent } from '../support/agent.ts';
import { type DhcpServer, makeSegment } from '../support/dhcp-server.ts';
import { type Container, exec, type Host, ip, links, makeHost, ping } from '../support/host.ts';
import { REFERENCE } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { BIN, byLabel, type CallOptions, call, metrics, ok } from './support.ts';

// Each has a host of its own, and waits most of the time.
t.jobs = 3;

const FLAGS = ['--log-level', 'debug'];
const lan = (bridge: string, more: object = {}) => ({
  ...{ cniVersion: '1.1.0', name: `lan-${bridge}`, type: 'bridge', bridge },
  ipam: { type: 'dhcp', ...more },
});

/** Leases as they are kept. */
async function kept(host: Host): Promise<Record<string, unknown>[]> {
  const folder = join(host.dirs.run, 'dhcp');
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'));
  return await Promise.all(names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8'))));
}

const hex = (text: string) => `00${Buffer.from(text).toString('hex')}`.replace(/(..)(?=.)/g, '$1:');
const times = async (server: DhcpServer, words: RegExp) =>
  (await server.log()).filter((line) => words.test(line)).length;
const addressOf = ({ json }: { json: { ips: { address: string }[] } }) =>
  json.ips[0]?.address.split('/')[0] ?? '';

t.test('without an agent there is no lease', { buffered: true }, async (t) => {
  const host = await makeHost(t);
  await makeSegment(host, 'br0');
  const container = await host.container();
  const before = await links(host.netns);
  const added = await call(host, 'ADD', { container, config: lan('br0') });
  t.match(added.json, { code: 11, msg: /no agent renews the DHCP leases .*run "weft agent"/ });
  t.match(await call(host, 'STATUS', { config: lan('br0') }), { json: { code: 50, msg: /weft agent/ } });
  t.same([await links(host.netns), await links(container.netns)], [before, ['lo']], 'nothing is left');
  t.same(await kept(host), []);
});

t.test('dnsmasq', { buffered: true }, async (t) => {
  const host = await makeHost(t);
  const segment = await makeSegment(host, 'br0');
  const options = [
    '--dhcp-option=3,10.7.0.1',
    '--dhcp-option=26,1400',
    '--dhcp-option=6,10.7.0.1',
    '--dhcp-option=15,lan.example',
    '--dhcp-option=121,0.0.0.0/0,10.7.0.1,192.0.2.0/24,10.7.0.2',
    // Renewed after three seconds, though the server gives out no leases below two minutes.
    '--dhcp-option-force=58,3',
    '--dhcp-option-force=59,8',
  ];
  const config = lan('br0', { provide: [{ option: 'host-name', fromArg: 'K8S_POD_NAME' }], priority: 50 });
  let server = await segment.start('dnsmasq', ['--dhcp-range=10.7.0.50,10.7.0.99,2m', ...options]);
  let agent: RunningAgent = await startAgent(host, { bin: BIN, flags: FLAGS });
  // Nobody answers on this bridge; its ADD ends while the rest goes on.
  const deserted = await makeSegment(host, 'br9', 'server9');
  t.ok(deserted.netns);
  const lonely = await host.container();
  const began = Date.now();
  const cold = { WEFT_AGENT: 'off' };
  const unanswered = call(host, 'ADD', { container: lonely, config: lan('br9'), env: cold }).then(
    (answer) => ({
      ...answer,
      took: Date.now() - began,
    }),
  );

  const containers = [await host.container(), await host.container(), await host.container()] as const;
  const [one, two, three] = containers;
  const named = (name: string): CallOptions => ({
    config,
    env: { CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAME=${name}` },
  });
  const results = await Promise.all([
    ok(host, 'ADD', { ...named('web-1'), container: one }),
    ok(host, 'ADD', { ...named('web-2'), container: two }),
    // The cold path gets a lease as well, which the agent keeps.
    ok(host, 'ADD', {
      ...named('web-3'),
      container: three,
      env: { ...named('web-3').env, WEFT_AGENT: 'off' },
    }),
  ]);
  const addresses = results.map(addressOf);
  t.equal(new Set(addresses).size, 3, 'each has an address of its own');
  const [first = '', second = '', third = ''] = addresses;
  t.match(results[0].json, {
    ips: [{ address: `${first}/24`, gateway: '10.7.0.1', interface: 2 }],
    routes: [
      { dst: '0.0.0.0/0', gw: '10.7.0.1', mtu: 1400, priority: 50 },
      { dst: '192.0.2.0/24', gw: '10.7.0.2', mtu: 1400, priority: 50 },
    ],
    dns: { nameservers: ['10.7.0.1'], domain: 'lan.example' },
  });
  t.match(await ip(one.netns, '-4', 'address', 'show', 'eth0'), [
    { addr_info: [{ local: first, prefixlen: 24 }] },
  ]);
  t.match(await ip(one.netns, 'route', 'show', '192.0.2.0/24'), [{ gateway: '10.7.0.2', metric: 50 }]);
  t.ok(await ping(one.netns, '10.7.0.1'), 'the server is reached');
  t.ok(await ping(one.netns, second), 'and the other container');
  const [mac = ''] = (await ip(one.netns, 'link', 'show', 'eth0')).map(({ address }) => address);
  await until('the server has written its leases', async () => {
    const list = (await server.leases()).split('\n');
    return list.some((line) => line.endsWith(`${mac} ${first} web-1 ${hex(`${one.id}/lan-br0/eth0`)}`));
  });
  await ok(host, 'CHECK', { container: one, config: { ...config, prevResult: results[0].json } });

  t.test('an address that is asked for is that or none', async (t) => {
    const asking = await host.container();
    const ask = (address: string): CallOptions => ({
      container: asking,
      config,
      env: { CNI_ARGS: `IP=${address}` },
    });
    const taken = await call(host, 'ADD', ask(first));
    t.match(taken.json, { code: 11, msg: new RegExp(`offers 10.7.0.*, not ${first}, which was asked for`) });
    t.same(await links(asking.netns), ['lo'], 'nothing is left');
    t.equal(addressOf(await ok(host, 'ADD', ask('10.7.0.88'))), '10.7.0.88');
    await ok(host, 'DEL', ask('10.7.0.88'));
    await until('the server hears of it', () => times(server, /DHCPRELEASE\(eth0\) 10\.7\.0\.88 /));
  });

  const renewals = (address: string) => times(server, new RegExp(`DHCPACK\\(eth0\\) ${address} `));
  await until('all are renewed', async () => {
    return (await Promise.all(addresses.map(renewals))).every((count) => count >= 2);
  });

  t.test('after kill -9 the next agent goes on', async (t) => {
    await agent.signal('KILL');
    await agent.ended();
    const before = await Promise.all(addresses.map(renewals));
    agent = await startAgent(host, { bin: BIN, flags: FLAGS, name: 'agent-2' });
    await until('all are renewed again', async () => {
      const now = await Promise.all(addresses.map(renewals));
      return now.every((count, n) => count > (before[n] ?? 0));
    });
    t.match(byLabel(await metrics(host), 'weft_dhcp_leases', 'state'), { bound: 3 });
  });

  t.test('DEL and GC give leases back', async (t) => {
    await ok(host, 'DEL', { container: three, config });
    await until('released', () => times(server, new RegExp(`DHCPRELEASE\\(eth0\\) ${third} `)));
    t.equal((await kept(host)).length, 2);
    await ok(host, 'DEL', { container: three, config });
    const valid = [{ containerID: one.id, ifname: 'eth0' }];
    await ok(host, 'GC', { config: { ...config, 'cni.dev/valid-attachments': valid } });
    t.match(await kept(host), [{ containerId: one.id, address: `${first}/24` }]);
    await ok(host, 'CHECK', { container: one, config: { ...config, prevResult: results[0].json } });
  });

  t.test('an address that the server does not give again is lost', async (t) => {
    await server.stop();
    server = await segment.start('dnsmasq', [
      '--dhcp-range=10.7.0.150,10.7.0.199,2m',
      '--dhcp-authoritative',
      ...options,
    ]);
    const lost = async () =>
      (await agent.log()).find(({ level, msg }) => level === 'error' && /^DHCP address lost/.test(`${msg}`));
    t.match(await until('the loss is told', lost), { address: `${first}/24`, containerId: one.id });
    t.match(byLabel(await metrics(host), 'weft_dhcp_leases', 'state'), { lost: 1 });
    const checked = await call(host, 'CHECK', {
      container: one,
      config: { ...config, prevResult: results[0].json },
    });
    t.match(checked.json, { code: 101, msg: /the DHCP server took .* back/ });
    t.match(await ip(one.netns, '-4', 'address', 'show', 'eth0'), [{ addr_info: [{ local: first }] }]);
    await server.stop();
    server = await segment.start('dnsmasq', ['--dhcp-range=10.7.0.50,10.7.0.99,2m', ...options]);
    await until('it is given again', async () => (await kept(host))[0]?.lost === undefined);
    await ok(host, 'CHECK', { container: one, config: { ...config, prevResult: results[0].json } });
  });

  t.test('DEL with the namespace gone', async (t) => {
    await exec('ip', ['netns', 'del', one.id]);
    await ok(host, 'DEL', { container: { id: one.id, netns: '' }, config });
    t.same(await kept(host), []);
    t.equal(await times(server, /DHCPRELEASE/), 0, 'the lease ends by itself');
    await exec('ip', ['netns', 'add', one.id]);
  });

  const { json, took } = await unanswered;
  t.match(json, { code: 11, msg: /no DHCP lease: no DHCP server answered within 15 s/ });
  t.ok(took >= 15_000, `which took ${took} ms`);
  t.same(await links(lonely.netns), ['lo'], 'nothing is left where no server is');
});

t.test('udhcpd, macvlan, and a bridge of others', { buffered: true }, async (t) => {
  const host = await makeHost(t);
  const segment = await makeSegment(host, 'br0');
  const server = await segment.start('udhcpd', ['option router 10.7.0.1', 'option lease 6']);
  const agent = await startAgent(host, { bin: BIN, flags: FLAGS });
  const [ours, theirs, third] = [await host.container(), await host.container(), await host.container()];
  const config = lan('br0');
  const macvlan = { ...config, name: 'mac', type: 'macvlan', master: 'br0' };
  const [one, two, three] = await Promise.all([
    ok(host, 'ADD', { container: ours, config }),
    ok(host, 'ADD', {
      container: theirs,
      config: { ...config, cniVersion: '1.0.0' },
      bin: REFERENCE,
      env: { CNI_PATH: BIN },
    }),
    ok(host, 'ADD', { container: third, config: macvlan }),
  ]);
  const pairs: [Container, string][] = [
    [ours, addressOf(one)],
    [theirs, addressOf(two)],
    [third, addressOf(three)],
  ];
  t.equal(new Set(pairs.map(([, address]) => address)).size, 3);
  for (const [container, address] of pairs) {
    t.match(address, /^10\.7\.0\.[5-9]\d$/);
    t.ok(await ping(container.netns, '10.7.0.1'));
    t.match(await server.leases(), address, 'the server has it in its list');
    await until(`${address} is renewed`, async () => {
      const renewed = (await agent.log()).filter(
        ({ msg, containerId }) => msg === 'DHCP lease renewed' && containerId === container.id,
      );
      return renewed.length >= 2;
    });
  }
  await ok(host, 'CHECK', { container: third, config: { ...macvlan, prevResult: three.json } });
  await ok(host, 'DEL', { container: ours, config });
  await ok(host, 'DEL', { container: third, config: macvlan });
  await ok(host, 'DEL', {
    container: theirs,
    config: { ...config, cniVersion: '1.0.0' },
    bin: REFERENCE,
    env: { CNI_PATH: BIN },
  });
  t.same(await kept(host), []);
});

t.test('an address that somebody has without a lease', { buffered: true }, async (t) => {
  const host = await makeHost(t);
  const segment = await makeSegment(host, 'br0');
  await startAgent(host, { bin: BIN, flags: FLAGS });
  const server = await segment.start('dnsmasq', [
    '--dhcp-range=10.7.0.60,10.7.0.61,2m',
    '--dhcp-sequential-ip',
  ]);
  const { id, netns } = await host.container();
  await exec(
    'ip',
    ['-n', host.netns.slice('/run/netns/'.length), 'link', 'add', 'squat', 'up', 'master', 'br0'].concat([
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      id,
    ]),
  );
  for (const line of ['addr add 10.7.0.60/24 dev eth0', 'link set eth0 up'])
    await exec('ip', ['-n', id, ...line.split(' ')]);
  await until('the squatter is heard', () => ping(segment.netns, '10.7.0.60'));
  t.ok(netns);
  const config = lan('br0');
  const first = await ok(host, 'ADD', { container: await host.container(), config });
  t.equal(addressOf(first), '10.7.0.61', 'the other one');
  t.equal(await times(server, /DHCPDECLINE\(eth0\) 10\.7\.0\.60/), 1, 'the server is told');
});
