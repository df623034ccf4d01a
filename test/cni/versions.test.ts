import fc from 'fast-check';
import t from 'tap';
import type { CniVersion, Result } from '../../cni/types.ts';
import { SUPPORTED_VERSIONS } from '../../cni/types.ts';
import { formatResult, isAtLeast, parseResult } from '../../cni/versions.ts';
import '../support/seed.ts';

const source = { name: 'result', code: 6 };
const read = (value: unknown, fallback: CniVersion = '1.1.0') => parseResult(value, fallback, source);
const write = (result: Result, version: CniVersion) =>
  JSON.parse(JSON.stringify(formatResult(result, version)));

/** Everything that the newest version can say, and a field of each kind that none knows. */
const full: Result = {
  interfaces: [
    { name: 'cni0', mac: '0a:00:00:00:00:01', mtu: 1500 },
    {
      name: 'eth0',
      mac: '0a:00:00:00:00:02',
      mtu: 9000,
      sandbox: '/n',
      socketPath: '/s',
      pciID: '0:1',
      x: 1,
    } as never,
  ],
  ips: [
    { address: '10.1.0.2/24', gateway: '10.1.0.1', interface: 1, x: 2 } as never,
    { address: 'fd00::2/64', interface: 0 },
    { address: '10.1.0.3/24', interface: 1 },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1400, advmss: 1360, priority: 5, table: 0, scope: 0 },
    { dst: '::/0', gw: 'fd00::1' },
  ],
  dns: { nameservers: ['1.1.1.1'], domain: 'd', search: ['s'], options: ['o'] },
  ...({ x: 3 } as object),
};

const links = [
  { name: 'cni0', mac: '0a:00:00:00:00:01' },
  { name: 'eth0', mac: '0a:00:00:00:00:02', sandbox: '/n', x: 1 },
];
const ips = [
  { address: '10.1.0.2/24', gateway: '10.1.0.1', interface: 1, x: 2 },
  { address: 'fd00::2/64', interface: 0 },
  { address: '10.1.0.3/24', interface: 1 },
];
const routes = [
  { dst: '0.0.0.0/0', gw: '10.1.0.1' },
  { dst: '::/0', gw: 'fd00::1' },
];
const legacy = {
  x: 3,
  ip4: { ip: '10.1.0.2/24', gateway: '10.1.0.1', x: 2, routes: [routes[0]] },
  ip6: { ip: 'fd00::2/64', routes: [routes[1]] },
  dns: full.dns,
};
const versioned = {
  x: 3,
  interfaces: links,
  ips: ips.map((ip, index) => ({ version: index === 1 ? '6' : '4', ...ip })),
  routes,
  dns: full.dns,
};

const WRITTEN: Record<CniVersion, object> = {
  '0.1.0': legacy,
  '0.2.0': legacy,
  '0.3.0': versioned,
  '0.3.1': versioned,
  '0.4.0': versioned,
  '1.0.0': { x: 3, interfaces: links, ips, routes, dns: full.dns },
  '1.1.0': full,
};

t.test('down: each version gets what it knows', async (t) => {
  for (const version of SUPPORTED_VERSIONS) {
    t.strictSame(write(full, version), { ...WRITTEN[version], cniVersion: version }, version);
  }
});

t.test('empty lists and an empty dns are left out', async (t) => {
  for (const dns of [{}, { nameservers: [], search: [] }, { domain: '' }]) {
    t.strictSame(write({ interfaces: [], ips: [], routes: [], dns }, '1.0.0'), { cniVersion: '1.0.0' });
  }
  const only6 = write({ interfaces: [], ips: [{ address: '::2/64' }], routes: [], dns: {} }, '0.2.0');
  t.strictSame(only6, { cniVersion: '0.2.0', ip6: { ip: '::2/64' } });
});

t.test('0.2.0 and older cannot say that there is no address', async (t) => {
  for (const version of ['0.1.0', '0.2.0'] as const) {
    t.throws(() => write({ ...full, ips: [] }, version), { code: 1, message: /needs an address/ });
  }
});

