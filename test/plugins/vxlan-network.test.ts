/** What the agent joins for a configuration, and what is refused in which words: the plugin says the same. No root. */
import t from 'tap';
import type { ClusterNetwork } from '../../cluster/network.ts';
import { clusterNetworkOf, type NamedConf } from '../../plugins/cluster-network.ts';

const VXLAN = { name: 'mynet', type: 'vxlan', pool: '10.244.0.0/16' };
const ROUTED = { ...VXLAN, type: 'routed' };
const BGP = { ...ROUTED, backend: 'bgp', bgp: { asn: 64512 } };

const POOL = { prefix: '10.244.0.0/16', blockLength: 24 };

t.test('what each configuration asks for', async (t) => {
  const derived = { vni: 11776202, port: 4789, device: 'weft.11776202' };
  const rest = { directRoutes: false, checksumOffload: true };
  const containerBridge = 'weftbr.11776202';
  const rows: [NamedConf, ClusterNetwork | undefined][] = [
    [
      VXLAN,
      { name: 'mynet', backend: 'vxlan', pools: [POOL], vxlan: { ...derived, containerBridge, ...rest } },
    ],
    [
      {
        ...VXLAN,
        VNI: 5,
        port: 8472,
        device: 'vx0',
        bridge: 'br5',
        mtu: 1400,
        directRoutes: true,
        checksumOffload: false,
      },
      {
        ...{ name: 'mynet', backend: 'vxlan', pools: [POOL], mtu: 1400 },
        vxlan: {
          ...{ vni: 5, port: 8472, device: 'vx0', containerBridge: 'br5' },
          ...{ directRoutes: true, checksumOffload: false },
        },
      },
    ],
    [
      { ...VXLAN, mode: 'l2' },
      {
        ...{ name: 'mynet', backend: 'vxlan-l2', pools: [{ prefix: '10.244.0.0/16', blockLength: 26 }] },
        vxlan: { ...derived, bridge: 'weftbr.11776202', ...rest },
      },
    ],
    [ROUTED, { name: 'mynet', backend: 'routed', pools: [POOL] }],
    [
      BGP,
      {
        ...{ name: 'mynet', backend: 'bgp', pools: [POOL] },
        bgp: { daemon: 'bird', asn: 64512, reflectors: [] },
      },
    ],
    [
      { ...BGP, bgp: { daemon: 'frr', asn: 4200000000, reflectors: ['192.0.2.1', 'FD00::1'] } },
      {
        ...{ name: 'mynet', backend: 'bgp', pools: [POOL] },
        bgp: { daemon: 'frr', asn: 4200000000, reflectors: ['192.0.2.1', 'fd00::1'] },
      },
    ],
    [{ name: 'mynet', type: 'bridge' }, undefined],
  ];
  for (const [conf, wanted] of rows) t.same(clusterNetworkOf(conf), wanted, JSON.stringify(conf));
});

t.test('pools: one of each family, with the usual parts or others', async (t) => {
  const pools = (found: object) => clusterNetworkOf({ ...VXLAN, pool: undefined, ...found })?.pools;
  t.same(pools({ pools: [{ prefix: 'fd00:244::/48' }, { prefix: '10.0.0.0/8', hostLength: 20 }] }), [
    { prefix: 'fd00:244::/48', blockLength: 64 },
    { prefix: '10.0.0.0/8', blockLength: 20 },
  ]);
  t.same(pools({ pools: [{ prefix: 'fd00:244::/64' }], mode: 'l2' }), [
    { prefix: 'fd00:244::/64', blockLength: 122 },
  ]);
  t.same(pools({ pools: [{ prefix: '10.9.9.0/24', hostLength: 32 }], mode: 'l2' }), [
    { prefix: '10.9.9.0/24', blockLength: 32 },
  ]);
});

const prefix = (prefix: string, hostLength?: number) => ({
  pool: undefined,
  pools: [{ prefix, hostLength }],
});

