/** Kinds of links that a kernel may lack: seen at work where it has them, refused in words where it has not. */
import t from 'tap';
import { probeKind } from '../../netlink/link-kinds.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { execIn, ip, leases, links, ping } from '../support/host.ts';
import { L2, makeWorld, type World } from './world.ts';

const IPAM = {
  type: 'host-local',
  ranges: [[{ subnet: '10.9.0.0/24' }], [{ subnet: 'fd00:9::/64' }]],
};
const BASE = { cniVersion: '1.1.0', name: 'probed', ipam: IPAM };
const CONFIGS = {
  ipvlan: { ...BASE, type: 'ipvlan', master: 'lan0' },
  vlan: { ...BASE, type: 'vlan', master: 'lan0', vlanId: 5 },
  dummy: { ...BASE, type: 'dummy' },
  vrf: { cniVersion: '1.1.0', name: 'probed', type: 'vrf', vrfname: 'blue' },
};
const OPTIONS = {
  ipvlan: 'CONFIG_IPVLAN',
  vlan: 'CONFIG_VLAN_8021Q',
  dummy: 'CONFIG_DUMMY',
  vrf: 'CONFIG_NET_VRF',
};
type Kind = keyof typeof CONFIGS;

async function missing(): Promise<Set<string>> {
  const host = await openDoor().open();
  const kinds = Object.keys(CONFIGS);
  const answers = await host.send(...kinds.map(probeKind));
  host.close();
  return new Set(
    kinds.filter((_, i) => {
      const answer = answers[i];
      return answer?.ok === false && answer.error.errno === 'EOPNOTSUPP';
    }),
  );
}

const MISSING = await missing();
/** For tap's `skip`. */
const without = (kind: Kind) => MISSING.has(kind) && `this kernel has no ${kind} (${OPTIONS[kind]})`;

async function addLan({ host }: World): Promise<void> {
  const add = ['link', 'add', 'lan0', 'up', 'type', 'veth', 'peer', 'name', 'lan1'];
  await execIn(host.netns, 'ip', add);
  await execIn(host.netns, 'ip', ['link', 'set', 'lan1', 'up']);
}

const addressOf = ({ ips }: { ips: { address: string }[] }, i: number) => `${ips[i]?.address.split('/')[0]}`;

t.test(
  'what the kernel lacks is named, and nothing is left',
  { skip: MISSING.size === 0 && 'this kernel has all' },
  async (t) => {
    const world = await makeWorld(t);
    await addLan(world);
    const c = await world.container();
    const prevResult = await world.add({ ...L2, bridge: 'br0' }, c, { ifname: 'net1' });
    for (const kind of ['ipvlan', 'vlan', 'dummy', 'vrf'] as const) {
      if (!MISSING.has(kind)) continue;
      const config = CONFIGS[kind];
      const words = new RegExp(`the kernel of this host has no ${kind} links: it needs ${OPTIONS[kind]}`);
      t.match((await world.call('STATUS', config)).json, { code: 50, msg: words }, `STATUS of ${kind}`);
      const chained = kind === 'vrf' ? { ifname: 'net1', prevResult } : {};
      const added = await world.call('ADD', config, { container: c, ...chained });
      t.match(added.json, { code: 102, msg: words }, `ADD of ${kind}`);
      for (const _ of [1, 2]) await world.ok('DEL', config, { container: c, ...chained });
      await world.ok('DEL', config, { container: { id: c.id, netns: '' } });
      await world.ok('GC', { ...config, 'cni.dev/valid-attachments': [] });
    }
    t.same(await links(c.netns), ['lo', 'net1']);
    t.same(await leases(world.host), []);
  },
);

