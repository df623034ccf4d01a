/** Plans are pure: configuration and addresses in, readable text out. No root, no kernel. */
import t from 'tap';
import { renderCommands } from '../../firewall/nftables-ruleset.ts';
import { render } from '../../plan/engine.ts';
import { bridge } from '../../plugins/bridge/bridge.ts';
import type { BridgeConf } from '../../plugins/bridge/schema.ts';
import { type PlanInput, planFor } from '../../plugins/definition.ts';
import { ptp } from '../../plugins/ptp/ptp.ts';

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

function input(config: Partial<BridgeConf>): PlanInput<BridgeConf> {
  const base = { cniVersion: '1.1.0', name: 'mynet', type: 'bridge' };
  return { config: { ...base, ...config } as BridgeConf, attachment: ATTACHMENT, args: {}, hostId: 'h' };
}

const lines = (config: Partial<BridgeConf>, ipam: typeof ANSWER | 'none' = ANSWER) =>
  render(planFor(bridge, input(config), ipam === 'none' ? undefined : ipam), NAMES);

const VETH =
  'ip link add vethe3stgvlyn2x address e2:05:a5:49:43:2e master cni0 type veth peer name eth0 address f6:99:ec:c3:32:0b netns c1';
const PORT_UP = ['ip link set vethe3stgvlyn2x addrgenmode none', 'ip link set vethe3stgvlyn2x up'];

t.test('the smallest bridge', async (t) => {
  t.same(lines({}, 'none'), [
    'ip link add cni0 address d2:44:69:13:59:e9 up type bridge',
    VETH,
    ...PORT_UP,
    'ip -n c1 link set eth0 up',
    "ip link set vethe3stgvlyn2x alias 'weft mynet c1 eth0'",
  ]);
});

t.test('a gateway for both families', async (t) => {
  t.same(lines({ isGateway: true }).slice(6), [
    'ip addr add 10.1.0.1/24 dev cni0',
    'ip -6 addr add fd00:1::1/64 dev cni0 nodad',
    'sysctl -w net/ipv4/ip_forward=1',
    'sysctl -w net/ipv6/conf/all/forwarding=1',
    'ip -n c1 addr add 10.1.0.2/24 dev eth0',
    'ip -n c1 -6 addr add fd00:1::2/64 dev eth0 nodad',
    'ip -n c1 route add default via 10.1.0.1 dev eth0',
    'ip -n c1 -6 route add default via fd00:1::1 dev eth0',
    'ip netns exec c1 sysctl -w net/ipv4/conf/eth0/arp_notify=1',
    'ip netns exec c1 sysctl -w net/ipv6/conf/eth0/ndisc_notify=1',
    'ip -n c1 link set eth0 address f6:99:ec:c3:32:0b',
  ]);
});

t.test('every option of a port, and of the addresses', async (t) => {
  const all = lines({
    bridge: 'br7',
    mtu: 1400,
    hairpinMode: true,
    portIsolation: true,
    vlanTrunk: [{ minID: 10, maxID: 20 }, { id: 30 }],
    preserveDefaultVlan: false,
    enabledad: true,
  });
  t.match(all[0], 'type bridge vlan_filtering 1');
  t.equal(all[1], 'ip link set br7 mtu 1400');
  t.match(all[2], /mtu 1400 master br7 .* mtu 1400 netns c1$/);
  t.same(all.slice(7, 11), [
    'bridge link set dev vethe3stgvlyn2x hairpin on isolated on',
    'bridge vlan del dev vethe3stgvlyn2x vid 1',
    'bridge vlan add dev vethe3stgvlyn2x vid 10-20',
    'bridge vlan add dev vethe3stgvlyn2x vid 30',
  ]);
  t.ok(all.includes('ip -n c1 -6 addr add fd00:1::2/64 dev eth0'), 'with detection of duplicates');
  t.ok(lines({ vlan: 5 }).includes('bridge vlan add dev vethe3stgvlyn2x vid 5 pvid untagged'));
  t.ok(lines({ promiscMode: true }).includes('ip link set cni0 promisc on'));
});

