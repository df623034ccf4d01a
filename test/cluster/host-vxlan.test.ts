/** Tunnels between hosts' subnets (L3): packets, and what other programs see. */
import t from 'tap';
import { NetworkReconciler } from '../../cluster/host/reconciler.ts';
import { checksumOffload } from '../../netlink/offload.ts';
import { exec, execIn, ip, links, type Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';
import {
  container,
  makeWire,
  reaches,
  reconcile,
  run,
  stateOf,
  tcp,
  vxlanNetwork,
  type WiredHost,
} from './wire.ts';

/** The fifth address of a host's first subnets. */
function containerOn(t: Teardown, host: WiredHost, number: number, mtu = 1450): Promise<string> {
  return container(t, host, {
    addresses: [`10.244.${number}.5/24`, `fd00:244:0:${number}::5/64`],
    gateways: [`10.244.${number}.1/24`, `fd00:244:0:${number}::1/64`],
    mtu,
  });
}

t.test('containers of three hosts reach each other through tunnels', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2), await wire.host(3)] as const;
  const [first] = await run(t, vxlanNetwork(), hosts, stateOf(hosts));
  const containers = await Promise.all(hosts.map((host, i) => containerOn(t, host, i + 1)));
  t.same(first?.failures, []);
  t.match(first?.reports, [{ mtu: 1450, problems: [] }]);
  for (const [i, from] of containers.entries()) {
    for (const number of [1, 2, 3].filter((other) => other !== i + 1)) {
      t.ok(await reaches(from, `10.244.${number}.5`), `${i + 1} to ${number}`);
      t.ok(await reaches(from, `fd00:244:0:${number}::5`), `${i + 1} to ${number}, IPv6`);
    }
  }
  const [one] = hosts;
  t.ok(await reaches(one.netns, '10.244.2.5'), 'a host reaches the containers of others');
  t.ok(await reaches(one.netns, 'fd00:244:0:2::5'));
  await tcp(containers[0] ?? '', containers[1] ?? '', '10.244.2.5');
  await tcp(containers[0] ?? '', containers[1] ?? '', 'fd00:244:0:2::5');

  t.test(
    'with one route and one neighbour of each family, and one FDB entry, for each of the others',
    async (t) => {
      const remote = { dev: 'weft42' };
      const routes = await ip(one.netns, 'route', 'show', 'proto', '119');
      t.match(routes, [
        { type: 'unreachable', dst: '10.244.1.0/24' },
        { dst: '10.244.2.0/24', gateway: '10.244.2.0', flags: ['onlink'], ...remote },
        { dst: '10.244.3.0/24', gateway: '10.244.3.0', flags: ['onlink'], ...remote },
      ]);
      t.equal(routes.length, 3);
      t.equal((await ip(one.netns, '-6', 'route', 'show', 'proto', '119')).length, 3);
      const neighbours = await ip(one.netns, 'neigh', 'show', 'dev', 'weft42', 'nud', 'permanent');
      t.same(
        neighbours
          .map(({ dst }) => dst)
          .filter((dst) => !dst.includes(':'))
          .sort(),
        ['10.244.2.0', '10.244.3.0'],
      );
      t.equal(neighbours.length, 4);
      const fdb = JSON.parse(
        (await execIn(one.netns, 'bridge', ['-j', 'fdb', 'show', 'dev', 'weft42'])).stdout,
      );
      t.same(fdb.map(({ dst }: { dst: string }) => dst).sort(), ['192.0.2.2', '192.0.2.3']);
    },
  );

  t.test('an address that no container has is unreachable at once', async (t) => {
    await one.ip('addr flush dev br0');
    const answer = await execIn(containers[1] ?? '', 'ping', ['-n', '-c', '1', '-W', '5', '10.244.1.77'], {
      mayFail: true,
    });
    t.match(answer.stdout, /Destination Host Unreachable/);
  });
});

