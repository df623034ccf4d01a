import t from 'tap';
import { hostLinkName, linkMac } from '../../plan/names.ts';
import { exec, execIn, ip, leases, links, ping, SILENCE } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BRIDGE, L2, makeWorld } from './world.ts';

t.test('two containers reach each other and the host, over both families, at once', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(BRIDGE, a);
  const two = await world.add(BRIDGE, b);
  const address = (result: { ips: { address: string }[] }, i: number) =>
    result.ips[i]?.address.split('/')[0] ?? '';
  t.same(
    one.ips.map((entry: { address: string }) => entry.address),
    ['10.1.0.2/24', 'fd00:1::2/64'],
  );
  for (const target of [address(two, 0), address(two, 1), '10.1.0.1', 'fd00:1::1']) {
    t.ok(await ping(a.netns, target), `container to ${target}`);
  }
  for (const target of [address(one, 0), address(two, 1)]) t.ok(await ping(world.host.netns, target));

  t.test('the result is what other programs see', async (t) => {
    const name = hostLinkName('mynet', { containerId: a.id, ifname: 'eth0' });
    const [host] = await ip(world.host.netns, '-d', 'link', 'show', name);
    const [bridge] = await ip(world.host.netns, 'link', 'show', 'br0');
    const [inside] = await ip(a.netns, 'link', 'show', 'eth0');
    t.same(one.interfaces, [
      { name: 'br0', mac: bridge.address, mtu: 1500 },
      { name, mac: host.address, mtu: 1500 },
      { name: 'eth0', mac: inside.address, mtu: 1500, sandbox: a.netns },
    ]);
    t.equal(host.master, 'br0');
    t.equal(host.ifalias, `weft mynet ${a.id} eth0`);
    t.same(
      one.ips.map((entry: { interface: number }) => entry.interface),
      [2, 2],
    );
    t.equal(one.ips[0].gateway, '10.1.0.1');
  });

  t.test('CHECK holds, DEL takes all away but what is shared, twice', async (t) => {
    await world.ok('CHECK', BRIDGE, { container: a, prevResult: one });
    for (const _ of [1, 2]) await world.ok('DEL', BRIDGE, { container: a, prevResult: one });
    await world.ok('DEL', BRIDGE, { container: b, prevResult: two });
    t.same(await world.hostLinks(), ['br0']);
    t.same(await links(a.netns), ['lo']);
    t.same(await leases(world.host), []);
  });
});

t.test('a neighbour that remembers an older owner of the address is told at once', async (t) => {
  const world = await makeWorld(t);
  await world.add(BRIDGE, await world.container());
  const taken = ['10.1.0.3', 'fd00:1::3'];
  for (const address of taken) {
    await execIn(world.host.netns, 'ip', [
      ...['neigh', 'replace', address, 'dev', 'br0', 'lladdr', '02:00:00:00:0d:ad', 'nud', 'stale'],
    ]);
  }
  const result = await world.add(BRIDGE, await world.container());
  t.same(
    result.ips.map(({ address }: { address: string }) => address.split('/')[0]),
    taken,
  );
  const { mac } = result.interfaces[2];
  const known = async () =>
    (await ip(world.host.netns, 'neigh', 'show', 'dev', 'br0'))
      .filter(({ dst }: { dst: string }) => taken.includes(dst))
      .map(({ lladdr }: { lladdr: string }) => lladdr);
  await until('both neighbours know the new owner', async () =>
    (await known()).every((found) => found === mac),
  );
  t.same(await known(), [mac, mac]);
});

t.test('the bridge keeps its MAC while ports come and go; they have no addresses', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const mac = async () => (await ip(world.host.netns, 'link', 'show', 'br0'))[0].address;
  await world.add(BRIDGE, a);
  const before = await mac();
  await world.add(BRIDGE, b);
  const ports = (await ip(world.host.netns, 'addr')).filter(({ master }) => master === 'br0');
  t.same(
    ports.map(({ operstate, addr_info }) => ({ operstate, addr_info })),
    [0, 1].map(() => ({ operstate: 'UP', addr_info: [] })),
  );
  await world.ok('DEL', BRIDGE, { container: a });
  await world.ok('DEL', BRIDGE, { container: b });
  t.equal(await mac(), before);
});

