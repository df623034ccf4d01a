/** vlan, with packets on a trunk: what was written without a kernel that has VLANs. */
import t from 'tap';
import { makeWorld } from '../../plugins/world.ts';
import { execIn, ip, leases, links, ping, SILENCE } from '../../support/host.ts';
import { until } from '../../support/until.ts';
import { addressing, addTrunk, batch, bothWays, FAR, farMac, STATIC, seen, whoHas } from './support.ts';

const IPAM = {
  type: 'host-local',
  ranges: [[{ subnet: '10.9.0.0/24' }], [{ subnet: 'fd00:9::/64' }]],
  routes: [
    { dst: '0.0.0.0/0', gw: FAR.v4 },
    { dst: '::/0', gw: FAR.v6 },
  ],
};
const VLAN = { cniVersion: '1.1.0', name: 'lan', type: 'vlan', master: 'lan0', vlanId: 5, ipam: IPAM };

t.test('each container is in its VLAN of the trunk alone', async (t) => {
  const world = await makeWorld(t);
  const far = await addTrunk(world, [5, 6]);
  const [a, b] = [await world.container(), await world.container()];
  // What far knows of the address is old.
  await batch(far.netns, 'neigh replace 10.9.0.2 lladdr 02:00:00:00:ff:ff dev far5 nud stale');
  const one = await world.add(VLAN, a);
  const two = await world.add({ ...VLAN, vlanId: 6 }, b);
  const [lan0] = await ip(world.host.netns, 'link', 'show', 'lan0');
  t.match(one.interfaces, [{ name: 'eth0', mac: lan0.address, mtu: 1500, sandbox: a.netns }]);
  t.equal(one.ips[0].address, '10.9.0.2/24');
  const told = async () => (await whoHas(far.netns, '10.9.0.2', 'dev', 'far5')) === lan0.address;
  t.ok(await until('far has heard of the address', told), 'the address is announced');
  for (const [container, id] of [
    [a, 5],
    [b, 6],
  ] as const) {
    for (const address of [FAR.v4, FAR.v6]) {
      t.ok(await ping(container.netns, address), `VLAN ${id} to ${address}`);
      t.equal(await whoHas(container.netns, address), farMac(id), 'and who answers is in that VLAN');
    }
  }
  t.notOk(await ping(a.netns, two.ips[0].address.split('/')[0], SILENCE), 'not into the other VLAN');
  t.same((await seen(a.netns, 'eth0')).linkinfo, {
    info_kind: 'vlan',
    info_data: { protocol: '802.1Q', id: 5, flags: ['REORDER_HDR'] },
  });

  await world.ok('STATUS', VLAN);
  await world.ok('CHECK', VLAN, { container: a, prevResult: one });
  await batch(a.netns, 'link set eth0 down');
  t.match((await world.call('CHECK', VLAN, { container: a, prevResult: one })).json, {
    msg: /wanted up, found down/,
  });
  await batch(a.netns, 'link set eth0 up');

  await t.test('what cannot be is refused, and nothing is left', async (t) => {
    const c = await world.container();
    const refused = async (more: object, code: number, msg: RegExp) => {
      t.match((await world.call('ADD', { ...VLAN, ...more }, { container: c })).json, { code, msg });
    };
    await refused({}, 104, /VLAN 5 of it is in use already/);
    await refused({ vlanId: 7, mtu: 1501 }, 7, /mtu: found 1501, wanted at most 1500/);
    await refused({ vlanId: 7, master: 'nowhere' }, 7, /found none named nowhere/);
    t.same(await links(c.netns), ['lo']);
    t.same(await leases(world.host), ['lan/10.9.0.2', 'lan/10.9.0.3', 'lan/fd00:9::2', 'lan/fd00:9::3']);
  });

  const valid = [{ containerID: a.id, ifname: 'eth0' }];
  await world.ok('GC', { ...VLAN, 'cni.dev/valid-attachments': valid });
  t.same(await leases(world.host), ['lan/10.9.0.2', 'lan/fd00:9::2'], "GC gives b's addresses back");
  t.ok(await ping(a.netns, FAR.v4), "and leaves a's link alone");
  await world.ok('DEL', VLAN, { container: a });
  t.same(await links(a.netns), ['lo']);
  const again = await world.add({ ...VLAN, mtu: 1400 }, a);
  t.equal(again.interfaces[0].mtu, 1400);
  t.ok(await ping(a.netns, FAR.v4), 'the VLAN is free again');
});

t.test('a VLAN of a link in the container, and a macvlan on a VLAN', async (t) => {
  const world = await makeWorld(t);
  await addTrunk(world, [5, 6]);
  const a = await world.container();
  const macvlan = { cniVersion: '1.1.0', name: 'whole', type: 'macvlan', master: 'lan0' };
  await world.add(macvlan, a, { ifname: 'trunk' });
  const config = { ...VLAN, master: 'trunk', linkInContainer: true };
  const result = await world.add(config, a);
  t.ok(await ping(a.netns, FAR.v4), 'a VLAN of a macvlan');
  t.equal(await whoHas(a.netns, FAR.v4), farMac(5));
  await world.ok('CHECK', config, { container: a, prevResult: result });
  await world.ok('DEL', config, { container: a });
  t.same(await links(a.netns), ['lo', 'trunk']);

  await batch(world.host.netns, 'link add link lan0 name lan0.6 up type vlan id 6');
  const b = await world.container();
  const on = { ...VLAN, name: 'over', type: 'macvlan', master: 'lan0.6', vlanId: undefined };
  await world.add(on, b);
  for (const address of [FAR.v4, FAR.v6]) t.ok(await ping(b.netns, address), 'a macvlan of a VLAN');
  t.equal(await whoHas(b.netns, FAR.v4), farMac(6));
  await world.ok('DEL', on, { container: b });

  const ipvlan = { ...on, name: 'above', type: 'ipvlan' };
  await world.add(ipvlan, b);
  for (const address of [FAR.v4, FAR.v6]) t.ok(await ping(b.netns, address), 'an ipvlan of a VLAN');
  await world.ok('DEL', ipvlan, { container: b });
  t.same(await world.hostLinks(), ['lan0', 'lan0.6']);
});

t.test('as the reference does it', async (t) => {
  const world = await makeWorld(t);
  await addTrunk(world, [5]);
  const container = await world.container();
  const look = async () => ({
    // The state after setting it up is a matter of moments.
    link: await seen(container.netns, 'eth0', 'operstate'),
    ...(await addressing(container.netns, 'eth0')),
  });
  for (const more of [{}, { mtu: 1400 }]) {
    const config = { ...VLAN, ...more, cniVersion: '1.0.0', ipam: STATIC };
    const { theirs, ours } = await bothWays(world, config, { container }, look);
    t.same(ours.result, theirs.result);
    t.same(ours.seen, theirs.seen);
  }
  t.same(
    (await execIn(container.netns, 'ip', ['-o', 'link'])).stdout.split('\n').length,
    1,
    'only lo is left',
  );
});
