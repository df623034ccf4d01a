/** bridge with `vlan`, `vlanTrunk` and `preserveDefaultVlan`, with packets on a bridge that filters VLANs. */
import t from 'tap';
import { L2, makeWorld, type World } from '../../plugins/world.ts';
import { execIn, ip, makeOutside, OUTSIDE, ping, SILENCE } from '../../support/host.ts';
import { addressing, batch, bothWays, type Json, reference, STATIC, seen } from './support.ts';

const net = (vlan: number, last: number) => ({
  ...{ ...L2, name: `net${vlan}`, vlan },
  ipam: { type: 'static', addresses: [{ address: `10.9.0.${last}/24` }, { address: `fd00:9::${last}/64` }] },
});
const TRUNK = { ...L2, name: 'trunk', vlanTrunk: [{ minID: 100, maxID: 102 }, { id: 200 }] };

/** What `bridge vlan` says of each port: `100 PVID Egress Untagged`. */
async function vlans({ host }: World): Promise<Record<string, string[]>> {
  const { stdout } = await execIn(host.netns, 'bridge', ['-j', 'vlan', 'show']);
  return Object.fromEntries(
    JSON.parse(stdout).map(({ ifname, vlans }: Json) => [
      ifname,
      vlans.map(({ vlan, flags = [] }: Json) => [vlan, ...flags].join(' ')),
    ]),
  );
}

const hostEnd = (result: Json): string => result.interfaces[1].name;

t.test('containers are in the VLANs that the configuration says', async (t) => {
  const world = await makeWorld(t);
  const [a, b, c, d] = [
    await world.container(),
    await world.container(),
    await world.container(),
    await world.container(),
  ];
  const one = await world.add(net(100, 2), a);
  await world.add(net(100, 3), b);
  await world.add(net(200, 4), c);
  const four = await world.add(TRUNK, d);
  await batch(
    d.netns,
    'link add link eth0 name eth0.100 up type vlan id 100',
    'link add link eth0 name eth0.200 up type vlan id 200',
    'link add link eth0 name eth0.201 up type vlan id 201',
    'link add v200 up type vrf table 200',
    'link set eth0.200 master v200',
    'addr add 10.9.0.9/24 dev eth0.100',
    'addr add 10.9.0.9/24 dev eth0.200',
    'addr add fd00:9::9/64 dev eth0.100 nodad',
  );
  for (const address of ['10.9.0.3', 'fd00:9::3'])
    t.ok(await ping(a.netns, address), `${address} in one VLAN`);
  t.notOk(await ping(a.netns, '10.9.0.4', SILENCE), 'not into another');
  for (const address of ['10.9.0.2', 'fd00:9::2'])
    t.ok(await ping(d.netns, address), `a trunk reaches ${address}`);
  t.notOk(await ping(d.netns, '10.9.0.4', SILENCE), 'in that VLAN alone');
  t.equal(
    (await execIn(d.netns, 'ping', '-n -c 1 -w 15 -I v200 10.9.0.4'.split(' '))).status,
    0,
    'and the other in its VLAN',
  );

  const shown = await vlans(world);
  t.same(shown[hostEnd(one)], ['1 Egress Untagged', '100 PVID Egress Untagged']);
  t.same(shown[hostEnd(four)], ['1 PVID Egress Untagged', '100', '101', '102', '200']);
  const [bridge] = await ip(world.host.netns, '-d', 'link', 'show', 'br0');
  t.equal(bridge.linkinfo.info_data.vlan_filtering, 1);

  await t.test('CHECK sees what somebody took away', async (t) => {
    await world.ok('CHECK', net(100, 2), { container: a, prevResult: one });
    await world.ok('CHECK', TRUNK, { container: d, prevResult: four });
    const bridgeVlan = (...words: string[]) => execIn(world.host.netns, 'bridge', ['vlan', ...words]);
    const finds = async (config: object, container: typeof a, prevResult: object, msg: RegExp) =>
      t.match((await world.call('CHECK', config, { container, prevResult })).json, { code: 101, msg });
    await bridgeVlan('add', 'dev', hostEnd(one), 'vid', '100');
    await finds(
      net(100, 2),
      a,
      one,
      /wanted in VLAN 100, for frames without a tag, found VLAN 100 for frames with its tag/,
    );
    await bridgeVlan('del', 'dev', hostEnd(one), 'vid', '100');
    await finds(net(100, 2), a, one, /wanted in VLAN 100, for frames without a tag, found not in it/);
    await bridgeVlan('del', 'dev', hostEnd(four), 'vid', '101-102');
    await finds(TRUNK, d, four, /wanted in VLANs 100 to 102, found not in VLAN 101, 102/);
    await bridgeVlan('del', 'dev', hostEnd(four), 'vid', '200');
    await finds(TRUNK, d, four, /wanted in VLAN 200, found not in VLAN 200/);
  });

  await t.test('without the default VLAN', async (t) => {
    const bare = { preserveDefaultVlan: false };
    await world.ok('DEL', net(100, 2), { container: a });
    await world.ok('DEL', TRUNK, { container: d });
    const again = await world.add({ ...net(100, 2), ...bare }, a);
    const trunk = await world.add({ ...TRUNK, ...bare }, d);
    const shown = await vlans(world);
    t.same(shown[hostEnd(again)], ['100 PVID Egress Untagged']);
    t.same(shown[hostEnd(trunk)], ['100', '101', '102', '200']);
    t.ok(await ping(a.netns, '10.9.0.3'));
  });
  for (const [config, container] of [
    [net(100, 2), a],
    [net(100, 3), b],
    [net(200, 4), c],
    [TRUNK, d],
  ] as const)
    await world.ok('DEL', config, { container });
  t.same(await world.hostLinks(), ['br0']);
});

