import t from 'tap';
import { linkMac } from '../../plan/names.ts';
import {
  type Container,
  execIn,
  ip,
  leases,
  links,
  makeOutside,
  OUTSIDE,
  ping,
  UPLINK,
} from '../support/host.ts';
import { until } from '../support/until.ts';
import { BRIDGE, makeWorld, type World } from './world.ts';

const MACVLAN = {
  cniVersion: '1.1.0',
  name: 'lan',
  type: 'macvlan',
  master: 'lan0',
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.5.0.0/24' }], [{ subnet: 'fd00:5::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
};

/** A link with carrier on the host, and `eth0` and `net1`, names that containers have, too. */
async function addLan({ host }: World, mtu = 1500): Promise<void> {
  for (const [name, peer] of [
    ['lan0', 'lan1'],
    ['eth0', 'net1'],
  ]) {
    await execIn(host.netns, 'ip', [
      ...['link', 'add', `${name}`, 'mtu', `${mtu}`, 'up', 'type', 'veth', 'peer', 'name', `${peer}`],
    ]);
    await execIn(host.netns, 'ip', ['link', 'set', `${peer}`, 'up']);
  }
}

const show = async (netns: string, name = 'eth0') => (await ip(netns, '-d', 'link', 'show', name))[0];

t.test('two containers on one link of the host reach each other, over both families', async (t) => {
  const world = await makeWorld(t);
  await addLan(world);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(MACVLAN, a);
  const two = await world.add(MACVLAN, b);
  for (const { address } of two.ips) t.ok(await ping(a.netns, address.split('/')[0]), `to ${address}`);
  for (const { address } of one.ips) t.ok(await ping(b.netns, address.split('/')[0]), `to ${address}`);

  await t.test('the result is what other programs see', async (t) => {
    const link = await show(a.netns);
    t.match(link, {
      linkinfo: { info_kind: 'macvlan', info_data: { mode: 'bridge' } },
      ifalias: `weft lan ${a.id} eth0`,
      address: linkMac('lan', { containerId: a.id, ifname: 'eth0' }, 'container'),
    });
    t.same(one.interfaces, [{ name: 'eth0', mac: link.address, mtu: 1500, sandbox: a.netns }]);
    t.same(
      one.ips.map((entry: { interface: number }) => entry.interface),
      [0, 0],
    );
    const [route] = await ip(a.netns, 'route', 'show', 'default');
    t.match(route, { gateway: '10.5.0.1', dev: 'eth0' });
    t.same(await world.hostLinks(), ['eth0', 'lan0', 'lan1', 'net1'], 'nothing is made on the host');
  });

  await t.test('CHECK sees what is not as ADD made it', async (t) => {
    await world.ok('CHECK', MACVLAN, { container: a, prevResult: one });
    const other = await world.call(
      'CHECK',
      { ...MACVLAN, mode: 'private' },
      { container: a, prevResult: one },
    );
    t.match(other.json, { code: 101, msg: /wanted mode private, found mode bridge/ });
    const elsewhere = { ...MACVLAN, master: 'lan1' };
    const moved = await world.call('CHECK', elsewhere, { container: a, prevResult: one });
    t.match(moved.json, { code: 101, msg: /wanted on link lan1 on the host/ });
    await execIn(a.netns, 'ip', ['addr', 'del', one.ips[0].address, 'dev', 'eth0']);
    const address = await world.call('CHECK', MACVLAN, { container: a, prevResult: one });
    t.match(address.json, {
      code: 101,
      msg: /address 10.5.0.2\/24 on eth0 in the container: wanted present/,
    });
  });

  await t.test('DEL takes all away, twice, and with the namespace gone', async (t) => {
    for (const _ of [1, 2]) await world.ok('DEL', MACVLAN, { container: a, prevResult: one });
    t.same(await links(a.netns), ['lo']);
    await world.ok('DEL', MACVLAN, { container: { id: b.id, netns: '' } });
    t.same(await leases(world.host), []);
    await world.ok('DEL', MACVLAN, { container: b });
    t.same(await links(b.netns), ['lo'], 'also where the first DEL came without the namespace');
  });
});