t.test('up: zero values of Go programs are absent, but for table and scope', async (t) => {
  t.strictSame(
    read({
      cniVersion: '1.1.0',
      interfaces: [{ name: 'eth0', mac: '', mtu: 0, sandbox: '' }],
      ips: [{ address: '10.0.0.2/24', gateway: '', interface: 0 }],
      routes: [{ dst: '0.0.0.0/0', gw: '', mtu: 0, advmss: 0, priority: 0, table: 0, scope: 0 }],
      dns: { domain: '' },
    }),
    {
      interfaces: [{ name: 'eth0' }],
      ips: [{ address: '10.0.0.2/24', interface: 0 }],
      routes: [{ dst: '0.0.0.0/0', table: 0, scope: 0 }],
      dns: {},
    },
  );
});

t.test("up: Go's spelling of keys, null, and unknown fields", async (t) => {
  const result = read({
    CNIVersion: '0.4.0',
    IPs: [{ Version: '4', Address: '1.2.3.4/8', Interface: null }],
    DNS: null,
    mine: {},
  });
  t.strictSame(result, { interfaces: [], ips: [{ address: '1.2.3.4/8' }], routes: [], dns: {}, mine: {} });
});

t.test("a wrong type is refused with the field's name", async (t) => {
  for (const [value, message] of [
    [null, 'result: found null, wanted a result object'],
    [[], 'result: found [], wanted a result object'],
    ['x', /wanted a result object/],
    [{ ips: {} }, 'result.ips: found {}, wanted a list'],
    [{ ips: [5] }, 'result.ips[0]: found 5, wanted an object'],
    [{ ips: [{}] }, 'result.ips[0].address: missing, wanted an address with prefix length'],
    [{ ips: [{ address: '10.0.0.1' }] }, /wanted an address with prefix length/],
    [{ ips: [{ address: '10.0.0.1/8', interface: '0' }] }, /ips\[0\]\.interface: found "0"/],
    [{ interfaces: [{}] }, /interfaces\[0\]\.name: missing, wanted a string/],
    [{ interfaces: [{ name: 'x', mtu: 1.5 }] }, /mtu: found 1\.5/],
    [{ routes: [{ dst: 'x' }] }, /routes\[0\]\.dst/],
    [{ routes: [{ dst: '::/0', table: 'main' }] }, /table: found "main"/],
    [{ dns: 'x' }, /dns: found "x"/],
    [{ dns: { search: 'x' } }, /dns\.search: found "x", wanted a list of strings/],
    [{ cniVersion: '0.2.0', ip4: { ip: 5 } }, /ip4\.ip: found 5/],
    [{ cniVersion: '0.2.0', ip6: { ip: '::1/64', routes: [{}] } }, /ip6\.routes\[0\]\.dst: missing/],
  ] as const) {
    t.throws(() => read(value), { code: 6, message }, JSON.stringify(value));
  }
  for (const cniVersion of ['2.0.0', '1.1', 5, {}]) t.throws(() => read({ cniVersion }), { code: 1 });
});

t.test('versions are ordered', async (t) => {
  t.ok(isAtLeast('1.0.0', '0.4.0'));
  t.ok(isAtLeast('0.4.0', '0.4.0'));
  t.notOk(isAtLeast('0.3.1', '0.4.0'));
});

const text = fc.string({ minLength: 1, maxLength: 8 });
const byte = fc.integer({ min: 0, max: 255 });
const v4 = fc.tuple(byte, byte, byte, byte).map((parts) => parts.join('.'));
const v6 = fc.integer({ min: 1, max: 0xffff }).map((n) => `fd00::${n.toString(16)}`);
const prefix4 = fc.tuple(v4, fc.integer({ min: 0, max: 32 })).map(([ip, length]) => `${ip}/${length}`);
const prefix6 = fc.tuple(v6, fc.integer({ min: 0, max: 128 })).map(([ip, length]) => `${ip}/${length}`);
const prefix = fc.oneof(prefix4, prefix6);
const count = fc.integer({ min: 1, max: 65535 });