t.test('a network of layer 2 has links and no addresses', async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  const result = await world.add(L2, a);
  t.same(result.ips ?? [], []);
  t.equal((await ip(a.netns, 'link', 'show', 'eth0'))[0].operstate, 'UP');
  await world.ok('CHECK', L2, { container: a, prevResult: result });
  await world.ok('DEL', L2, { container: a, prevResult: result });
  t.same(await links(a.netns), ['lo']);
});

t.test('disableContainerInterface leaves the inner end down', async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  await world.add({ ...L2, disableContainerInterface: true }, a);
  t.notOk((await ip(a.netns, 'link', 'show', 'eth0'))[0].flags.includes('UP'));
  const both = await world.call('ADD', { ...BRIDGE, disableContainerInterface: true }, { container: a });
  t.equal(both.json.code, 7);
});

t.test('port options: hairpin, isolation, promiscuous bridge', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const config = { ...BRIDGE, hairpinMode: true, portIsolation: true };
  const one = await world.add(config, a);
  const two = await world.add(config, b);
  const name = hostLinkName('mynet', { containerId: a.id, ifname: 'eth0' });
  const [port] = await ip(world.host.netns, '-d', 'link', 'show', name);
  t.match(port.linkinfo.info_slave_data, { hairpin: true, isolated: true });
  t.notOk(
    await ping(a.netns, two.ips[0].address.split('/')[0], SILENCE),
    'isolated ports do not reach each other',
  );
  t.ok(await ping(a.netns, '10.1.0.1'), 'but the bridge');
  await world.ok('CHECK', config, { container: a, prevResult: one });
  await exec('ip', [
    'netns',
    'exec',
    world.host.name,
    'bridge',
    'link',
    'set',
    'dev',
    name,
    'hairpin',
    'off',
  ]);
  const check = await world.call('CHECK', config, { container: a, prevResult: one });
  t.match(check.json, { code: 101, msg: /hairpin on, found hairpin off/ });

  const promiscuous = { ...L2, bridge: 'br1', promiscMode: true };
  await world.add(promiscuous, a, { ifname: 'eth1' });
  t.ok((await ip(world.host.netns, 'link', 'show', 'br1'))[0].flags.includes('PROMISC'));
  const both = await world.call('ADD', { ...promiscuous, hairpinMode: true }, { container: b });
  t.match(both.json, { code: 7, msg: /hairpinMode and promiscMode/ });
});

t.test("MTU: asked for, else the bridge's, else that of the default route", async (t) => {
  const world = await makeWorld(t);
  const h = world.host.netns;
  await execIn(h, 'ip', ['link', 'add', 'up0', 'mtu', '1400', 'up', 'type', 'veth', 'peer', 'name', 'up1']);
  await execIn(h, 'ip', ['link', 'set', 'up1', 'up']);
  await execIn(h, 'ip', ['addr', 'add', '192.0.2.2/24', 'dev', 'up0']);
  await execIn(h, 'ip', ['route', 'add', 'default', 'via', '192.0.2.1']);
  const [a, b] = [await world.container(), await world.container()];
  const mtu = async (netns: string, name: string) => (await ip(netns, 'link', 'show', name))[0].mtu;
  const inherited = await world.add(BRIDGE, a);
  t.equal(await mtu(a.netns, 'eth0'), 1400);
  t.equal(await mtu(h, 'br0'), 1400);
  t.equal(inherited.interfaces[2].mtu, 1400);
  await world.add({ ...BRIDGE, mtu: 1300 }, b);
  t.equal(await mtu(b.netns, 'eth0'), 1300);
  await world.ok('DEL', BRIDGE, { container: a });
  await world.ok('DEL', BRIDGE, { container: b });
  t.equal(await mtu(h, 'br0'), 1400, 'without ports, too');
});

