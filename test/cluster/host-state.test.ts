/** The kernel's half as data: what shall be, what differs, what is printed. No root. */
import fc from 'fast-check';
import t from 'tap';
import { linkLocal, type Uplink } from '../../cluster/host/builder.ts';
import { containerMtu, desiredState } from '../../cluster/host/desired.ts';
import { changed, difference } from '../../cluster/host/difference.ts';
import { render } from '../../cluster/host/render.ts';
import { type Entry, entriesOf, type HostState, keyOf } from '../../cluster/host/state.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Endpoint, Member } from '../../cluster/registry.ts';
import { tunnelMac } from '../../plan/names.ts';
import '../support/seed.ts';

const POOLS = [
  { prefix: '10.244.0.0/16', blockLength: 24 },
  { prefix: 'fd00:244::/48', blockLength: 64 },
];
const VXLAN = { vni: 42, port: 4789, device: 'weft42', directRoutes: false, checksumOffload: true };
const NETWORK: ClusterNetwork = { name: 'blue', backend: 'vxlan', pools: POOLS, vxlan: VXLAN };
const ROUTED: ClusterNetwork = { name: 'blue', backend: 'routed', pools: POOLS };
const L2: ClusterNetwork = { ...NETWORK, backend: 'vxlan-l2', vxlan: { ...VXLAN, bridge: 'br42' } };

const member = (number: number, changes: Partial<Member> = {}): Member => ({
  host: `host-${number}`,
  addresses: [`192.0.2.${number}`],
  subnets: [`10.244.${number}.0/24`],
  ...changes,
});
const UPLINKS: readonly Uplink[] = [
  { address: '192.0.2.1/24', dev: 'eth0', mtu: 1500 },
  { address: '2001:db8::1/64', dev: 'eth0', mtu: 1500 },
];
const lines = (
  network: ClusterNetwork,
  members: readonly Member[],
  endpoints: readonly Endpoint[] = [],
  uplinks = UPLINKS,
) => {
  const wanted = desiredState(network, members[0] as Member, { members, endpoints }, uplinks);
  return { lines: render(wanted), problems: wanted.problems };
};

t.test('a tunnel, as a person would make it', async (t) => {
  const own = member(1, { mac: '02:00:00:00:00:01', subnets: ['10.244.1.0/24', 'fd00:244:0:1::/64'] });
  const other = member(2, { mac: '02:00:00:00:00:02', subnets: ['10.244.2.0/24', 'fd00:244:0:2::/64'] });
  t.same(lines(NETWORK, [own, other]), {
    problems: [],
    lines: [
      'ip link add weft42 address 02:00:00:00:00:01 mtu 1450 type vxlan id 42 dstport 4789 local 192.0.2.1 nolearning',
      "ip link set weft42 alias 'weft blue'",
      'ip link set weft42 up',
      'ip addr add 10.244.1.0/32 dev weft42',
      'ip addr add fd00:244:0:1::/128 dev weft42 nodad',
      'bridge fdb add 02:00:00:00:00:02 dev weft42 dst 192.0.2.2 self static',
      'ip neigh add 10.244.2.0 lladdr 02:00:00:00:00:02 dev weft42 nud permanent proto 119',
      'ip neigh add fe80::ff:fe00:2 lladdr 02:00:00:00:00:02 dev weft42 nud permanent proto 119',
      'ip route add unreachable 10.244.1.0/24 proto 119 metric 1000000',
      'ip -6 route add unreachable fd00:244:0:1::/64 proto 119 metric 1000000',
      'ip route add 10.244.2.0/24 via 10.244.2.0 dev weft42 onlink proto 119',
      'ip -6 route add fd00:244:0:2::/64 via fe80::ff:fe00:2 dev weft42 proto 119',
    ],
  });
});

t.test('a stretched subnet, as a person would make it', async (t) => {
  const members = [member(1, { mac: '02:00:00:00:00:01' }), member(2)];
  const endpoints = [
    { address: '10.244.1.9', mac: '02:00:00:00:01:09', host: 'host-1' },
    { address: '10.244.2.9', mac: '02:00:00:00:02:09', host: 'host-2' },
    { address: 'fd00:244::29', mac: '02:00:00:00:02:09', host: 'host-2' },
    { address: '10.244.3.9', mac: '02:00:00:00:03:09', host: 'a host that nobody knows' },
  ];
  t.same(lines(L2, members, endpoints).lines.slice(2), [
    'ip link add weft42 address 02:00:00:00:00:01 mtu 1450 type vxlan id 42 dstport 4789 local 192.0.2.1 nolearning',
    "ip link set weft42 alias 'weft blue'",
    'ip link set weft42 master br42',
    'ip link set weft42 type bridge_slave neigh_suppress on learning off flood off mcast_flood off bcast_flood off',
    'ip link set weft42 up',
    'ip neigh add 10.244.2.9 lladdr 02:00:00:00:02:09 dev br42 nud permanent proto 119',
    'bridge fdb add 02:00:00:00:02:09 dev weft42 dst 192.0.2.2 self master static',
    'ip neigh add fd00:244::29 lladdr 02:00:00:00:02:09 dev br42 nud permanent proto 119',
  ]);
});