t.test('the MTU follows the underlay', async (t) => {
  const wire = await makeWire(t, 9000);
  const hosts = [await wire.host(1), await wire.host(2)] as const;
  const [first] = await run(t, vxlanNetwork(), hosts, stateOf(hosts));
  t.equal(first?.reports[0]?.mtu, 8950);
  const big = (from: string, size: number, seconds: number) =>
    execIn(
      from,
      'ping',
      ['-n', '-q', '-c', '1', '-w', `${seconds}`, '-M', 'do', '-s', `${size}`, '10.244.2.5'],
      {
        mayFail: true,
      },
    );
  const [one] = await Promise.all(hosts.map((host, i) => containerOn(t, host, i + 1, 8950)));
  t.equal((await big(one ?? '', 8950 - 28, 5)).status, 0, 'the largest packet fits');
  t.not((await big(one ?? '', 8950 - 27, 1)).status, 0, 'and none larger');
  await hosts[0].ip('link set eth0 mtu 4000');
  await until('the device follows its uplink', async () => {
    const [device] = await ip(hosts[0].netns, 'link', 'show', 'weft42');
    return device.mtu === 3950 && first?.reports.at(-1)?.mtu === 3950;
  });
});

t.test('an MTU that was asked for counts as far as it fits', async (t) => {
  const wire = await makeWire(t);
  const host = await wire.host(1);
  for (const [mtu, found] of [
    [1300, 1300],
    [1500, 1450],
  ]) {
    const { reconciler } = reconcile(t, vxlanNetwork({}, { mtu: mtu as number }), host.member, host.door);
    t.equal((await reconciler.update(stateOf([host]))).mtu, found);
  }
});

t.test('an underlay of IPv6', async (t) => {
  const wire = await makeWire(t);
  const hosts = [
    await wire.host(1, { addresses: ['2001:db8::1/64'] }),
    await wire.host(2, { addresses: ['2001:db8::2/64'] }),
  ] as const;
  const [first] = await run(t, vxlanNetwork(), hosts, stateOf(hosts));
  const [one, two] = await Promise.all(hosts.map((host, i) => containerOn(t, host, i + 1, 1430)));
  t.equal(first?.reports[0]?.mtu, 1430);
  t.ok(await reaches(one ?? '', '10.244.2.5'));
  t.ok(await reaches(two ?? '', 'fd00:244:0:1::5'));
  await tcp(one ?? '', two ?? '', '10.244.2.5');
});

t.test('hosts on one subnet may do without the tunnel', async (t) => {
  const wire = await makeWire(t);
  const far = { addresses: ['198.51.100.3/24', '2001:db8:1::3/64'] };
  const hosts = [await wire.host(1), await wire.host(2), await wire.host(3, far)] as const;
  const [one, , three] = hosts;
  // The wire routes as well as it switches.
  const gateways = ['192.0.2.254/24', '198.51.100.254/24', '2001:db8::fe/64', '2001:db8:1::fe/64'];
  for (const cidr of gateways) await execIn(wire.netns, 'ip', ['addr', 'add', cidr, 'dev', 'wire', 'nodad']);
  await execIn(wire.netns, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  for (const host of hosts) {
    await host.ip(
      `route add default via ${host === three ? '198.51.100.254' : '192.0.2.254'}`,
      `route add default via ${host === three ? '2001:db8:1::fe' : '2001:db8::fe'}`,
    );
  }
  await run(t, vxlanNetwork({ directRoutes: true }), hosts, stateOf(hosts));
  const routes = await ip(one.netns, 'route', 'show', 'proto', '119');
  t.match(routes, [
    { type: 'unreachable' },
    { dst: '10.244.2.0/24', gateway: '192.0.2.2', dev: 'eth0' },
    { dst: '10.244.3.0/24', gateway: '10.244.3.0', dev: 'weft42' },
  ]);
  const containers = await Promise.all(hosts.map((host, i) => containerOn(t, host, i + 1)));
  for (const number of [2, 3]) {
    t.ok(await reaches(containers[0] ?? '', `10.244.${number}.5`));
    t.ok(await reaches(containers[0] ?? '', `fd00:244:0:${number}::5`));
  }
});

t.test('checksum offload is switched off where it is asked for', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2)] as const;
  const [first] = await run(t, vxlanNetwork({ checksumOffload: false }), hosts, stateOf(hosts));
  const ns = await hosts[0].door.open();
  t.teardown(() => ns.close());
  t.equal(await checksumOffload(ns, 'weft42'), false);
  const [one, two] = await Promise.all(hosts.map((host, i) => containerOn(t, host, i + 1)));
  await tcp(one ?? '', two ?? '', '10.244.2.5');
  t.equal((await first?.reconciler.look())?.changes, 0);
});

