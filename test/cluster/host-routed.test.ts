/** Routes between hosts without a tunnel, and what a host's kernel says of its place among others. */
import t from 'tap';
import { overlaps, underlayAddresses } from '../../cluster/host/underlay.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import { ip, ping } from '../support/host.ts';
import { until } from '../support/until.ts';
import { container, makeWire, reaches, reconcile, run, stateOf, vxlanNetwork } from './wire.ts';

const { vxlan: _, ...shared } = vxlanNetwork();
const network: ClusterNetwork = { ...shared, backend: 'routed' };

t.test('containers of hosts on one subnet reach each other by plain routes', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2)] as const;
  const [one] = hosts;
  const [running] = await run(t, network, hosts, stateOf(hosts));
  const containers = await Promise.all(
    hosts.map((host, i) =>
      container(t, host, {
        addresses: [`10.244.${i + 1}.5/24`, `fd00:244:0:${i + 1}::5/64`],
        gateways: [`10.244.${i + 1}.1/24`, `fd00:244:0:${i + 1}::1/64`],
        mtu: 1500,
      }),
    ),
  );
  t.equal(running?.reports[0]?.mtu, 1500);
  t.ok(await reaches(containers[0] ?? '', '10.244.2.5'));
  t.ok(await reaches(containers[0] ?? '', 'fd00:244:0:2::5'));

  t.test('routes come back, and those of containers and of others are left alone', async (t) => {
    // As plugins/routed has them: inside of the host's own subnet.
    await one.ip('route add 10.244.1.77/32 dev br0 proto 119', 'route add 10.244.9.0/24 via 192.0.2.9');
    await one.ip('route del 10.244.2.0/24');
    await until(
      'the route is back',
      async () => (await ip(one.netns, 'route', 'show', '10.244.2.0/24')).length === 1,
    );
    await running?.reconciler.look();
    const routes = await ip(one.netns, 'route');
    t.same(routes.map(({ dst }) => dst).sort(), [
      ...['10.244.1.0/24', '10.244.1.0/24', '10.244.1.77', '10.244.2.0/24', '10.244.9.0/24', '192.0.2.0/24'],
    ]);
    t.match(running?.corrections, [{ what: [/^route to 10\.244\.2\.0\/24 via 192\.0\.2\.2 dev eth0$/] }]);
  });

  t.test('a link that was down', async (t) => {
    await one.ip('link set eth0 down');
    await one.ip('link set eth0 up');
    await until('the routes are back', () => ping(containers[0] ?? '', '10.244.2.5'));
    await running?.reconciler.remove();
    const left = await ip(one.netns, 'route', 'show', 'proto', '119');
    t.same(
      left.map(({ dst }) => dst),
      ['10.244.1.77'],
    );
  });
});

t.test('a host behind a router cannot be reached by plain routes', async (t) => {
  const wire = await makeWire(t);
  const one = await wire.host(1);
  const far = { host: 'far', addresses: ['198.51.100.3'], subnets: ['10.244.3.0/24'] };
  const { reconciler, failures } = reconcile(t, network, one.member, one.door);
  await reconciler.update({ members: [one.member, far], endpoints: [] });
  t.match(failures, [
    {
      network: 'blue',
      reason: /10\.244\.3\.0\/24 of host far .* 198\.51\.100\.3 is in no subnet of this host/,
    },
  ]);
});

t.test('routes of a host that overlap with a network', async (t) => {
  const wire = await makeWire(t);
  const host = await wire.host(1);
  const ns = await host.door.open();
  t.teardown(() => ns.close());
  const pools = ['10.244.0.0/16', 'fd00:244::/48'];
  t.same(await overlaps(ns, pools), []);
  await host.ip(
    'route add default via 192.0.2.254',
    'route add 10.0.0.0/8 via 192.0.2.9',
    'route add 10.244.7.0/24 via 192.0.2.9 proto bird',
    'route add 10.244.8.7/32 dev eth0',
    'route add fd00:244:0:8::/64 via 2001:db8::9',
    'link add br0 type bridge',
    'addr add 10.244.1.1/24 dev br0',
    'link set br0 up',
  );
  await reconcile(t, vxlanNetwork(), host.member, host.door).reconciler.update(
    stateOf([host, await wire.host(2)]),
  );
  t.same(
    (await overlaps(ns, pools, ['10.244.1.0/24', 'fd00:244:0:1::/64'])).map(({ route }) => route),
    [
      '10.0.0.0/8 via 192.0.2.9 dev eth0',
      '10.244.8.7 dev eth0',
      'fd00:244:0:8::/64 via 2001:db8::9 dev eth0',
    ],
  );
  t.match(
    await overlaps(ns, ['10.244.1.0/24'], [], ['br0']),
    [{ dst: '10.0.0.0/8' }],
    'a link of the network',
  );
  t.match(await overlaps(ns, ['10.244.1.0/24']), [
    { dst: '10.0.0.0/8' },
    { dst: '10.244.1.0/24', route: '10.244.1.0/24 dev br0' },
  ]);
});

t.test('by which addresses a host is reached', async (t) => {
  const wire = await makeWire(t);
  const host = await wire.host(1);
  const ns = await host.door.open();
  t.teardown(() => ns.close());
  const both = ['192.0.2.1', '2001:db8::1'];
  t.same(await underlayAddresses(ns), both, 'those of its only link');
  await host.ip(
    'link add cni0 type bridge',
    'addr add 10.244.1.1/24 dev cni0',
    'link set cni0 up',
    'link add other type veth peer name rehto',
    'addr add 198.51.100.1/24 dev other',
    'link set rehto up',
    'link set other up',
  );
  t.same(await underlayAddresses(ns), [], 'of two links, nobody can tell');
  t.same(await underlayAddresses(ns, ['eth0']), both);
  t.same(await underlayAddresses(ns, ['198.51.100.1', '2001:db8::1']), ['198.51.100.1', '2001:db8::1']);
  await host.ip('route add default via 192.0.2.254');
  t.same(await underlayAddresses(ns), ['192.0.2.1'], "those of the default route's link");
  await host.ip('route add default via 2001:db8::fe');
  t.same(await underlayAddresses(ns), both);
  await t.rejects(underlayAddresses(ns, ['203.0.113.1']), {
    message:
      /wanted 203\.0\.113\.1 as this host's address, found 192\.0\.2\.1 on eth0, .*198\.51\.100\.1 on other/,
  });
});
