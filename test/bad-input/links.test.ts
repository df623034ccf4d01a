/** bridge and ptp: values that no link can have, options that do not fit each other, names that are taken. */
import t from 'tap';
import { BRIDGE, PTP, STATIC } from './configurations.ts';
import { type Row, refuseAll } from './table.ts';

const L2 = { ...BRIDGE, isGateway: false, ipam: undefined };
const LINK_NAME = /wanted the name of a link: 1 to 15 /;
const MAC = /wanted a MAC address such as/;

const bridge = (
  name: string,
  conf: object,
  code: number,
  says: Row['says'],
  more: Partial<Row> = {},
): Row => ({
  name,
  plugin: 'bridge',
  input: { ...BRIDGE, ...conf },
  code,
  says,
  ...more,
});
const ptp = (name: string, conf: object, code: number, says: Row['says'], more: Partial<Row> = {}): Row => ({
  ...bridge(name, {}, code, says, more),
  plugin: 'ptp',
  input: { ...PTP, ...conf },
});

t.test('values', (t) =>
  refuseAll(t, [
    ...['', '.', '..', 'a/b', '../x', 'a b', 'a\nb', 'a\n', 'a:b', 'br%d', 'a'.repeat(16), 'a\u0001'].map(
      (name) =>
        bridge(`bridge name ${JSON.stringify(name)}`, { bridge: name }, 7, [/bridge: found "/, LINK_NAME]),
    ),
    bridge(
      'bridge name of too many bytes',
      { bridge: 'ä'.repeat(8) },
      7,
      /bridge is "ä+": wanted at most 15 bytes/,
    ),
    ...[-1, 1, 67, 65536, 1e9, 1500.5].flatMap((mtu) => [
      bridge(`mtu ${mtu}`, { mtu }, 7, [/mtu: found /, /wanted an integer from 68 to 65535, or 0/]),
      ptp(`mtu ${mtu}`, { mtu }, 7, [/mtu: found /, /wanted an integer from 68 to 65535, or 0/]),
    ]),
    bridge('mtu in quotes', { mtu: '1500' }, 7, /mtu: found "1500", wanted an integer/),
    ...[-1, 4095, 1.5].map((vlan) =>
      bridge(`vlan ${vlan}`, { ...L2, vlan }, 7, /vlan: found .*from 0 to 4094/),
    ),
    bridge(
      'vlan in a trunk',
      { ...L2, vlanTrunk: [{ id: 4095 }] },
      7,
      /vlanTrunk\[0\]\.id: found 4095, wanted an integer from 0 to 4094/,
    ),
    bridge(
      'vlan 0 in a trunk',
      { ...L2, vlanTrunk: [{ id: 5 }, { id: 0 }] },
      7,
      /vlanTrunk\[1\] has VLAN 0, wanted 1 to 4094/,
    ),
    bridge(
      'half a trunk',
      { ...L2, vlanTrunk: [{ minID: 5 }] },
      7,
      /vlanTrunk\[0\] needs both minID and maxID/,
    ),
    bridge(
      'a trunk upside down',
      { ...L2, vlanTrunk: [{ minID: 9, maxID: 5 }] },
      7,
      /vlanTrunk\[0\]\.minID 9 is greater than maxID 5/,
    ),
    bridge(
      'an empty trunk',
      { ...L2, vlanTrunk: [{}] },
      7,
      /vlanTrunk\[0\] has neither id nor minID and maxID/,
    ),
    bridge(
      'backend',
      { ipMasq: true, ipMasqBackend: 'pf' },
      7,
      /ipMasqBackend: found "pf", wanted one of "iptables", "nftables"/,
    ),
    ptp(
      'backend',
      { ipMasq: true, ipMasqBackend: 'NFTABLES' },
      7,
      /ipMasqBackend: found "NFTABLES", wanted one of/,
    ),
    ...[
      '',
      'x',
      '02:00:00:00:00',
      '02:00:00:00:00:0g',
      '02-00-00-00-00-01',
      '02:00:00:00:00:01:02',
      '02:00:00:00:00:01\n',
    ].flatMap((mac) => [
      bridge(`runtimeConfig.mac ${JSON.stringify(mac)}`, { runtimeConfig: { mac } }, 7, [
        /runtimeConfig\.mac: found "/,
        MAC,
      ]),
      bridge(`args.cni.mac ${JSON.stringify(mac)}`, { args: { cni: { mac } } }, 7, [
        /args\.cni\.mac: found "/,
        MAC,
      ]),
    ]),
    bridge('CNI_ARGS MAC', {}, 4, /CNI_ARGS: MAC is "x", wanted a MAC address/, {
      env: { CNI_ARGS: 'MAC=x' },
    }),
    ...['01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00'].flatMap((mac) => [
      bridge(`a MAC that no link can have: ${mac}`, { runtimeConfig: { mac } }, 7, [
        /runtimeConfig\.mac/,
        /unicast/,
      ]),
      bridge(`args with ${mac}`, { args: { cni: { mac } } }, 7, [/args\.cni\.mac/, /unicast/]),
      bridge(`CNI_ARGS with ${mac}`, {}, 4, [/CNI_ARGS: MAC/, /unicast/], {
        env: { CNI_ARGS: `MAC=${mac}` },
      }),
    ]),
  ]),
);

t.test('combinations', (t) =>
  refuseAll(t, [
    bridge(
      'hairpin and promiscuous',
      { hairpinMode: true, promiscMode: true },
      7,
      /hairpinMode and promiscMode are both true/,
    ),
    bridge(
      'vlan and trunk',
      { ...L2, vlan: 5, vlanTrunk: [{ id: 6 }] },
      7,
      /vlan and vlanTrunk are both set/,
    ),
    bridge(
      'a link that is down with addresses',
      { disableContainerInterface: true },
      7,
      /disableContainerInterface is true, so ipam cannot be set/,
    ),
    bridge('gateway without addresses', { ipam: undefined }, 7, /isGateway needs one/),
    bridge('gateway with an empty ipam', { ipam: {} }, 7, /isGateway needs one/),
    bridge('default gateway without addresses', { ...L2, isDefaultGateway: true }, 7, /isGateway needs one/),
    bridge(
      'version 0.2.0 without addresses',
      { ...L2, cniVersion: '0.2.0' },
      1,
      /version 0\.2\.0 needs an address/,
    ),
    bridge(
      'IPv6 with an MTU for IPv4',
      { mtu: 1000, ipam: { type: 'host-local', subnet: 'fd00:1::/64' } },
      7,
      [/mtu 1000/, /1280/],
      { late: true },
    ),
    ptp('IPv6 with an MTU for IPv4', { mtu: 1000, ipam: { type: 'host-local', subnet: 'fd00:1::/64' } }, 7, [
      /mtu 1000/,
      /1280/,
    ]),
    ptp('no ipam', { ipam: undefined }, 7, /ptp needs ipam\.type/),
    ptp('an empty ipam', { ipam: {} }, 7, /ptp needs ipam\.type/),
    ptp(
      'no gateway',
      { ipam: { type: 'static', addresses: [{ address: '10.1.0.5/24' }] } },
      7,
      /IPAM gave 10\.1\.0\.5\/24 without a gateway: set one/,
    ),
    ptp('no address', { ipam: { type: 'static' } }, 7, /IPAM gave no address/),
    ptp(
      'the gateway is the address',
      { ipam: { type: 'static', addresses: [{ address: '10.1.0.5/24', gateway: '10.1.0.5' }] } },
      7,
      [/10\.1\.0\.5/, /gateway/],
    ),
    bridge(
      'the gateway is the address',
      { ipam: { type: 'static', addresses: [{ address: '10.1.0.5/24', gateway: '10.1.0.5' }] } },
      7,
      [/10\.1\.0\.5/, /gateway/],
    ),
  ]),
);

const route = (route: object) => ({ ipam: { ...STATIC, routes: [route] } });

t.test('routes and addresses that the kernel would refuse', (t) =>
  refuseAll(t, [
    ...([bridge, ptp] as const).flatMap((make) => [
      make('a route by an unreachable gateway', route({ dst: '10.9.0.0/16', gw: '192.0.2.1' }), 7, [
        /10\.9\.0\.0\/16/,
        /192\.0\.2\.1/,
      ]),
      make(
        'a route to no family',
        route({ dst: '10.9.0.0/16', gw: 'fd00::1' }),
        7,
        /ipam\.routes\[0\]\.gw: wanted an address of the family of 10\.9\.0\.0\/16, found "fd00::1"/,
      ),
      make(
        'a route to nothing',
        route({ dst: '10.9.0.0' }),
        7,
        /ipam\.routes\[0\]\.dst: found "10\.9\.0\.0"/,
      ),
      make(
        'a route of length 33',
        route({ dst: '10.9.0.0/33' }),
        7,
        /ipam\.routes\[0\]\.dst: wanted a prefix such as .*found "10\.9\.0\.0\/33"/,
      ),
      make('a route by no address', route({ dst: '10.9.0.0/16', gw: 'fe80' }), 7, /ipam\.routes\[0\]\.gw/),
      make(
        'a route with a negative metric',
        route({ dst: '10.9.0.0/16', priority: -1 }),
        7,
        /ipam\.routes\[0\]\.priority: found -1/,
      ),
      make(
        'a route with a large table',
        route({ dst: '10.9.0.0/16', table: 2 ** 32 }),
        7,
        /ipam\.routes\[0\]\.table: found 4294967296/,
      ),
      make(
        'a route with a large scope',
        route({ dst: '10.9.0.0/16', scope: 256 }),
        7,
        /ipam\.routes\[0\]\.scope: found 256/,
      ),
      make(
        'the same route twice',
        { ipam: { ...STATIC, routes: [{ dst: '10.9.0.0/16' }, { dst: '10.9.0.0/16' }] } },
        104,
        /10\.9\.0\.0\/16/,
      ),
    ]),
  ]),
);

t.test('names that are taken', (t) =>
  refuseAll(t, [
    ...(
      [
        ['veth', 'type veth peer name p0'],
        ['vxlan', 'type vxlan id 5 dstport 4789 local 127.0.0.1'],
      ] as const
    ).map(([kind, how]) =>
      bridge(`the bridge is a ${kind}`, {}, 104, [/wanted a bridge br0/, new RegExp(`of kind ${kind}`)], {
        before: () => `ip link add br0 ${how}`,
        after: () => 'ip link del br0',
        late: true,
      }),
    ),
    bridge(
      'the bridge is the loopback link',
      { bridge: 'lo' },
      104,
      /wanted a bridge lo, found a link of that name that is no virtual link/,
      { late: true },
    ),
    ...([bridge, ptp] as const).map((make) =>
      make('the interface name is taken', {}, 104, /the container has a link eth0 already/, {
        before: ({ container }) => `nsenter --net=${container.netns} ip link add eth0 type bridge`,
        after: ({ container }) => `nsenter --net=${container.netns} ip link del eth0`,
      }),
    ),
    bridge('the interface is lo', {}, 104, /the container has a link lo already/, {
      env: { CNI_IFNAME: 'lo' },
    }),
    ptp('the interface is lo', {}, 104, /the container has a link lo already/, { env: { CNI_IFNAME: 'lo' } }),
    bridge(
      'the bridge has another address',
      {},
      104,
      /bridge br0 has address 10\.7\.0\.1\/24, configuration wants 10\.1\.0\.1\/24: set forceAddress or remove the address/,
      {
        before: () =>
          'ip link add br0 address 02:00:00:00:00:01 type bridge; ip addr add 10.7.0.1/24 dev br0; ip link set br0 up',
        after: () => 'ip link del br0',
        late: true,
      },
    ),
    bridge(
      'a kernel without VLANs',
      { ...L2, vlan: 100 },
      102,
      /bridge br0 cannot filter VLANs.*CONFIG_BRIDGE_VLAN_FILTERING/,
    ),
    bridge(
      'a kernel without VLANs, trunk',
      { ...L2, vlanTrunk: [{ id: 5 }] },
      102,
      /remove vlan and vlanTrunk/,
    ),
    bridge(
      'a kernel without VLANs, bridge there',
      { ...L2, vlan: 100 },
      102,
      /bridge br0 cannot filter VLANs/,
      {
        before: () => 'ip link add br0 address 02:00:00:00:00:01 type bridge; ip link set br0 up',
        after: () => 'ip link del br0',
      },
    ),
  ]),
);
