/** dummy: its whole life. The reference has no such plugin before Debian 13. */
import t from 'tap';
import { makeWorld } from '../../plugins/world.ts';
import { leases, links, ping } from '../../support/host.ts';
import { addressing, batch, seen } from './support.ts';

const DUMMY = {
  cniVersion: '1.1.0',
  name: 'service',
  type: 'dummy',
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.9.0.0/24' }], [{ subnet: 'fd00:9::/64' }]],
    routes: [{ dst: '198.51.100.0/24' }],
  },
};

t.test('ADD, CHECK, STATUS, GC, DEL', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  await world.ok('STATUS', DUMMY);
  const one = await world.add(DUMMY, a);
  await world.add(DUMMY, a, { ifname: 'net1' });
  const two = await world.add(DUMMY, b);
  const link = await seen(a.netns, 'eth0');
  t.match(link, { linkinfo: { info_kind: 'dummy' }, address: one.interfaces[0].mac });
  t.ok(link.flags.includes('UP'));
  for (const { address } of one.ips) t.ok(await ping(a.netns, address.split('/')[0]), `${address} answers`);
  const { addresses, routes } = await addressing(a.netns, 'eth0');
  t.same(addresses, ['10.9.0.2/24', 'fd00:9::2/64']);
  t.match(routes, [
    { dst: '10.9.0.0/24' },
    { dst: '198.51.100.0/24', gateway: '10.9.0.1' },
    { dst: 'fd00:9::/64' },
  ]);

  await world.ok('CHECK', DUMMY, { container: a, prevResult: one });
  const finds = async (msg: RegExp) =>
    t.match((await world.call('CHECK', DUMMY, { container: a, prevResult: one })).json, { code: 101, msg });
  await batch(a.netns, 'addr del 10.9.0.2/24 dev eth0');
  await finds(/10\.9\.0\.2\/24.*wanted present/);
  await batch(a.netns, 'link del eth0', 'link add eth0 up type ifb');
  await finds(/wanted kind dummy, found kind ifb/);
  await world.ok('DEL', DUMMY, { container: a });
  t.ok((await links(a.netns)).includes('eth0'), 'DEL leaves what is not ours');
  await batch(a.netns, 'link del eth0');

  const valid = [{ containerID: b.id, ifname: 'eth0' }];
  await world.ok('GC', { ...DUMMY, 'cni.dev/valid-attachments': valid });
  t.same(
    await leases(world.host),
    two.ips.map(({ address }: { address: string }) => `service/${address.split('/')[0]}`).sort(),
  );
  await world.ok('DEL', DUMMY, { container: a, ifname: 'net1' });
  await world.ok('DEL', DUMMY, { container: { id: b.id, netns: '' } });
  t.same(await links(a.netns), ['lo']);
  t.same(await leases(world.host), []);
});