t.test(
  'a neighbour that remembers an older owner of the address is told at once; twelve at once',
  async (t) => {
    const world = await makeWorld(t);
    await addLan(world);
    const h = world.host.netns;
    const taken = ['10.5.0.2', 'fd00:5::2'];
    await execIn(h, 'ip', ['addr', 'add', '10.5.0.200/24', 'dev', 'lan1']);
    await execIn(h, 'ip', ['addr', 'add', 'fd00:5::200/64', 'dev', 'lan1', 'nodad']);
    for (const address of taken) {
      await execIn(h, 'ip', [
        ...['neigh', 'replace', address, 'dev', 'lan1', 'lladdr', '02:00:00:00:0d:ad', 'nud', 'stale'],
      ]);
    }
    const [{ mac }] = (await world.add(MACVLAN, await world.container())).interfaces;
    await until('both neighbours know the new owner', async () => {
      const known = await ip(h, 'neigh', 'show', 'dev', 'lan1');
      return taken.every((address) => known.some(({ dst, lladdr }) => dst === address && lladdr === mac));
    });
    const many = await Promise.all(Array.from({ length: 12 }, () => world.container()));
    const results = await Promise.all(many.map((container) => world.add(MACVLAN, container)));
    const addresses = results.flatMap(({ ips }) => ips.map(({ address }: { address: string }) => address));
    t.equal(new Set(addresses).size, 24);
    await Promise.all(many.map((container) => world.ok('DEL', MACVLAN, { container })));
    t.equal((await leases(world.host)).length, 2);
  },
);

t.test('modes, without addresses too: private ones do not reach each other', async (t) => {
  const world = await makeWorld(t);
  await addLan(world);
  await execIn(world.host.netns, 'ip', ['addr', 'add', '10.6.0.100/24', 'dev', 'lan1']);
  const attach = async (address: string): Promise<Container> => {
    const container = await world.container();
    const ipam = { type: 'static', addresses: [{ address }] };
    await world.add({ ...MACVLAN, mode: 'private', bcqueuelen: 777, ipam }, container);
    return container;
  };
  const [a, b] = [await attach('10.6.0.1/24'), await attach('10.6.0.2/24')];
  for (const { netns } of [a, b]) t.ok(await ping(netns, '10.6.0.100'), 'each reaches what is on the link');
  // A second is much longer than the ways that exist take.
  const silence = ping(a.netns, '10.6.0.2', 1);
  const { linkinfo } = await show(a.netns);
  t.match(linkinfo.info_data, { mode: 'private', bcqueuelen: 777 });
  for (const mode of ['vepa', 'passthru'] as const) {
    const { ipam: _, ...bare } = { ...MACVLAN, mode, master: mode === 'passthru' ? 'eth0' : 'lan0' };
    const c = await world.container();
    const result = await world.add(bare, c, { ifname: 'net1' });
    const link = await show(c.netns, 'net1');
    t.match(link, { operstate: 'UP', linkinfo: { info_data: { mode } } }, mode);
    t.same(result.ips ?? [], []);
    t.same(result.interfaces, [{ name: 'net1', mac: link.address, mtu: 1500, sandbox: c.netns }]);
    if (mode === 'passthru') {
      t.equal(link.address, (await show(world.host.netns)).address, 'it has the MAC of the link below');
      const more = await world.call('ADD', bare, { container: await world.container() });
      t.match(more.json, { code: 104, msg: /cannot make macvlan eth0 on eth0: .*passthru/ });
    }
    await world.ok('CHECK', bare, { container: c, ifname: 'net1', prevResult: result });
    await world.ok('DEL', bare, { container: c, ifname: 'net1' });
    t.same(await links(c.netns), ['lo']);
  }
  t.notOk(await silence, 'private to private');
});