t.test('MAC: derived, or by CNI_ARGS, args and runtimeConfig, the last of them first', async (t) => {
  const world = await makeWorld(t);
  const mac = async (config: object, args?: string) => {
    const c = await world.container();
    await world.add({ ...L2, ...config }, c, args === undefined ? {} : { args });
    return [(await ip(c.netns, 'link', 'show', 'eth0'))[0].address, c.id];
  };
  const [derived, id] = await mac({});
  t.equal(derived, linkMac('l2net', { containerId: id, ifname: 'eth0' }, 'container'));
  t.equal((await mac({}, 'MAC=0A:00:00:00:00:01'))[0], '0a:00:00:00:00:01');
  const args = { args: { cni: { mac: '0a:00:00:00:00:02' } } };
  t.equal((await mac(args, 'MAC=0a:00:00:00:00:01'))[0], '0a:00:00:00:00:02');
  const runtimeConfig = { mac: '0a:00:00:00:00:03' };
  t.equal((await mac({ ...args, runtimeConfig }, 'MAC=0a:00:00:00:00:01'))[0], '0a:00:00:00:00:03');
  const bad = await world.call('ADD', L2, { container: await world.container(), args: 'MAC=zz' });
  t.match(bad.json, { code: 4, msg: /MAC is "zz"/ });
});

t.test('isDefaultGateway adds default routes, and keeps those that IPAM gave', async (t) => {
  const world = await makeWorld(t);
  const config = { ...BRIDGE, isGateway: false, isDefaultGateway: true };
  const bare = { ...config, ipam: { ...BRIDGE.ipam, routes: [] } };
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(bare, a);
  t.same(one.routes, [
    { dst: '0.0.0.0/0', gw: '10.1.0.1' },
    { dst: '::/0', gw: 'fd00:1::1' },
  ]);
  t.equal((await ip(a.netns, 'route', 'show', 'default'))[0].gateway, '10.1.0.1');
  t.equal((await ip(a.netns, '-6', 'route', 'show', 'default'))[0].gateway, 'fd00:1::1');
  await world.add(config, b);
  t.equal((await ip(b.netns, 'route', 'show', 'default')).length, 1);
});

t.test('route attributes reach the kernel', async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  const routes = [
    { dst: '192.0.2.0/24', mtu: 1300, advmss: 1200, priority: 77 },
    { dst: '198.51.100.0/24', gw: '10.1.0.9', table: 100 },
    { dst: '203.0.113.0/24', scope: 253 },
  ];
  const config = { ...BRIDGE, ipam: { ...BRIDGE.ipam, routes } };
  const result = await world.add(config, a);
  const [first] = await ip(a.netns, '-d', 'route', 'show', '192.0.2.0/24');
  t.match(first, { gateway: '10.1.0.1', metric: 77, metrics: [{ mtu: 1300, advmss: 1200 }] });
  const [second] = await ip(a.netns, 'route', 'show', 'table', '100');
  t.match(second, { dst: '198.51.100.0/24', gateway: '10.1.0.9' });
  const [third] = await ip(a.netns, 'route', 'show', '203.0.113.0/24');
  t.equal(third.scope, 'link');
  t.equal(third.gateway, undefined);
  await world.ok('CHECK', config, { container: a, prevResult: result });
  await execIn(a.netns, 'ip', ['route', 'del', '198.51.100.0/24', 'table', '100']);
  const check = await world.call('CHECK', config, { container: a, prevResult: result });
  t.match(check.json, { code: 101, msg: /route 198.51.100.0\/24 via 10.1.0.9 on eth0 in the container/ });
});

t.test('one container joins one network twice, under two names', async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  await world.add(BRIDGE, a);
  await world.add(BRIDGE, a, { ifname: 'net1' });
  t.same(await links(a.netns), ['eth0', 'lo', 'net1']);
  await world.ok('DEL', BRIDGE, { container: a, ifname: 'net1' });
  t.same(await links(a.netns), ['eth0', 'lo']);
  t.equal((await leases(world.host)).length, 2);
});
