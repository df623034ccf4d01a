/** Plans of links that are in the container alone, as the lines that a person would type. No root, no kernel. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { renderCommands } from '../../firewall/nftables-ruleset.ts';
import type { Link } from '../../netlink/link.ts';
import type { Route } from '../../netlink/route.ts';
import { render } from '../../plan/engine.ts';
import { freeTable } from '../../plan/steps/vrf.ts';
import { type Definition, type PluginConf, planFor } from '../../plugins/definition.ts';
import { dummy } from '../../plugins/dummy/dummy.ts';
import { hostDevice } from '../../plugins/host-device/host-device.ts';
import { resolveHostDevice } from '../../plugins/host-device/plan.ts';
import type { HostDeviceConf } from '../../plugins/host-device/schema.ts';
import { ipvlan } from '../../plugins/ipvlan/ipvlan.ts';
import { ipvlanHanded } from '../../plugins/ipvlan/plan.ts';
import { macvlan } from '../../plugins/macvlan/macvlan.ts';
import { tap } from '../../plugins/tap/tap.ts';
import { vlan } from '../../plugins/vlan/vlan.ts';
import { vrfPlan } from '../../plugins/vrf/vrf.ts';

const ATTACHMENT = { network: 'mynet', containerId: 'c1', ifname: 'eth0', netns: '/run/netns/c1' };
const NAMES = { netns: ATTACHMENT.netns, masquerade: renderCommands };
const ANSWER = {
  ips: [
    { address: '10.1.0.2/24', gateway: '10.1.0.1' },
    { address: 'fd00:1::2/64', gateway: 'fd00:1::1' },
  ],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  dns: {},
};
const NO_ADDRESSES = { ips: [], routes: [], dns: {} };
const MAC = 'f6:99:ec:c3:32:0b';
const ALIAS = "alias 'weft mynet c1 eth0'";

function plan<C extends PluginConf>(
  definition: Definition<C>,
  config: object,
  answer: typeof ANSWER = ANSWER,
) {
  const whole = {
    cniVersion: '1.1.0',
    name: 'mynet',
    type: definition.type,
    ipam: { type: 'x' },
    ...config,
  } as C;
  return planFor(definition, { config: whole, attachment: ATTACHMENT, args: {}, hostId: 'h' }, answer);
}

function lines<C extends PluginConf>(
  definition: Definition<C>,
  config: object,
  answer?: typeof ANSWER,
): string[] {
  return render(plan(definition, config, answer), NAMES);
}

const ADDRESSES = [
  'ip -n c1 addr add 10.1.0.2/24 dev eth0',
  'ip -n c1 -6 addr add fd00:1::2/64 dev eth0 nodad',
];
const ROUTES = [
  'ip -n c1 route add default via 10.1.0.1 dev eth0',
  'ip -n c1 -6 route add default via fd00:1::1 dev eth0',
];
const NOTIFY = [
  'ip netns exec c1 sysctl -w net/ipv4/conf/eth0/arp_notify=1',
  'ip netns exec c1 sysctl -w net/ipv6/conf/eth0/ndisc_notify=1',
];

t.test('macvlan announces by its MAC', async (t) => {
  t.same(lines(macvlan, { master: 'lan0', mtu: 1400, bcqueuelen: 500 }), [
    `ip link add link lan0 name eth0 address ${MAC} mtu 1400 netns c1 type macvlan mode bridge bcqueuelen 500`,
    `ip -n c1 link set eth0 up ${ALIAS}`,
    ...[...ADDRESSES, ...ROUTES, ...NOTIFY],
    `ip -n c1 link set eth0 address ${MAC}`,
  ]);
  t.match(
    lines(macvlan, { linkInContainer: true, master: 'eth9', mode: 'vepa' })[0],
    /^ip -n c1 link add link eth9 name eth0 address \S+ type macvlan mode vepa$/,
  );
  const [first] = lines(macvlan, { mode: 'private' });
  t.match(first, /^ip link add link "\$\(ip route show default \| sed .*\)" name eth0 /);
  t.same(lines(macvlan, { master: 'lan0', mode: 'passthru' }).slice(0, 2), [
    'ip link add link lan0 name eth0 netns c1 type macvlan mode passthru',
    `ip -n c1 link set eth0 ${ALIAS}`,
  ]);
});

t.test('ipvlan, vlan and devices of the host announce by being set up after their addresses', async (t) => {
  const after = [...ADDRESSES, ...NOTIFY, 'ip -n c1 link set eth0 up', ...ROUTES];
  t.same(lines(ipvlan, { master: 'lan0', mode: 'l3s', mtu: 1400 }), [
    'ip link add link lan0 name eth0 mtu 1400 netns c1 type ipvlan mode l3s',
    `ip -n c1 link set eth0 ${ALIAS}`,
    ...after,
  ]);
  t.same(lines(vlan, { master: 'lan0', vlanId: 5 }), [
    'ip link add link lan0 name eth0 netns c1 type vlan id 5',
    `ip -n c1 link set eth0 ${ALIAS}`,
    ...after,
  ]);
  t.same(lines(hostDevice, { device: 'dev0' }), ['ip link set dev0 netns c1 name eth0 alias dev0', ...after]);
  for (const [definition, config] of [
    [ipvlan, { master: 'lan0' }],
    [vlan, { master: 'lan0', vlanId: 0 }],
  ] as const) {
    const bare = lines(definition as Definition<PluginConf>, { ...config, ipam: {} }, NO_ADDRESSES);
    t.equal(bare[1], `ip -n c1 link set eth0 up ${ALIAS}`, 'without addresses it is up at once');
    t.equal(bare.length, 2);
  }
  t.same(lines(hostDevice, { device: 'dev0', ipam: {} }, NO_ADDRESSES), [
    'ip link set dev0 netns c1 name eth0 alias dev0 up',
  ]);
});

t.test('tap and dummy', async (t) => {
  const config = {
    owner: 0,
    group: 107,
    multiQueue: true,
    mtu: 9000,
    mac: '0A:00:00:00:00:01',
    bridge: 'br0',
    ipam: {},
  };
  t.same(lines(tap, config, NO_ADDRESSES), [
    'ip netns exec c1 ip tuntap add dev eth0 mode tap multi_queue user 0 group 107',
    `ip -n c1 link set eth0 address 0a:00:00:00:00:01 mtu 9000 master br0 up ${ALIAS}`,
  ]);
  t.same(lines(dummy, {}), [
    `ip -n c1 link add eth0 address ${MAC} up type dummy`,
    `ip -n c1 link set eth0 ${ALIAS}`,
    ...[...ADDRESSES, ...ROUTES],
  ]);
  t.throws(() => dummy.validate?.({ cniVersion: '1.1.0', name: 'n', type: 'dummy' }), { code: 7 });
});

t.test('vrf: the runtime’s name wins; the first table that nobody has', async (t) => {
  const config = { cniVersion: '1.1.0', name: 'mynet', type: 'vrf', vrfname: 'blue', table: 7 };
  const input = { config, attachment: ATTACHMENT, prevResult: undefined, args: {}, paths: {} as never };
  t.same(render(vrfPlan(input), NAMES), [
    'ip -n c1 link add blue up type vrf table 7',
    'ip -n c1 link set eth0 master blue',
  ]);
  const asked = { ...config, table: 0, args: { cni: { vrfname: 'red' } } };
  t.same(vrfPlan({ ...input, config: asked }), [{ kind: 'vrf', in: 'container', name: 'red', dev: 'eth0' }]);
  const [links, routes] = [
    [{ vrf: { table: 1 } }, {}, { vrf: { table: 3 } }],
    [{ table: 2 }, { table: 254 }],
  ];
  t.equal(freeTable(links as Link[], routes as Route[]), 4);
  const taken = Array.from({ length: 252 }, (_, i) => ({ table: i + 1 }));
  t.equal(freeTable([], taken as Route[]), 256, 'not one of the kernel’s own');
});

t.test('ipvlan later in a chain takes link and addresses of the plugins before', async (t) => {
  const prevResult = {
    interfaces: [{ name: 'made0' }],
    ips: [{ address: '10.1.0.2/24', interface: 0 }],
    routes: [],
    dns: {},
  };
  t.same(ipvlanHanded(prevResult).ips, [{ address: '10.1.0.2/24' }]);
  const config = { cniVersion: '1.1.0', name: 'mynet', type: 'ipvlan' };
  const input = { config, attachment: ATTACHMENT, args: {}, hostId: 'h' };
  t.match(ipvlan.links({ ...input, prevResult }), [{ lower: { in: 'host', name: 'made0' } }]);
  const own = { name: 'eth0', sandbox: '/run/netns/c1' };
  const later = { ...prevResult, interfaces: [{ name: 'made0' }, own] };
  t.match(ipvlan.links({ ...input, prevResult: later }), [{ lower: { name: 'made0' } }], 'also for CHECK');
  t.notOk('name' in (ipvlan.links(input)[0] as { lower: object }).lower);
});

t.test('host-device reads what the kernel says of devices', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'weft-sysfs-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const device = (bus: string, id: string, driver: string, ...below: string[]) => {
    const folder = join(root, 'bus', bus, 'devices', id);
    mkdirSync(join(folder, ...below), { recursive: true });
    mkdirSync(join(root, 'drivers', driver), { recursive: true });
    symlinkSync(join(root, 'drivers', driver), join(folder, 'driver'));
  };
  device('pci', '0000:00:01.0', 'e1000', 'net', 'enp1s0');
  device('pci', '0000:00:02.0', 'virtio-pci', 'virtio1', 'net', 'eth7');
  device('pci', '0000:00:03.0', 'vfio-pci');
  device('pci', '0000:00:04.0', 'e1000', 'net');
  device('auxiliary', 'mlx5_core.sf.2', 'mlx5_core', 'net', 'sf0');
  mkdirSync(join(root, 'devices/pci0000:00/0000:00:1f.6/net/eno1'), { recursive: true });
  const base = { cniVersion: '1.1.0', name: 'n', type: 'host-device' };
  const resolve = (config: Partial<HostDeviceConf>, verb: 'ADD' | 'DEL' | 'STATUS' = 'ADD') =>
    resolveHostDevice({ ...base, ...config } as HostDeviceConf, verb, root);
  t.equal(resolve({ pciBusID: '0000:00:01.0' }).device, 'enp1s0');
  t.equal(resolve({ pciBusID: '0000:00:02.0' }).device, 'eth7');
  t.equal(resolve({ pciBusID: '0000:00:01.0', runtimeConfig: { deviceID: 'mlx5_core.sf.2' } }).device, 'sf0');
  t.equal(resolve({ kernelpath: '/sys/devices/pci0000:00/0000:00:1f.6' }).device, 'eno1');
  t.equal(resolve({ device: 'dev0', pciBusID: '0000:00:01.0' }).device, 'dev0');
  const userspace = resolve({ pciBusID: '0000:00:03.0' });
  t.equal(userspace.forPrograms, true);
  t.same(plan(hostDevice, userspace), [], 'a device for a program has no link');
  t.same(lines(hostDevice, { pciBusID: '0000:00:01.0', ipam: {} }, NO_ADDRESSES), [
    'device=$(ls /sys/bus/pci/devices/0000:00:01.0/net); ip link set "$device" netns c1 name eth0 alias "$device" up',
  ]);
  t.throws(() => resolve({ pciBusID: '0000:00:04.0' }), { code: 7, message: /it may be in a container/ });
  t.throws(() => resolve({ pciBusID: '0000:00:05.0' }, 'STATUS'), {
    code: 7,
    message: /found no such device/,
  });
  t.throws(() => resolve({ kernelpath: '/sys/devices/none' }), { code: 7 });
  t.equal(resolve({ pciBusID: '0000:00:04.0' }, 'DEL').device, undefined, 'DEL goes on');
});
