/** Requests to plugins, of which most cannot be meant: what fast-check makes them from. */
import fc from 'fast-check';
import type { Command } from '../../cni/types.ts';
import type { PluginName } from '../../plugins/registry.ts';

export const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });
const nasty = fc.constantFrom<unknown>(
  '',
  0,
  -1,
  1.5,
  true,
  'a/b',
  '..',
  'x'.repeat(300),
  [],
  {},
  null,
  '10.0.0.1',
);
/** Mostly what is allowed. */
const field = <T>(...values: T[]) =>
  maybe(
    fc.oneof({ weight: 12, arbitrary: fc.constantFrom<unknown>(...values) }, { weight: 1, arbitrary: nasty }),
  );

const subnet = fc.constantFrom(
  '10.1.0.0/24',
  '10.1.0.0/30',
  'fd00:1::/64',
  '10.1.0.7/24',
  'x',
  '10.1.0.0/31',
);
const ipam = fc.record({
  type: fc.constantFrom('host-local', 'host-local', 'static', 'nowhere', 'dhcp', 'cluster'),
  ranges: maybe(fc.array(fc.array(fc.record({ subnet }), { maxLength: 2 }), { maxLength: 3 })),
  subnet: maybe(subnet),
  routes: maybe(
    fc.array(
      fc.record({
        dst: fc.constantFrom('0.0.0.0/0', '::/0', '192.0.2.0/24'),
        gw: field('10.1.0.1', 'fd00::1'),
      }),
    ),
  ),
  addresses: maybe(
    fc.array(fc.record({ address: fc.constantFrom('10.1.0.9/24', 'fd00:1::9/64', '10.1.0.9') })),
  ),
  dataDir: field('/dev/null', '/proc/1/nowhere'),
});
const prevResult = fc.record({
  cniVersion: fc.constantFrom('1.1.0', '1.0.0', '0.4.0'),
  interfaces: maybe(
    fc.array(
      fc.record({
        name: fc.constantFrom('eth0', 'br0', 'veth0', ''),
        mac: field('02:00:00:00:00:01', 'x'),
        sandbox: field('/run/netns/none', ''),
      }),
      { maxLength: 3 },
    ),
  ),
  ips: maybe(
    fc.array(
      fc.record({
        address: fc.constantFrom('10.1.0.2/24', 'fd00:1::2/64', '10.1.0.2', '::ffff:10.1.0.2/120', 'x'),
        gateway: field('10.1.0.1', 'x'),
        interface: field(0, 1, 9, -1),
      }),
      { maxLength: 3 },
    ),
  ),
  routes: maybe(fc.array(fc.record({ dst: fc.constantFrom('0.0.0.0/0', 'x'), gw: field('10.1.0.1', 'x') }))),
});
export const config = fc.record({
  cniVersion: fc.constantFrom('1.1.0', '1.1.0', '1.0.0', '0.3.1', '0.1.0'),
  name: fc.constantFrom('mynet', 'other'),
  type: fc.constant('bridge'),
  bridge: field('br0', 'fourteen-chars'),
  isGateway: field(true, false),
  isDefaultGateway: field(true),
  forceAddress: field(true),
  ipMasq: field(true, false),
  ipMasqBackend: field('nftables', 'iptables'),
  mtu: field(0, 1400),
  hairpinMode: field(true),
  promiscMode: field(true),
  vlan: field(0, 5, 4094),
  vlanTrunk: field([{ id: 5 }], [{ minID: 5, maxID: 3 }], [{}]),
  preserveDefaultVlan: field(false),
  macspoofchk: field(true),
  enabledad: field(true),
  disableContainerInterface: field(true),
  portIsolation: field(true),
  mode: field('l3', 'l2', 'passthru'),
  master: field('lan0', ''),
  linkInContainer: field(true),
  bcqueuelen: field(0, 500),
  vlanId: field(5),
  device: field('dev0', ''),
  hwaddr: field('02:00:00:00:00:08'),
  kernelpath: field('/sys/devices/none'),
  vrfname: field('blue'),
  vni: field(7, 16777216),
  pool: field('10.1.0.0/16', '10.1.0.0/16', 'x'),
  pools: field([{ prefix: '10.1.0.0/16', hostLength: 24 }], [{ prefix: 'fd00:1::/48' }]),
  backend: field('direct', 'bgp', 'iptables'),
  sysctl: field({ 'net.core.somaxconn': '1' }, { 'net.ipv4.conf.IFNAME.x': '1' }, { 'kernel.x': '1' }),
  promisc: field(true),
  txQLen: field(7),
  dataDir: field('/dev/null', '/proc/1/nowhere'),
  ingressPolicy: field('open', 'same-bridge', 'isolated'),
  bgp: field({ asn: 64512 }, {}),
  ingressRate: field(0, 1e6, 7),
  ingressBurst: field(0, 1e6),
  egressRate: field(1e9, 2 ** 53),
  unshapedSubnets: field(['10.0.0.0/8', '::/0'], ['x']),
  table: field(100, 0),
  gateways: field(['10.1.0.9'], ['x']),
  addSourceHints: field(true),
  ipam: maybe(
    fc.oneof({ weight: 12, arbitrary: ipam as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: nasty }),
  ),
  dns: field({ nameservers: ['192.0.2.53'] }),
  runtimeConfig: field(
    { mac: '02:00:00:00:00:09' },
    { ips: ['10.1.0.9'] },
    { mac: 'x' },
    { portMappings: [{ hostPort: 80, containerPort: 80 }] },
    { bandwidth: { EgressRate: 1e6, EgressBurst: 2 ** 31 - 1 } },
  ),
  prevResult: maybe(prevResult),
  'cni.dev/valid-attachments': field([], [{ containerID: 'c2', ifname: 'eth0' }]),
});
export const plugin = fc.constantFrom<PluginName>(
  ...(['bridge', 'bridge', 'ptp', 'host-local', 'static', 'loopback', 'vxlan', 'routed'] as const),
  ...(['macvlan', 'ipvlan', 'vlan', 'host-device', 'dummy'] as const),
  ...(['portmap', 'tuning', 'firewall', 'bandwidth', 'sbr', 'vrf'] as const),
);
export const command = fc.constantFrom<Command>('ADD', 'ADD', 'DEL', 'CHECK', 'GC', 'STATUS');
export const args = fc.constantFrom(
  '',
  '',
  'MAC=02:00:00:00:00:07',
  'MAC=x;IgnoreUnknown=1',
  'IP=10.1.0.7',
  'FOO=bar',
);