t.test(
  'an agent that starts again changes nothing, and removes what belongs to hosts that left',
  async (t) => {
    const wire = await makeWire(t);
    const hosts = [await wire.host(1), await wire.host(2), await wire.host(3)] as const;
    const [one] = hosts;
    const [before] = await run(t, vxlanNetwork(), [one], stateOf(hosts));
    await before?.reconciler.close();
    const [{ ifindex }] = (await ip(one.netns, 'link', 'show', 'weft42')) as [{ ifindex: number }];
    const { reconciler, reports, corrections } = reconcile(t, vxlanNetwork(), one.member, one.door);
    await reconciler.update(stateOf(hosts));
    t.equal(reports[0]?.changes, 0);
    await reconciler.update(stateOf(hosts.slice(0, 2)));
    t.equal(reports[1]?.changes, 5, 'two routes, two neighbours, one FDB entry');
    t.same(corrections, []);
    const routes = await ip(one.netns, 'route', 'show', 'proto', '119');
    t.same(
      routes.map(({ dst }) => dst),
      ['10.244.1.0/24', '10.244.2.0/24'],
    );
    t.match(await ip(one.netns, 'link', 'show', 'weft42'), [{ ifindex }], 'the device is the same');

    t.test('remove() takes everything away, and nothing else', async (t) => {
      await one.ip(
        'route add 10.244.9.0/24 via 192.0.2.9',
        'route add 203.0.113.0/24 via 192.0.2.9 proto 119',
      );
      await reconciler.remove();
      t.same(await links(one.netns), ['eth0', 'lo']);
      const left = await ip(one.netns, 'route');
      t.same(left.map(({ dst }) => dst).sort(), ['10.244.9.0/24', '192.0.2.0/24', '203.0.113.0/24']);
      await new NetworkReconciler({
        ...{ door: one.door, network: vxlanNetwork(), self: one.member },
        hooks: { corrected: () => {}, failed: () => {} },
      }).remove();
    });
  },
);

t.test('a changed host address', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2)] as const;
  const [one, two] = hosts;
  const [r1, r2] = await run(t, vxlanNetwork(), hosts, stateOf(hosts));
  const containers = await Promise.all(hosts.map((host, i) => containerOn(t, host, i + 1)));
  t.ok(await reaches(containers[0] ?? '', '10.244.2.5'));
  await two.ip('addr del 192.0.2.2/24 dev eth0', 'addr add 192.0.2.22/24 dev eth0');
  await until('the lost address is told of', () => r2?.failures.length === 1);
  t.match(
    r2?.failures[0]?.reason,
    /192\.0\.2\.2 is this host's address in the registry, and on none of its links/,
  );
  const moved = { ...two.member, addresses: ['192.0.2.22', '2001:db8::2'] };
  const state = { members: [one.member, moved], endpoints: [] };
  const told = await Promise.all([r1?.reconciler.update(state), r2?.reconciler.update(state)]);
  t.equal(told[0]?.changes, 1, 'one FDB entry changes at the other host');
  t.same(told[1]?.problems, []);
  t.ok(await reaches(containers[0] ?? '', '10.244.2.5'));
  t.ok(await reaches(containers[1] ?? '', 'fd00:244:0:1::5'));
});

t.test('a VNI in use, and a name in use', async (t) => {
  const wire = await makeWire(t);
  const host = await wire.host(1);
  await host.ip('link add flannel.1 type vxlan id 42 dstport 4789 local 192.0.2.1');
  const { reconciler, failures } = reconcile(t, vxlanNetwork(), host.member, host.door);
  const { problems } = await reconciler.update(stateOf([host]));
  t.same(problems, [
    'VNI 42 on UDP port 4789 is in use by flannel.1 (vxlan): remove it, or choose another vni or port',
  ]);
  t.same(await links(host.netns), ['eth0', 'flannel.1', 'lo']);
  await host.ip('link del flannel.1', 'link add weft42 type bridge');
  await until('the next obstacle is told of', () => failures.length === 2);
  t.match(
    failures[1]?.reason,
    /wanted a VXLAN device weft42, found a link of that name that is not ours: weft42 \(bridge\)/,
  );
  await host.ip('link del weft42');
  await until(
    'it is made as soon as it can be',
    async () => (await ip(host.netns, '-d', 'link', 'show', 'weft42'))[0],
  );
});