t.test('a gateway in a VLAN has a link of its own', async (t) => {
  const all = lines({ isGateway: true, vlan: 5 });
  t.match(all[0], 'type bridge vlan_filtering 1');
  t.same(all.slice(7, 11), [
    'ip link add link cni0 name cni0.5 up type vlan id 5',
    'bridge vlan add dev cni0 vid 5 self',
    'ip addr add 10.1.0.1/24 dev cni0.5',
    'ip -6 addr add fd00:1::1/64 dev cni0.5 nodad',
  ]);
});

t.test('macspoofchk guards the port before the link is there', async (t) => {
  const all = lines({ macspoofchk: true }, 'none');
  const link = all.indexOf(VETH);
  t.match(all[1], "nft 'add table bridge weft");
  t.same(all.slice(link - 2, link), [
    `nft 'add element bridge weft allowed { "vethe3stgvlyn2x" . f6:99:ec:c3:32:0b comment "mynet c1 eth0" }'`,
    `nft 'add element bridge weft guarded { "vethe3stgvlyn2x" comment "mynet c1 eth0 f6:99:ec:c3:32:0b" }'`,
  ]);
});

t.test('masquerade names its owner', async (t) => {
  const text = lines({ ipMasq: true }).join('\n');
  t.match(text, /nft .*10\.1\.0\.2/);
  t.match(text, /c1/);
});

t.test('a namespace by path', async (t) => {
  const plan = planFor(bridge, input({}), ANSWER);
  const text = render(plan, { ...NAMES, netns: '/proc/77/ns/net' });
  t.match(text[1], /netns \/proc\/77\/ns\/net$/);
  t.equal(text[4], 'nsenter --net=/proc/77/ns/net ip link set eth0 up');
});

t.test('ptp', async (t) => {
  const config = { cniVersion: '1.1.0', name: 'mynet', type: 'ptp', ipam: { type: 'host-local' } };
  const plan = planFor(ptp, { config, attachment: ATTACHMENT, args: {}, hostId: 'h' }, ANSWER);
  t.same(render(plan, NAMES).slice(3, -3), [
    'ip addr add 10.1.0.1/32 dev vethe3stgvlyn2x',
    'ip -6 addr add fd00:1::1/128 dev vethe3stgvlyn2x nodad',
    'ip -6 addr add fe80::1/64 dev vethe3stgvlyn2x nodad',
    'ip route add 10.1.0.2/32 dev vethe3stgvlyn2x',
    'ip -6 route add fd00:1::2/128 dev vethe3stgvlyn2x',
    'sysctl -w net/ipv4/ip_forward=1',
    'sysctl -w net/ipv6/conf/all/forwarding=1',
    'ip -n c1 addr add 10.1.0.2/24 dev eth0 noprefixroute',
    'ip -n c1 route add 10.1.0.1/32 dev eth0 src 10.1.0.2 scope 253',
    'ip -n c1 route add 10.1.0.0/24 via 10.1.0.1 dev eth0 src 10.1.0.2',
    'ip -n c1 -6 addr add fd00:1::2/64 dev eth0 nodad noprefixroute',
    'ip -n c1 -6 route add fd00:1::1/128 dev eth0 src fd00:1::2',
    'ip -n c1 -6 route add fd00:1::/64 via fd00:1::1 dev eth0 src fd00:1::2',
    'ip -n c1 route add default via 10.1.0.1 dev eth0',
    'ip -n c1 -6 route add default via fd00:1::1 dev eth0',
  ]);
});

t.test('the same input gives the same plan, and plans are plain data', async (t) => {
  const plan = planFor(bridge, input({ isGateway: true, ipMasq: true }), ANSWER);
  t.same(planFor(bridge, input({ isGateway: true, ipMasq: true }), ANSWER), plan);
  t.same(JSON.parse(JSON.stringify(plan)), plan);
});