const dnsArbitrary = fc.record(
  {
    nameservers: fc.array(v4, { minLength: 1 }),
    domain: text,
    search: fc.array(text, { minLength: 1 }),
    options: fc.array(text, { minLength: 1 }),
  },
  { requiredKeys: [] },
);

/** A result that uses only what `version` knows (0.3.0 and newer). */
function resultOf(version: CniVersion): fc.Arbitrary<object> {
  const newest = version === '1.1.0';
  const link = {
    name: text,
    mac: text,
    sandbox: text,
    ...(newest && { mtu: count, socketPath: text, pciID: text }),
  };
  const route = {
    dst: prefix,
    gw: v4,
    ...(newest && { mtu: count, advmss: count, priority: count, table: fc.nat(300), scope: fc.nat(255) }),
  };
  const ip = fc.record(
    { address: prefix, gateway: v4, interface: fc.nat(5), custom: fc.jsonValue() },
    { requiredKeys: ['address'] },
  );
  return fc.record({
    interfaces: fc.array(fc.record(link, { requiredKeys: ['name'] }), { minLength: 1 }),
    ips: fc.array(ip, { minLength: 1 }),
    routes: fc.array(fc.record(route, { requiredKeys: ['dst'] }), { minLength: 1 }),
    dns: dnsArbitrary.filter((dns) => Object.keys(dns).length > 0),
  });
}

/** Objects of fast-check have no prototype, and its JSON values may have nulls, which count as absent. */
function plain(value: object): Record<string, unknown> {
  const withoutNull = (_: string, item: unknown): unknown =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).filter(([key, one]) => one !== null && key !== '__proto__'))
      : item;
  return JSON.parse(JSON.stringify(value, withoutNull));
}

t.test('property: what a version says survives the way up and down again', async (t) => {
  for (const version of SUPPORTED_VERSIONS.slice(2)) {
    fc.assert(
      fc.property(resultOf(version), (generated) => {
        const raw = plain(generated);
        const list = raw.ips as { address: string }[];
        const given = version.startsWith('0.')
          ? { ...raw, ips: list.map((ip) => ({ version: ip.address.includes(':') ? '6' : '4', ...ip })) }
          : raw;
        t.strictSame(write(read(given, version), version), { ...given, cniVersion: version });
      }),
      { numRuns: 100 },
    );
  }
});

t.test('property: 0.2.0 survives the way up and down again', async (t) => {
  const part = (address: fc.Arbitrary<string>, gateway: fc.Arbitrary<string>) => {
    const one = fc.record({ dst: address, gw: gateway }, { requiredKeys: ['dst'] });
    return fc.record(
      { ip: address, gateway, routes: fc.array(one, { minLength: 1 }) },
      { requiredKeys: ['ip'] },
    );
  };
  const result = fc.record({ ip4: part(prefix4, v4), ip6: part(prefix6, v6) }, { requiredKeys: [] });
  fc.assert(
    fc.property(result, (generated) => {
      const raw = plain(generated);
      fc.pre(Object.keys(raw).length > 0);
      t.strictSame(write(read(raw, '0.2.0'), '0.2.0'), { ...raw, cniVersion: '0.2.0' });
    }),
    { numRuns: 200 },
  );
});

t.test('property: down in two steps is down in one', async (t) => {
  fc.assert(
    fc.property(
      resultOf('1.1.0'),
      fc.subarray([...SUPPORTED_VERSIONS], { minLength: 2, maxLength: 2 }),
      (generated, pair) => {
        const [low, high] = pair as [CniVersion, CniVersion];
        const newest = read(plain(generated));
        t.strictSame(write(read(write(newest, high), high), low), write(newest, low));
      },
    ),
    { numRuns: 300 },
  );
});

t.test('property: any JSON is read, or refused with an error of ours', async (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(...SUPPORTED_VERSIONS), (value, version) => {
      try {
        const result = read(value, version);
        t.ok(Array.isArray(result.ips));
      } catch (error) {
        t.match(error, { name: 'CniError' });
      }
    }),
    { numRuns: 500 },
  );
});
