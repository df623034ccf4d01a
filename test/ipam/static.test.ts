import t from 'tap';
import { ErrorCode } from '../../cni/errors.ts';
import type { IpamRequest } from '../../ipam/ipam.ts';
import { ownIpam } from '../../ipam/registry.ts';
import { staticIpam } from '../../ipam/static/static.ts';
import { conf, errorOf, request, resultOf, world } from './support.ts';

const w = world(t);
const ask = (ipam: object, more: object = {}, args: Record<string, string> = {}): IpamRequest =>
  request(w, conf({ type: 'static', ...ipam }, more), 'c1', { args });
const add = (...args: Parameters<typeof ask>) => staticIpam.add(ask(...args));

const addresses = [
  { address: '10.1.0.5/24', gateway: '10.1.0.1' },
  { address: 'FD00:0::5/64', gateway: '' },
];

t.test('what is configured', async (t) => {
  const routes = [
    { dst: '0.0.0.0/0', gw: '10.1.0.254', mtu: 1400, advmss: 1360, priority: 5, table: 0, scope: 0 },
  ];
  const dns = { nameservers: ['10.1.0.1'], domain: 'example', search: ['a'], options: ['ndots:5'] };
  t.same(await add({ addresses, routes, dns }), {
    ips: [{ address: '10.1.0.5/24', gateway: '10.1.0.1' }, { address: 'fd00::5/64' }],
    routes,
    dns,
  });
  t.same(await add({}), { ips: [], routes: [], dns: {} }, 'no addresses are none, as in the reference');
});

t.test('what the runtime asks for takes the place of it, by weight', async (t) => {
  const args = { args: { cni: { ips: ['10.1.0.7/24'] } } };
  const runtime = { runtimeConfig: { ips: ['10.1.0.8/24', 'fd00::8/64'] } };
  const env = { IP: '10.1.0.6/24, fd00::6/64', GATEWAY: '10.1.0.9,fd00::9' };
  const ips = async (...way: Parameters<typeof ask>) => (await add(...way)).ips;
  t.same(await ips({ addresses }, {}, env), [
    { address: '10.1.0.6/24', gateway: '10.1.0.9' },
    { address: 'fd00::6/64', gateway: 'fd00::9' },
  ]);
  t.same(await ips({ addresses }, args, { IP: env.IP }), [{ address: '10.1.0.7/24' }]);
  t.same(await ips({ addresses }, { ...args, ...runtime }, { IP: env.IP }), [
    { address: '10.1.0.8/24' },
    { address: 'fd00::8/64' },
  ]);
  t.same(
    await ips({ addresses }, { runtimeConfig: { ips: ['10.1.0.5/24'] } }),
    [{ address: '10.1.0.5/24', gateway: '10.1.0.1' }],
    'a configured address keeps its gateway',
  );
  t.same(
    await ips({ addresses }, {}, { GATEWAY: '10.1.0.77' }),
    [{ address: '10.1.0.5/24', gateway: '10.1.0.77' }, { address: 'fd00::5/64' }],
    'GATEWAY is for the subnet that it lies in',
  );
});

const bad: [what: string, way: Parameters<typeof ask>, code: number, message: RegExp][] = [
  [
    'no prefix length',
    [{ addresses: [{ address: '10.1.0.5' }] }],
    7,
    /ipam\.addresses\[0\]\.address: found "10\.1\.0\.5"/,
  ],
  [
    'no address',
    [{ addresses: [{ address: '10.1.0.500/24' }] }],
    7,
    /ipam\.addresses\[0\]\.address: wanted an address/,
  ],
  ['missing', [{ addresses: [{}] }], 7, /ipam\.addresses\[0\]\.address: missing/],
  [
    'gateway',
    [{ addresses: [{ address: '10.1.0.5/24', gateway: '10.1' }] }],
    7,
    /ipam\.addresses\[0\]\.gateway/,
  ],
  [
    'route',
    [{ routes: [{ dst: '0.0.0.0/0', gw: 'fd00::1' }] }],
    7,
    /ipam\.routes\[0\]\.gw: wanted an address of the family/,
  ],
  [
    'CNI_ARGS IP',
    [{}, {}, { IP: '10.1.0.5' }],
    ErrorCode.invalidEnvironment,
    /CNI_ARGS IP: wanted an address with prefix/,
  ],
  ['CNI_ARGS GATEWAY', [{}, {}, { GATEWAY: 'x' }], ErrorCode.invalidEnvironment, /CNI_ARGS GATEWAY: wanted/],
  [
    'runtimeConfig.ips',
    [{}, { runtimeConfig: { ips: ['10.1.0.5'] } }],
    7,
    /runtimeConfig\.ips\[0\]: found "10\.1\.0\.5"/,
  ],
  [
    'two of a family for an old version',
    [{ addresses: [{ address: '10.1.0.5/24' }, { address: '10.1.0.6/24' }] }, { cniVersion: '0.2.0' }],
    7,
    /knows one IPv4 and one IPv6 address/,
  ],
];
for (const [what, way, code, message] of bad) {
  t.test(`refused: ${what}`, async (t) => {
    const error = await errorOf(() => add(...way));
    t.equal(error.code, code);
    t.match(error.message, message);
  });
}

t.test('CHECK compares with the previous result', async (t) => {
  const good = {
    ...ask({ addresses }),
    prevResult: resultOf(['10.1.0.5/24', 'fd00:0::5/64', '192.0.2.1/24']),
  };
  await staticIpam.check(good);
  const error = await errorOf(() => staticIpam.check({ ...good, prevResult: resultOf(['10.1.0.5/24']) }));
  t.equal(error.code, ErrorCode.checkFailed);
  t.match(
    error.message,
    /address fd00::5\/64 of the configuration is not in the previous result, which has 10\.1\.0\.5/,
  );
});

t.test('DEL and GC have nothing to do; STATUS looks at the configuration', async (t) => {
  t.same(await staticIpam.del(ask({ addresses: 'odd' })), []);
  t.same(await staticIpam.gc(ask({}), []), []);
  await staticIpam.status(ask({ addresses }));
  t.equal((await errorOf(() => staticIpam.status(ask({ addresses: 5 })))).code, ErrorCode.invalidConfig);
});

t.test('which address managements are our own', async (t) => {
  t.equal((await ownIpam('host-local'))?.type, 'host-local');
  t.equal((await ownIpam('static'))?.type, 'static');
  t.equal(await ownIpam('dhcp'), undefined);
});