t.test('routes without a tunnel', async (t) => {
  const six = member(2, {
    addresses: ['192.0.2.2', '2001:db8::2'],
    subnets: ['10.244.2.0/24', 'fd00:244:0:2::/64'],
  });
  t.same(lines(ROUTED, [member(1), six]), {
    problems: [],
    lines: [
      'ip route add unreachable 10.244.1.0/24 proto 119 metric 1000000',
      'ip route add 10.244.2.0/24 via 192.0.2.2 dev eth0 proto 119',
      'ip -6 route add fd00:244:0:2::/64 via 2001:db8::2 dev eth0 proto 119',
    ],
  });
  t.same(lines({ ...ROUTED, backend: 'bgp' }, [member(1), six]).lines, [
    'ip route add unreachable 10.244.1.0/24 proto 119 metric 1000000',
  ]);
  t.test('direct ones beside a tunnel', async (t) => {
    const network = { ...NETWORK, vxlan: { ...VXLAN, directRoutes: true } };
    const far = member(3, { addresses: ['198.51.100.3'] });
    const found = lines(network, [member(1), member(2), far]).lines.filter((line) =>
      /route add 10|fdb/.test(line),
    );
    t.same(found, [
      `bridge fdb add ${tunnelMac('host-3', 42)} dev weft42 dst 198.51.100.3 self static`,
      'ip route add 10.244.2.0/24 via 192.0.2.2 dev eth0 proto 119',
      'ip route add 10.244.3.0/24 via 10.244.3.0 dev weft42 onlink proto 119',
    ]);
  });
});

t.test('who cannot be reached is named, and why', async (t) => {
  const cases: readonly [ClusterNetwork, Member, RegExp][] = [
    [
      ROUTED,
      member(2, { addresses: ['198.51.100.2'] }),
      /^10\.244\.2\.0\/24 of host host-2 cannot be reached: 198\.51\.100\.2 is in no subnet of this host \(192\.0\.2\.1\/24 on eth0\), .* use the vxlan or bgp backend$/,
    ],
    [
      ROUTED,
      member(2, { subnets: ['fd00:244:0:2::/64'] }),
      /^fd00:244:0:2::\/64 of host host-2 cannot be reached: the host has no IPv6 address in the registry$/,
    ],
    [
      NETWORK,
      member(2, { addresses: ['2001:db8::2'] }),
      /^host host-2 cannot be reached: it has no IPv4 address/,
    ],
    [
      NETWORK,
      member(2, { addresses: ['192.0.2.1'] }),
      /^host host-2 has the address 192\.0\.2\.1 of this host/,
    ],
    [
      NETWORK,
      member(2, { subnets: ['10.244.1.128/25'] }),
      /^host host-2 holds 10\.244\.1\.128\/25, which overlaps with 10\.244\.1\.0\/24/,
    ],
    [
      NETWORK,
      member(2, { subnets: ['172.16.0.0/24'] }),
      /^host host-2 holds 172\.16\.0\.0\/24, which is in no pool of network blue \(10\.244\.0\.0\/16, fd00:244::\/48\)/,
    ],
  ];
  for (const [network, other, words] of cases) {
    const found = lines(network, [member(1), other, member(3)]);
    t.match(found.problems, [words]);
    t.equal(found.problems.length, 1);
    t.match(found.lines.join('\n'), /10\.244\.3\.0\/24 via/, 'others are reached');
    t.notMatch(found.lines.join('\n'), /(via|dst) (198|2001)/);
  }
  t.match(lines(NETWORK, [member(1)], [], []).problems, [
    /^192\.0\.2\.1 is this host's address in the registry, and on none/,
  ]);
});

t.test('an address has one spelling', async (t) => {
  const [self, other] = [
    member(1, { addresses: ['2001:DB8:0::1'] }),
    member(2, { addresses: ['2001:db8:0:0::2'] }),
  ];
  const found = lines(NETWORK, [self, other]);
  t.same(found.problems, []);
  t.match(found.lines.join('\n'), /local 2001:db8::1 .* dst 2001:db8::2 self/s);
});

t.test('what two hosts claim belongs to one of them, always the same', async (t) => {
  const found = lines(NETWORK, [
    member(1),
    member(2),
    member(3, { subnets: ['10.244.2.0/24', '10.244.3.0/24'] }),
  ]);
  t.match(found.problems, [
    /^hosts host-2 and host-3 both hold 10\.244\.2\.0\/24: give one of them another subnet/,
  ]);
  t.equal(found.lines.filter((line) => line.includes('add 10.244.2.0/24')).length, 1);
  t.equal(found.lines.filter((line) => line.includes('add 10.244.3.0/24')).length, 1);
  const mac = '02:00:00:00:00:09';
  const twice = ['host-2', 'host-3'].map((host) => ({ address: '10.244.0.9', mac, host }));
  const stretched = lines(L2, [member(1), member(2), member(3)], twice).lines.filter((line) =>
    line.includes(mac),
  );
  t.equal(stretched.length, 2, 'one neighbour, one FDB entry');
});