t.test('a gateway in the VLAN, and out by masquerade', async (t) => {
  const world = await makeWorld(t);
  const outside = await makeOutside(t, world.host);
  const config = {
    ...{ ...L2, name: 'gw', vlan: 100, isDefaultGateway: true, ipMasq: true, macspoofchk: true },
    ipam: { type: 'host-local', ranges: [[{ subnet: '10.9.0.0/24' }], [{ subnet: 'fd00:9::/64' }]] },
  };
  const [a, b, c] = [await world.container(), await world.container(), await world.container()];
  const one = await world.add(config, a);
  const two = await world.add(config, b);
  const other = {
    ...config,
    name: 'gw2',
    vlan: 200,
    ipam: { ...config.ipam, ranges: [[{ subnet: '10.10.0.0/24' }]] },
  };
  await world.add(other, c);
  t.same(
    await world.hostLinks(),
    [
      'br0',
      'br0.100',
      'br0.200',
      hostEnd(one),
      hostEnd(two),
      'uplink',
      ...(await vethOf(world, [one, two])),
    ].sort(),
  );
  for (const address of ['10.9.0.1', 'fd00:9::1', '10.9.0.3', 'fd00:9::3', OUTSIDE.v4, OUTSIDE.v6])
    t.ok(await ping(a.netns, address), `to ${address}`);
  for (const address of ['10.10.0.1', OUTSIDE.v4])
    t.ok(await ping(c.netns, address), `from the other VLAN to ${address}`);
  t.ok(await ping(c.netns, '10.9.0.2'), 'the host routes between the VLANs');
  t.notOk(
    (await ip(outside, 'neigh')).some(({ dst }) => /^10\./.test(dst)),
    'nobody outside hears of the containers',
  );

  await world.ok('CHECK', config, { container: a, prevResult: one });
  await execIn(world.host.netns, 'bridge', 'vlan del dev br0 vid 100 self'.split(' '));
  t.match((await world.call('CHECK', config, { container: a, prevResult: one })).json, {
    ...{ code: 101, msg: /bridge br0 on the host: wanted in VLAN 100, found not in it/ },
  });
  const again = await world.container();
  await world.add(config, again);
  t.ok(await ping(a.netns, '10.9.0.1'), 'the next ADD puts it back');
});

/** Host ends that belong to none of these results. */
async function vethOf(world: World, known: readonly Json[]): Promise<string[]> {
  const names = known.map(hostEnd);
  return (await world.hostLinks()).filter((name) => name.startsWith('veth') && !names.includes(name));
}

t.test('beside containers of the reference, whose gateway in the VLAN is a veth', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const config = {
    ...{ ...L2, cniVersion: '1.0.0', name: 'gw', vlan: 100, isGateway: true },
    ipam: { type: 'host-local', ranges: [[{ subnet: '10.9.0.0/24' }], [{ subnet: 'fd00:9::/64' }]] },
  };
  const theirs = await reference(world, 'ADD', config, { container: a });
  const ours = await world.add(config, b);
  t.match(await seen(world.host.netns, 'br0.100'), { linkinfo: { info_kind: 'veth' } });
  for (const { address } of theirs.ips) t.ok(await ping(b.netns, address.split('/')[0]), `to ${address}`);
  for (const address of ['10.9.0.1', 'fd00:9::1'])
    t.ok(await ping(b.netns, address), `to the gateway ${address}`);
  await world.ok('CHECK', config, { container: a, prevResult: theirs });
  await world.ok('CHECK', config, { container: b, prevResult: ours });
  await world.ok('DEL', config, { container: a, prevResult: theirs });
  await world.ok('DEL', config, { container: b, prevResult: ours });
  t.notOk((await world.hostLinks()).includes(hostEnd(theirs)), 'DEL removes what the reference made');
});

t.test('as the reference does it', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const look = async (result: Json) => {
    const end = hostEnd(result);
    const [{ linkinfo: port }] = await ip(world.host.netns, '-d', 'link', 'show', end);
    const [{ linkinfo: bridge }] = await ip(world.host.netns, '-d', 'link', 'show', 'br0');
    return {
      inside: await seen(container.netns, 'eth0', 'address', 'operstate', 'inet6_addr_gen_mode'),
      addressing: await addressing(container.netns, 'eth0'),
      vlans: (await vlans(world))[end],
      port: ['hairpin', 'isolated', 'learning', 'flood', 'guard'].map((key) => [
        key,
        port.info_slave_data[key],
      ]),
      bridge: ['vlan_filtering', 'vlan_default_pvid', 'vlan_protocol'].map((key) => [
        key,
        bridge.info_data[key],
      ]),
    };
  };
  const config = { ...L2, cniVersion: '1.0.0', vlan: 100, ipam: STATIC };
  const { theirs, ours } = await bothWays(world, config, { container }, look);
  t.same(ours.seen, theirs.seen);
  const plain = ({ interfaces, ...rest }: Json) => ({
    ...rest,
    interfaces: interfaces.map(({ sandbox }: Json) => sandbox),
  });
  t.same(plain(ours.result), plain(theirs.result));
});