/** Base, what is changed, and what the refusal says. */
const REFUSED: readonly [NamedConf, object, string][] = [
  [VXLAN, { vni: 0 }, 'vni: found 0, wanted an integer from 1 to 16777215'],
  [VXLAN, { vni: 16777216 }, 'vni: found 16777216, wanted an integer from 1 to 16777215'],
  [VXLAN, { vni: '7' }, 'vni: found "7", wanted an integer from 1 to 16777215'],
  [VXLAN, { port: 0 }, 'port: found 0, wanted an integer from 1 to 65535'],
  [VXLAN, { port: 65536 }, 'port: found 65536, wanted an integer from 1 to 65535'],
  [VXLAN, { mode: 'l4' }, 'mode: found "l4", wanted one of "l3", "l2"'],
  [VXLAN, { mtu: 50 }, 'mtu: found 50, wanted an integer from 68 to 65535, or 0 for the default'],
  [
    VXLAN,
    { device: 'a-name-that-is-too-long' },
    'device: found "a-name-that-is-too-long", wanted the name of a link: 1 to 15 characters',
  ],
  [VXLAN, { device: 'äöüäöüäö' }, 'device is "äöüäöüäö": wanted at most 15 bytes'],
  [VXLAN, { bridge: 'a/b' }, 'bridge: found "a/b", wanted the name of a link'],
  [VXLAN, { device: 'x', bridge: 'x' }, 'device and bridge are both x: wanted two names'],
  [VXLAN, { mode: 'l2', directRoutes: true }, 'directRoutes: found true with mode l2, wanted mode l3'],
  [
    VXLAN,
    { pool: '10.244.0.0' },
    'pool: found "10.244.0.0", wanted an address with prefix length such as 10.1.0.0/16',
  ],
  [VXLAN, { pool: '10.244.1.0/16' }, 'pool: 10.244.1.0/16 has host bits set: wanted 10.244.0.0/16'],
  [VXLAN, { pool: '10.244.0.0/33' }, 'pool: found 10.244.0.0/33, wanted a prefix such as 10.244.0.0/16'],
  [VXLAN, { pool: '0.0.0.0/0' }, 'pool: 0.0.0.0/0 is every address: wanted a part of them'],
  [
    VXLAN,
    { pool: '10.244.0.0/28' },
    'pool: 10.244.0.0/28 has no room for the usual /24 of each host: set pools[].hostLength, from 28 to 30',
  ],
  [
    VXLAN,
    { pool: undefined },
    'pool: missing, wanted the prefix of all containers on all hosts, such as 10.244.0.0/16',
  ],
  [VXLAN, { pools: [{ prefix: '10.0.0.0/8' }] }, 'pool and pools are both set'],
  [VXLAN, { pool: undefined, pools: [] }, 'pools: found [], wanted a list of at least 1'],
  [VXLAN, { pool: undefined, pools: [{}] }, 'pools[0].prefix: missing, wanted an address with prefix length'],
  [
    VXLAN,
    prefix('10.244.0.0/16', 15),
    "pools[0].hostLength: found 15, wanted a prefix length from 16 to 30 for a host's subnet of 10.244.0.0/16",
  ],
  [VXLAN, prefix('10.244.0.0/16', 31), 'pools[0].hostLength: found 31, wanted a prefix length from 16 to 30'],
  [VXLAN, prefix('fd00::/48', 127), 'pools[0].hostLength: found 127, wanted a prefix length from 48 to 126'],
  [
    VXLAN,
    prefix('10.244.0.0/31'),
    'pools[0].prefix: 10.244.0.0/31 is too small: wanted a prefix length of 30 at most',
  ],
  [
    VXLAN,
    { ...prefix('10.244.0.0/16', 33), mode: 'l2' },
    "pools[0].hostLength: found 33, wanted a prefix length from 16 to 32 for a host's block",
  ],
  [
    VXLAN,
    { pool: undefined, pools: [{ prefix: '10.1.0.0/16' }, { prefix: '10.2.0.0/16' }] },
    'pools[1].prefix: 10.2.0.0/16 is the second pool of IPv4: wanted one of each family at most',
  ],
  [ROUTED, { backend: 'ospf' }, 'backend: found "ospf", wanted one of "direct", "bgp"'],
  [ROUTED, { backend: 'bgp' }, 'bgp.asn: missing, wanted the number of the autonomous system of all hosts'],
  [ROUTED, { bgp: { asn: 64512 } }, 'bgp is set, but backend is not bgp: set backend to "bgp" or remove bgp'],
  [BGP, { bgp: {} }, 'bgp.asn: missing, wanted an integer from 1 to 4294967294'],
  [BGP, { bgp: { asn: 0 } }, 'bgp.asn: found 0, wanted an integer from 1 to 4294967294'],
  [BGP, { bgp: { asn: 64512, daemon: 'quagga' } }, 'bgp.daemon: found "quagga", wanted one of "bird", "frr"'],
  [
    BGP,
    { bgp: { asn: 64512, reflectors: ['x.y'] } },
    'bgp.reflectors[0]: found "x.y", wanted an IPv4 or IPv6 address',
  ],
  [
    BGP,
    { bgp: { asn: 64512, reflectors: ['1.2.3'] } },
    'bgp.reflectors[0]: found 1.2.3, wanted the address of a route reflector',
  ],
];

t.test('what is refused, by name', async (t) => {
  for (const [base, change, words] of REFUSED) {
    try {
      const network = clusterNetworkOf({ ...base, ...change });
      t.fail(`${JSON.stringify(change)} was taken`, { network });
    } catch (error) {
      const { code, message } = error as { code: number; message: string };
      t.same([code, message.slice(0, words.length)], [7, words], JSON.stringify(change));
    }
  }
});