t.test('ipvlan: containers reach each other', { skip: without('ipvlan') }, async (t) => {
  const world = await makeWorld(t);
  await addLan(world);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(CONFIGS.ipvlan, a);
  const two = await world.add(CONFIGS.ipvlan, b);
  for (const i of [0, 1]) t.ok(await ping(a.netns, addressOf(two, i)));
  const [lower] = await ip(world.host.netns, 'link', 'show', 'lan0');
  t.equal(one.interfaces[0].mac, lower.address, 'all have one MAC');
  await world.ok('CHECK', CONFIGS.ipvlan, { container: a, prevResult: one });
  for (const container of [a, b]) await world.ok('DEL', CONFIGS.ipvlan, { container });
  t.same(await links(a.netns), ['lo']);
});

t.test('vlan: one container for each VLAN of a link', { skip: without('vlan') }, async (t) => {
  const world = await makeWorld(t);
  await addLan(world);
  const h = world.host.netns;
  await execIn(h, 'ip', 'link add link lan1 name far5 up type vlan id 5'.split(' '));
  await execIn(h, 'ip', 'addr add 10.9.0.100/24 dev far5'.split(' '));
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(CONFIGS.vlan, a);
  t.ok(await ping(a.netns, '10.9.0.100'), 'in VLAN 5');
  await world.ok('CHECK', CONFIGS.vlan, { container: a, prevResult: one });
  const again = await world.call('ADD', CONFIGS.vlan, { container: b });
  t.match(again.json, { code: 104, msg: /VLAN 5 of it is in use already/ });
  const other = await world.add({ ...CONFIGS.vlan, vlanId: 6 }, b);
  const check = await world.call('CHECK', CONFIGS.vlan, { container: b, prevResult: other });
  t.match(check.json, { code: 101, msg: /wanted VLAN 5, found VLAN 6/ });
  for (const container of [a, b]) await world.ok('DEL', CONFIGS.vlan, { container });
  t.same(await links(a.netns), ['lo']);
});

t.test('dummy: addresses that answer within the container', { skip: without('dummy') }, async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  const one = await world.add(CONFIGS.dummy, a);
  for (const i of [0, 1]) t.ok(await ping(a.netns, addressOf(one, i)));
  await world.ok('CHECK', CONFIGS.dummy, { container: a, prevResult: one });
  await world.ok('DEL', CONFIGS.dummy, { container: a });
  t.same(await links(a.netns), ['lo']);
});

t.test('vrf: addresses and routes move with the link', { skip: without('vrf') }, async (t) => {
  const world = await makeWorld(t);
  const a = await world.container();
  const ipam = { ...IPAM, routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }] };
  const bridge = { ...L2, name: 'probed', isGateway: true, ipam };
  const prevResult = await world.add(bridge, a);
  const second = await world.add({ ...bridge, name: 'second' }, a, { ifname: 'net1' });
  const result = await world.add(CONFIGS.vrf, a, { prevResult });
  t.same(result, prevResult);
  t.match(await ip(a.netns, '-d', 'link', 'show', 'eth0'), [{ master: 'blue' }]);
  t.match(await ip(a.netns, 'route', 'show', 'vrf', 'blue', 'default'), [{ gateway: '10.9.0.1' }]);
  t.match(await ip(a.netns, '-6', 'route', 'show', 'vrf', 'blue', 'default'), [{ gateway: 'fd00:9::1' }]);
  t.equal((await execIn(a.netns, 'ping', ['-c', '1', '-W', '15', '-I', 'blue', '10.9.0.1'])).status, 0);
  await world.ok('CHECK', CONFIGS.vrf, { container: a, prevResult });
  await world.add(CONFIGS.vrf, a, { ifname: 'net1', prevResult: second });
  await world.ok('DEL', CONFIGS.vrf, { container: a, prevResult });
  t.ok((await links(a.netns)).includes('blue'), 'it has a member yet');
  for (const _ of [1, 2])
    await world.ok('DEL', CONFIGS.vrf, { container: a, ifname: 'net1', prevResult: second });
  t.same(await links(a.netns), ['eth0', 'lo', 'net1'], 'it goes with its last member');
});