t.test('the link of the default route, its MTU, and MACs that are asked for', async (t) => {
  const world = await makeWorld(t);
  const outside = await makeOutside(t, world.host);
  const { master: _, ...config } = MACVLAN;
  const a = await world.container();
  await world.add({ ...config, mtu: 1400 }, a);
  t.match(await show(a.netns), { mtu: 1400 });
  await execIn(a.netns, 'ip', ['addr', 'add', '198.51.100.9/24', 'dev', 'eth0']);
  t.ok(await ping(a.netns, OUTSIDE.v4), 'it stands on the uplink');
  t.ok(await ping(outside, '198.51.100.9'));
  const large = await world.call('ADD', { ...config, mtu: 1600 }, { container: await world.container() });
  t.match(large.json, { code: 7, msg: `mtu: found 1600, wanted at most 1500, that of ${UPLINK.name}` });

  const mac = async (extra: object, args?: string) => {
    const c = await world.container();
    await world.add({ ...config, ...extra }, c, args === undefined ? {} : { args });
    return (await show(c.netns)).address;
  };
  t.equal(await mac({ mac: '0A:00:00:00:00:01' }), '0a:00:00:00:00:01');
  t.equal(await mac({ mac: '0a:00:00:00:00:09' }, 'MAC=0a:00:00:00:00:02'), '0a:00:00:00:00:02');
  t.equal(
    await mac({ runtimeConfig: { mac: '0a:00:00:00:00:03' } }, 'MAC=0a:00:00:00:00:09'),
    '0a:00:00:00:00:03',
  );
  const twice = await world.call(
    'ADD',
    { ...config, mac: '0a:00:00:00:00:03' },
    { container: await world.container() },
  );
  t.match(twice.json, { code: 104, msg: /MAC 0a:00:00:00:00:03 is in use on uplink/ });
  t.equal((await leases(world.host)).length, 8, 'the addresses of those that failed are free again');
});

t.test('on a link of the container itself', async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  await world.add({ ...BRIDGE, isDefaultGateway: true }, a);
  const config = { ...MACVLAN, master: '', linkInContainer: true, ipam: {} };
  const result = await world.add(config, a, { ifname: 'net1' });
  t.match(await show(a.netns, 'net1'), { link: 'eth0', linkinfo: { info_kind: 'macvlan' } });
  await world.ok('CHECK', config, { container: a, ifname: 'net1', prevResult: result });
  await world.ok('DEL', config, { container: a, ifname: 'net1' });
  t.same(await links(a.netns), ['eth0', 'lo']);
});

t.test('STATUS and refusals', async (t) => {
  const world = await makeWorld(t);
  const c = await world.container();
  t.match((await world.call('STATUS', MACVLAN)).json, { code: 50, msg: /found none named lan0/ });
  t.match((await world.call('ADD', MACVLAN, { container: c })).json, {
    code: 7,
    msg: /found none named lan0/,
  });
  const { master: _, ...bare } = MACVLAN;
  t.match((await world.call('STATUS', bare)).json, { code: 50, msg: /no default route/ });
  t.match((await world.call('ADD', bare, { container: c })).json, {
    code: 7,
    msg: /no default route on the host/,
  });
  await addLan(world);
  await world.ok('STATUS', MACVLAN);
  t.match((await world.call('STATUS', { ...MACVLAN, mtu: 9000 })).json, { code: 50, msg: /at most 1500/ });
  t.match((await world.call('STATUS', { ...MACVLAN, mode: 'bride' })).json, { code: 7, msg: /mode/ });
  await execIn(world.host.netns, 'ip', ['link', 'add', 'br9', 'type', 'bridge']);
  await execIn(world.host.netns, 'ip', ['link', 'set', 'lan0', 'master', 'br9']);
  const busy = await world.call('ADD', MACVLAN, { container: c });
  t.match(busy.json, { code: 104, msg: /another user has lan0 for itself/ });
  await execIn(world.host.netns, 'ip', ['link', 'set', 'lan0', 'nomaster']);

  await world.add({ ...BRIDGE, name: 'first' }, c);
  t.match((await world.call('ADD', MACVLAN, { container: c })).json, {
    code: 104,
    msg: /has a link eth0 already/,
  });
  await world.ok('DEL', MACVLAN, { container: c });
  t.same(await links(c.netns), ['eth0', 'lo'], 'the DEL that follows leaves what is not its own');
});
