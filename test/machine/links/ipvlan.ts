/** ipvlan in its three modes, with packets. */
import t from 'tap';
import { makeWorld } from '../../plugins/world.ts';
import { execIn, ip, leases, links, ping } from '../../support/host.ts';
import { until } from '../../support/until.ts';
import { addressing, addTrunk, batch, bothWays, STATIC, seen, whoHas } from './support.ts';

const IPAM = {
  type: 'host-local',
  ranges: [[{ subnet: '10.9.0.0/24' }], [{ subnet: 'fd00:9::/64' }]],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
};
const IPVLAN = { cniVersion: '1.1.0', name: 'lan', type: 'ipvlan', master: 'lan0', ipam: IPAM };
const bare = (cidr: string) => cidr.split('/')[0] ?? '';

for (const mode of ['l2', 'l3', 'l3s'] as const) {
  t.test(`mode ${mode}`, async (t) => {
    const config = { ...IPVLAN, mode };
    const world = await makeWorld(t);
    const far = await addTrunk(world, []);
    const [a, b] = [await world.container(), await world.container()];
    if (mode === 'l2') {
      await batch(far.netns, 'addr add 10.9.0.1/24 dev lan1', 'addr add fd00:9::1/64 dev lan1 nodad');
      await batch(far.netns, 'neigh replace 10.9.0.2 lladdr 02:00:00:00:ff:ff dev lan1 nud stale');
    } else {
      // The host's link is a router, as far as its neighbours are concerned.
      await batch(
        world.host.netns,
        'addr add 192.0.2.1/24 dev lan0',
        'addr add 2001:db8:9::1/64 dev lan0 nodad',
      );
      await batch(
        far.netns,
        'addr add 192.0.2.2/24 dev lan1',
        'addr add 2001:db8:9::2/64 dev lan1 nodad',
        'route add 10.9.0.0/24 via 192.0.2.1',
        'route add fd00:9::/64 via 2001:db8:9::1',
      );
    }
    const one = await world.add(config, a);
    const two = await world.add(config, b);
    const [lan0] = await ip(world.host.netns, 'link', 'show', 'lan0');
    t.match(one.interfaces, [{ name: 'eth0', mac: lan0.address, mtu: 1500, sandbox: a.netns }]);
    t.match((await seen(a.netns, 'eth0')).linkinfo, { info_kind: 'ipvlan', info_data: { mode } });
    for (const { address } of two.ips) t.ok(await ping(a.netns, bare(address)), `a to b, ${address}`);
    const outside = mode === 'l2' ? ['10.9.0.1', 'fd00:9::1'] : ['192.0.2.2', '2001:db8:9::2'];
    for (const address of outside) t.ok(await ping(a.netns, address), `a to the outside, ${address}`);
    for (const { address } of one.ips)
      t.ok(await ping(far.netns, bare(address)), `the outside to a, ${address}`);
    if (mode === 'l2') {
      const told = async () => (await whoHas(far.netns, '10.9.0.2')) === lan0.address;
      t.ok(await until('far has heard of the address', told), 'the address is announced');
    }
    await world.ok('STATUS', config);
    await world.ok('CHECK', config, { container: a, prevResult: one });
    const another = { ...config, mode: mode === 'l2' ? 'l3' : 'l2' };
    t.match((await world.call('CHECK', another, { container: a, prevResult: one })).json, {
      msg: new RegExp(`wanted mode ${another.mode}, found mode ${mode}`),
    });
    if (mode === 'l2') {
      const c = await world.container();
      const macvlan = await world.call('ADD', { ...IPVLAN, type: 'macvlan' }, { container: c });
      t.match(macvlan.json, { code: 104, msg: /another user has lan0 for itself/ }, 'not beside a macvlan');
      t.same(await links(c.netns), ['lo']);
    }
    await world.ok('GC', { ...config, 'cni.dev/valid-attachments': [{ containerID: b.id, ifname: 'eth0' }] });
    t.same(await leases(world.host), ['lan/10.9.0.3', 'lan/fd00:9::3']);
    for (const container of [a, b]) await world.ok('DEL', config, { container });
    for (const { netns } of [a, b]) t.same(await links(netns), ['lo']);
  });
}

t.test('the link of the default route, and a link in the container', async (t) => {
  const world = await makeWorld(t);
  await addTrunk(world, []);
  await batch(world.host.netns, 'addr add 10.9.0.200/24 dev lan0', 'route add default via 10.9.0.201');
  const a = await world.container();
  const { master: _, ...config } = IPVLAN;
  await world.add({ ...config, mtu: 1400 }, a, { ifname: 'net1' });
  t.match(await seen(a.netns, 'net1'), { mtu: 1400, linkinfo: { info_kind: 'ipvlan' } });
  await world.ok('DEL', config, { container: a, ifname: 'net1' });

  await world.add({ cniVersion: '1.1.0', name: 'whole', type: 'macvlan', master: 'lan0' }, a, {
    ifname: 'trunk',
  });
  const inside = { ...IPVLAN, master: 'trunk', linkInContainer: true };
  const result = await world.add(inside, a);
  await world.ok('CHECK', inside, { container: a, prevResult: result });
  t.match(result.interfaces, [{ name: 'eth0' }]);
  await world.ok('DEL', inside, { container: a });
  t.same(await links(a.netns), ['lo', 'trunk']);
});

t.test('as the reference does it', async (t) => {
  const world = await makeWorld(t);
  await addTrunk(world, []);
  const container = await world.container();
  const look = async () => ({
    link: await seen(container.netns, 'eth0', 'operstate'),
    ...(await addressing(container.netns, 'eth0')),
  });
  for (const more of [{}, { mode: 'l3' }, { mode: 'l3s', mtu: 1400 }]) {
    const config = { ...IPVLAN, ...more, cniVersion: '1.0.0', ipam: STATIC };
    const { theirs, ours } = await bothWays(world, config, { container }, look);
    t.same(ours.result, theirs.result);
    t.same(ours.seen, theirs.seen);
  }
  t.equal(
    (await execIn(container.netns, 'ip', ['-o', 'link'])).stdout.split('\n').length,
    1,
    'only lo is left',
  );
});