t.test('a route of somebody else is never replaced', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2), await wire.host(3)] as const;
  const [one] = hosts;
  await one.ip('route add 10.244.2.0/24 via 192.0.2.9', 'route add fd00:244:0:2::/64 via 2001:db8::9');
  const [first] = await run(t, vxlanNetwork(), [one], stateOf(hosts));
  t.match(first?.failures, [
    {
      reason:
        /wanted route to 10\.244\.2\.0\/24 via 10\.244\.2\.0 dev weft42, found a route that is not ours: 10\.244\.2\.0\/24 via 192\.0\.2\.9 dev eth0/,
    },
    { reason: /found a route that is not ours: fd00:244:0:2::\/64 via 2001:db8::9 dev eth0/ },
  ]);
  t.match(await ip(one.netns, 'route', 'get', '10.244.2.5'), [{ gateway: '192.0.2.9' }]);
  t.match(await ip(one.netns, 'route', 'get', '10.244.3.5'), [{ dev: 'weft42' }], 'the others are there');
  await one.ip('route del 10.244.2.0/24', 'route del fd00:244:0:2::/64');
  await until('ours take their place', async () => {
    const [four] = await ip(one.netns, 'route', 'get', '10.244.2.5');
    const [six] = await ip(one.netns, '-6', 'route', 'get', 'fd00:244:0:2::5');
    return four.dev === 'weft42' && six.dev === 'weft42';
  });
});

t.test('two networks of one host leave each other alone', async (t) => {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2)] as const;
  const [one] = hosts;
  const pools = [{ prefix: '10.245.0.0/16', blockLength: 24 }];
  const red = vxlanNetwork({ vni: 43, device: 'weft43' }, { name: 'red', pools });
  const { vxlan: _, ...routed } = vxlanNetwork(
    {},
    { name: 'green', pools: [{ prefix: '10.246.0.0/16', blockLength: 24 }] },
  );
  const networks = [vxlanNetwork(), red, { ...routed, backend: 'routed' as const }];
  const held = (pool: number) => ({
    members: hosts.map(({ member }, i) => ({ ...member, subnets: [`10.${pool}.${i + 1}.0/24`] })),
    endpoints: [],
  });
  const all = networks.map((network) => reconcile(t, network, one.member, one.door));
  for (const [i, { reconciler }] of all.entries()) {
    t.same((await reconciler.update(held(244 + i))).problems, []);
  }
  for (const { reconciler } of all) t.equal((await reconciler.look()).changes, 0);
  t.same(
    all.flatMap(({ corrections }) => corrections),
    [],
  );
  await all[0]?.reconciler.remove();
  const left = await ip(one.netns, 'route', 'show', 'proto', '119');
  t.same(
    left.map(({ dst }) => dst),
    ['10.245.1.0/24', '10.245.2.0/24', '10.246.1.0/24', '10.246.2.0/24'],
  );
  const same = reconcile(t, { ...red, name: 'blue' }, one.member, one.door);
  t.match((await same.reconciler.update(held(245))).problems, [
    /wanted a VXLAN device weft43, found a link of that name that is not ours: weft43 \(vxlan, "weft red"\)/,
  ]);
});

t.test('what is printed makes what we make', async (t) => {
  const { render } = await import('../../cluster/host/render.ts');
  const { desiredState } = await import('../../cluster/host/desired.ts');
  const { difference } = await import('../../cluster/host/difference.ts');
  const { lookAtHost } = await import('../../cluster/host/actual.ts');
  const { readUplinks } = await import('../../cluster/host/underlay.ts');
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2)] as const;
  const [{ door, member, netns }] = hosts;
  const endpoints = [
    { address: '10.244.2.5', mac: '02:00:00:00:00:05', host: 'host-2' },
    { address: 'fd00:244:0:2::5', mac: '02:00:00:00:00:05', host: 'host-2' },
  ];
  const ns = await door.open();
  t.teardown(() => ns.close());
  for (const network of [vxlanNetwork(), vxlanNetwork({ bridge: 'br42', device: 'weft43', vni: 43 })]) {
    const uplinks = await readUplinks(ns, member.addresses);
    const wanted = desiredState(network, member, { ...stateOf(hosts), endpoints }, uplinks);
    await exec('nsenter', [`--net=${netns}`, 'sh', '-e', '-c', render(wanted).join('\n')]);
    const { state } = await lookAtHost(ns, network, member);
    t.same(difference(wanted, state), []);
    const { reconciler } = reconcile(t, network, member, door);
    await reconciler.update({ members: [], endpoints: [] });
    await reconciler.remove();
  }
});