t.test('what cannot be done at all', async (t) => {
  const wanted =
    (network: ClusterNetwork, self: Member, uplinks = UPLINKS) =>
    () =>
      desiredState(network, self, { members: [], endpoints: [] }, uplinks);
  t.throws(wanted(NETWORK, member(1, { addresses: [] })), /host host-1 has no address in the registry/);
  t.throws(
    wanted({ ...NETWORK, mtu: 1200 }, member(1)),
    /network blue has 1200 bytes for each packet, and wants at least 1280/,
  );
  const narrow = UPLINKS.map((uplink) => ({ ...uplink, mtu: 1300 }));
  t.throws(wanted(NETWORK, member(1), narrow), /network blue has 1250 bytes/);
});

t.test('bytes that fit between containers', async (t) => {
  const six = member(1, { addresses: ['2001:db8::1'] });
  const fits = (network: ClusterNetwork, self = member(1), uplinks = UPLINKS) =>
    containerMtu(network, self, uplinks);
  t.equal(fits(NETWORK), 1450);
  t.equal(fits(NETWORK, six), 1430);
  t.equal(fits({ ...NETWORK, mtu: 1400 }), 1400);
  t.equal(fits({ ...NETWORK, mtu: 9000 }), 1450);
  t.equal(fits(ROUTED), 1500);
  t.equal(fits(NETWORK, member(1), []), 1450, "Ethernet's, where nothing is known");
});

t.test('a link-local address of a MAC', async (t) => {
  t.equal(linkLocal('02:00:00:00:00:02'), 'fe80::ff:fe00:2');
  t.equal(linkLocal('3e:91:55:ff:87:f2'), 'fe80::3c91:55ff:feff:87f2');
});

const dev = fc.constantFrom('weft42', 'eth0', 'br42');
const mac = fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03');
const address = fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1');
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({
    kind: fc.constant('address' as const),
    dev,
    address: fc.constantFrom('10.244.1.0/32', 'fd00::/128'),
  }),
  fc.record({
    kind: fc.constant('route' as const),
    dst: fc.constantFrom('10.244.1.0/24', '10.244.2.0/24', 'fd00::/64'),
    metric: fc.constantFrom(0, 1024, 1_000_000),
    dev,
    via: address,
  }),
  fc.record({ kind: fc.constant('neighbour' as const), dev, address, mac }),
  fc.record({ kind: fc.constant('fdb' as const), dev, mac, dst: address, inBridge: fc.boolean() }),
);
const entries = fc.uniqueArray(entry, { selector: keyOf, maxLength: 12 });
const device = fc.record({
  name: fc.constant('weft42'),
  alias: fc.constantFrom('weft blue', ''),
  vni: fc.constantFrom(42, 43),
  port: fc.constantFrom(4789, 8472),
  local: address,
  mac,
  mtu: fc.constantFrom(1450, 1430),
  up: fc.boolean(),
  learning: fc.boolean(),
  checksumOffload: fc.boolean(),
});
/** Nothing is on a device that is not there. */
const state: fc.Arbitrary<HostState> = fc
  .tuple(fc.option(device, { nil: undefined }), entries)
  .map(([device, entries]) =>
    device === undefined
      ? { entries: entriesOf(entries.filter(({ dev }) => dev !== 'weft42')) }
      : { device, entries: entriesOf(entries) },
  );
const ordered = (value: object) => JSON.stringify(value, Object.keys(value).sort());
const sorted = ({ device, entries }: HostState) => ({
  device: device && ordered(device),
  entries: [...entries.values()].map(ordered).sort(),
});

t.test('the difference, applied, gives what is wanted, whatever was found', async (t) => {
  fc.assert(
    fc.property(state, state, (wanted, found) => {
      const after = changed(found, difference(wanted, found));
      t.strictSame(sorted(after), sorted(wanted));
      return difference(wanted, after).length === 0;
    }),
    { numRuns: 300 },
  );
  t.pass('300 states');
});

t.test(
  'what has not changed costs nothing, and a host that joins costs the same among few and many',
  async (t) => {
    fc.assert(fc.property(state, (same) => difference(same, same).length === 0));
    const join = (count: number) => {
      const members = Array.from({ length: count }, (_, i) => member(i + 1));
      const [self] = members as [Member];
      const wanted = (members: readonly Member[]) =>
        desiredState(NETWORK, self, { members, endpoints: [] }, UPLINKS);
      return difference(wanted([...members, member(200)]), wanted(members)).length;
    };
    t.equal(join(2), 3, 'a route, a neighbour, an FDB entry');
    t.equal(join(100), 3);
  },
);
