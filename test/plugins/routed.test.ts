import t from 'tap';
import { hostLinkName } from '../../plan/names.ts';
import { firewallLines, ip, leases, links, makeOutside, OUTSIDE, ping, UPLINK } from '../support/host.ts';
import { join, ROUTED } from './cluster-world.ts';
import { makeWorld } from './world.ts';

t.test('containers reach each other, the host and the world without a bridge', async (t) => {
  const world = await makeWorld(t);
  join(world.host, 'routes');
  const outside = await makeOutside(t, world.host);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(ROUTED, a);
  const two = await world.add(ROUTED, b);
  t.same(
    two.ips.map(({ address, gateway }: { address: string; gateway: string }) => [address, gateway]),
    [
      ['10.244.3.2/32', '169.254.1.1'],
      ['fd00:244:0:3::2/128', 'fe80::1'],
    ],
  );
  for (const target of ['10.244.3.2', 'fd00:244:0:3::2', UPLINK.v4, UPLINK.v6, OUTSIDE.v4, OUTSIDE.v6]) {
    t.ok(await ping(a.netns, target), `container to ${target}`);
  }
  for (const target of ['10.244.3.1', 'fd00:244:0:3::2'])
    t.ok(await ping(world.host.netns, target), `host to ${target}`);
  t.equal(outside.length > 0, true);

  t.test('what the host and the container have', async (t) => {
    const dev = hostLinkName('routes', { containerId: a.id, ifname: 'eth0' });
    const [route] = await ip(world.host.netns, 'route', 'show', 'dev', dev);
    t.match(route, { dst: '10.244.3.1', scope: 'link' });
    const six = await ip(world.host.netns, '-6', 'route', 'show', 'fd00:244:0:3::1');
    t.match(six[0], { dst: 'fd00:244:0:3::1', dev });
    const neighbours = await ip(world.host.netns, 'neigh', 'show', 'dev', dev, 'nud', 'permanent');
    t.same(neighbours.map(({ dst }) => dst).sort(), ['10.244.3.1', 'fd00:244:0:3::1']);
    const inside = await ip(a.netns, 'neigh', 'show', 'nud', 'permanent');
    t.same(inside.map(({ dst }) => dst).sort(), ['169.254.1.1', 'fe80::1']);
    t.equal((await ip(a.netns, 'link', 'show', 'eth0'))[0].mtu, 1450);
    t.match(
      (await ip(a.netns, 'route')).map(({ dst, gateway }) => `${dst} ${gateway ?? 'link'}`),
      ['default 169.254.1.1', '169.254.1.1 link'],
    );
  });

  t.test('CHECK, then DEL leaves nothing', async (t) => {
    await world.ok('CHECK', ROUTED, { container: a, prevResult: one });
    await world.ok('DEL', ROUTED, { container: a, prevResult: one });
    await world.ok('DEL', ROUTED, { container: b });
    t.same(await world.hostLinks(), ['uplink']);
    t.same(await links(a.netns), ['lo']);
    t.same(await leases(world.host), []);
    t.same(await firewallLines(world.host.netns, '10.244.3.1', '10.244.3.2', 'fd00:244:0:3::1'), []);
  });
});
