import t from 'tap';
import { hostLinkName } from '../../plan/names.ts';
import {
  execIn,
  firewallLines,
  ip,
  leases,
  links,
  makeOutside,
  OUTSIDE,
  ping,
  UPLINK,
} from '../support/host.ts';
import { join, ROUTED } from './cluster-world.ts';
import { makeWorld } from './world.ts';

t.test('containers reach each other, the host and the world without a bridge', async (t) => {
  const world = await makeWorld(t);
  join(world.host, 'routes');
  await makeOutside(t, world.host);
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

t.test('what goes to other hosts keeps its address, what goes to the world does not', async (t) => {
  const world = await makeWorld(t);
  join(world.host, 'routes');
  const outside = await makeOutside(t, world.host);
  const there = (...args: string[]) => execIn(outside, 'ip', args);
  await there('addr', 'add', '10.244.9.9/32', 'dev', 'lo');
  await there('route', 'add', '10.244.3.0/24', 'via', UPLINK.v4);
  const a = await world.container();
  await world.add(ROUTED, a);
  t.ok(await ping(a.netns, '10.244.9.9'));
  await there('route', 'del', '10.244.3.0/24');
  t.ok(await ping(a.netns, OUTSIDE.v4), 'the world answers the host');
});

t.test('CHECK names each thing that is gone', async (t) => {
  const world = await makeWorld(t);
  join(world.host, 'routes');
  const a = await world.container();
  const prevResult = await world.add(ROUTED, a);
  const dev = hostLinkName('routes', { containerId: a.id, ifname: 'eth0' });
  const breaks: [string, string, string, RegExp][] = [
    [
      world.host.netns,
      'route del 10.244.3.1',
      `route add 10.244.3.1 dev ${dev} scope link`,
      /route 10\.244\.3\.1\/32 on veth\w+ on the host: wanted present, found nothing/,
    ],
    [
      world.host.netns,
      `neigh del fd00:244:0:3::1 dev ${dev}`,
      '',
      /neighbour fd00:244:0:3::1 on veth\w+ on the host: wanted .*, found nothing/,
    ],
    [
      a.netns,
      'neigh change 169.254.1.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent',
      '',
      /neighbour 169\.254\.1\.1 on eth0 in the container: wanted .*, found 02:00:00:00:00:01/,
    ],
    [a.netns, 'route del default', '', /route default via 169\.254\.1\.1 on eth0 in the container/],
  ];
  await world.ok('CHECK', ROUTED, { container: a, prevResult });
  for (const [netns, command, mend, says] of breaks) {
    await execIn(netns, 'ip', command.split(' '));
    const { json } = await world.call('CHECK', ROUTED, { container: a, prevResult });
    t.match(json, { code: 101, msg: says }, command);
    if (mend) await execIn(netns, 'ip', mend.split(' '));
  }
});

t.test('without a membership: try again; what runs is removed and collected all the same', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  t.match((await world.call('ADD', ROUTED, { container: a })).json, {
    code: 11,
    msg: /has not joined network routes/,
  });
  t.match((await world.call('STATUS', ROUTED)).json, { code: 50, msg: /start `weft agent --registry/ });
  t.same(await world.hostLinks(), []);
  join(world.host, 'routes');
  await world.ok('STATUS', ROUTED);
  await world.add(ROUTED, a);
  await world.add(ROUTED, b);
  await world.host.exec('rm', ['-r', `${world.host.dirs.cache}/weft/networks`]);
  await world.ok('GC', { ...ROUTED, 'cni.dev/valid-attachments': [{ containerID: b.id, ifname: 'eth0' }] });
  t.same(await leases(world.host), ['routes/10.244.3.2', 'routes/fd00:244:0:3::2']);
  t.same(await links(a.netns), ['lo']);
  await world.ok('DEL', ROUTED, { container: b });
  t.same(await world.hostLinks(), []);
});
