import fc from 'fast-check';
import t from 'tap';
import { ErrorCode } from '../../cni/errors.ts';
import { formatAddress, parseAddress } from '../../cni/prefix.ts';
import { readHostLocal } from '../../ipam/host-local/config.ts';
import { candidates, formatSet } from '../../ipam/host-local/ranges.ts';
import { describeRanges } from '../../ipam/ranges-view.ts';
import { conf, errorOf } from './support.ts';
import '../support/seed.ts';

const setsOf = (ipam: object, more: object = {}) => readHostLocal(conf(ipam, more)).sets;

t.test('what is not given is filled in as the reference does', async (t) => {
  const sets = setsOf({ ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00:1::/64' }]] });
  t.same(sets.map(formatSet), ['10.1.0.1-10.1.0.254', 'fd00:1::1-fd00:1::ffff:ffff:ffff:ffff']);
  t.same(
    sets.flatMap((set) => set.ranges.map((range) => formatAddress(range.gateway))),
    ['10.1.0.1', 'fd00:1::1'],
  );
});

t.test('the order of sets: the runtime, the old single form, ranges', async (t) => {
  const sets = setsOf(
    {
      subnet: '10.2.0.0/24',
      rangeStart: '10.2.0.10',
      rangeEnd: '10.2.0.20',
      gateway: '10.2.0.254',
      ranges: [[{ subnet: '10.3.0.0/24' }, { subnet: '10.4.0.0/24' }]],
    },
    { runtimeConfig: { ipRanges: [[{ subnet: '10.1.0.0/24' }]] } },
  );
  t.same(sets.map(formatSet), [
    '10.1.0.1-10.1.0.254',
    '10.2.0.10-10.2.0.20',
    '10.3.0.1-10.3.0.254, 10.4.0.1-10.4.0.254',
  ]);
  t.same(
    sets.map((set) => set.index),
    [0, 1, 2],
  );
});

t.test('empty strings count as not given, keys match in any case, null is absent', async (t) => {
  const range = { Subnet: '10.1.0.0/24', rangestart: '', RANGEEND: '10.1.0.9', gateway: null };
  t.same(setsOf({ ranges: [[range]] }).map(formatSet), ['10.1.0.1-10.1.0.9']);
});

const bad: [what: string, ipam: object, message: RegExp, more?: object][] = [
  ['no ranges', {}, /there are no ranges/],
  ['empty list of sets', { ranges: [] }, /there are no ranges/],
  ['an empty set', { ranges: [[]] }, /ipam\.ranges\[0\]: a range set is empty/],
  ['no subnet', { ranges: [[{}]] }, /ipam\.ranges\[0\]\[0\]\.subnet: missing/],
  ['wrong type', { ranges: [[{ subnet: 5 }]] }, /ipam\.ranges\[0\]\[0\]\.subnet: found 5/],
  ['ranges is no list', { ranges: 'x' }, /ipam\.ranges: found "x", wanted a list/],
  ['no address', { subnet: '10.1.0/24' }, /ipam\.subnet: wanted a subnet/],
  [
    'host bits',
    { subnet: '10.1.0.5/24' },
    /ipam\.subnet: 10\.1\.0\.5\/24 has host bits set: wanted 10\.1\.0\.0\/24/,
  ],
  ['/31', { subnet: '10.1.0.0/31' }, /too small to allocate from.*at most \/30/],
  ['/32', { subnet: '10.1.0.0/32' }, /too small/],
  ['/127', { subnet: 'fd00::/127' }, /too small to allocate from.*at most \/126/],
  [
    'gateway outside',
    { subnet: '10.1.0.0/24', gateway: '10.2.0.1' },
    /ipam\.gateway: .*10\.1\.0\.0\/24, found 10\.2/,
  ],
  ['gateway of other family', { subnet: '10.1.0.0/24', gateway: 'fe80::1' }, /ipam\.gateway/],
  [
    'start outside',
    { subnet: '10.1.0.0/24', rangeStart: '10.0.0.9' },
    /ipam\.rangeStart: wanted an address of/,
  ],
  ['end outside', { subnet: '10.1.0.0/24', rangeEnd: '10.1.1.9' }, /ipam\.rangeEnd: wanted an address of/],
  [
    'start after end',
    { subnet: '10.1.0.0/24', rangeStart: '10.1.0.9', rangeEnd: '10.1.0.8' },
    /ipam\.rangeStart: 10\.1\.0\.9 lies after rangeEnd 10\.1\.0\.8/,
  ],
  [
    'families mixed in a set',
    { ranges: [[{ subnet: '10.1.0.0/24' }, { subnet: 'fd00::/64' }]] },
    /ipam\.ranges\[0\]: a range set mixes IPv4 and IPv6/,
  ],
  [
    'overlap within a set',
    { ranges: [[{ subnet: '10.1.0.0/24' }, { subnet: '10.1.0.0/25' }]] },
    /ipam\.ranges\[0\]\[1\]: .* overlaps with .* of ipam\.ranges\[0\]\[0\]/,
  ],
  [
    'overlap of two sets',
    { subnet: '10.1.0.0/16', ranges: [[{ subnet: '10.1.7.0/24' }]] },
    /ipam\.ranges\[0\]\[0\]: 10\.1\.7\.1-10\.1\.7\.254 overlaps with .* of ipam:/,
  ],
  [
    'overlap with the runtime',
    { subnet: '10.1.0.0/16' },
    /ipam: .* overlaps with .* of runtimeConfig\.ipRanges\[0\]\[0\]/,
    { runtimeConfig: { ipRanges: [[{ subnet: '10.1.0.0/24' }]] } },
  ],
  ['a route that is none', { subnet: '10.1.0.0/24', routes: [{ dst: '10/8' }] }, /ipam\.routes\[0\]\.dst/],
  [
    'two of a family for an old version',
    { ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: '10.2.0.0/24' }]] },
    /cniVersion 0\.2\.0 knows one IPv4 and one IPv6 address/,
    { cniVersion: '0.2.0' },
  ],
];

for (const [what, ipam, message, more] of bad) {
  t.test(`refused: ${what}`, async (t) => {
    const error = await errorOf(() => readHostLocal(conf(ipam, more)));
    t.equal(error.code, ErrorCode.invalidConfig);
    t.match(error.message, message);
  });
}

t.test('a link-local gateway is on the link of any IPv6 subnet', async (t) => {
  const [set] = setsOf({ subnet: 'fd00::/64', gateway: 'fe80::1' });
  t.equal(formatAddress(set?.ranges[0]?.gateway ?? { family: 4, value: 0n }), 'fe80::1');
});

t.test('ranges of one subnet that do not overlap are fine', async (t) => {
  const ranges = [
    [{ subnet: '10.1.0.0/24', rangeEnd: '10.1.0.99' }],
    [{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.100' }],
  ];
  t.equal(setsOf({ ranges }).length, 2);
});

/** All candidates as texts. */
function names(ipam: object, set: number, last?: string): string[] {
  const found = setsOf(ipam)[set];
  if (found === undefined) return [];
  return [...candidates(found, last === undefined ? undefined : parseAddress(last))].map(formatAddress);
}

t.test('round robin over alternatives: from the one after the last, round to it', async (t) => {
  const ipam = {
    ranges: [
      [
        { subnet: '10.1.0.0/29', rangeStart: '10.1.0.4' },
        { subnet: '10.2.0.0/29', rangeStart: '10.2.0.5', gateway: '10.2.0.6' },
      ],
    ],
  };
  const all = ['10.1.0.4', '10.1.0.5', '10.1.0.6', '10.2.0.5'];
  t.same(names(ipam, 0), all);
  t.same(names(ipam, 0, '10.1.0.5'), ['10.1.0.6', '10.2.0.5', '10.1.0.4', '10.1.0.5']);
  t.same(names(ipam, 0, '10.2.0.5'), all);
  t.same(names(ipam, 0, '10.9.0.1'), all, 'the last one is in no range any more');
  t.same(names(ipam, 0, 'fd00::1'), all, 'the last one is of another family');
});

t.test('gateways of all ranges, network and broadcast addresses are not handed out', async (t) => {
  const ipam = {
    ranges: [
      [{ subnet: '10.1.0.0/29', rangeStart: '10.1.0.0', rangeEnd: '10.1.0.7' }],
      [{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.8', rangeEnd: '10.1.0.12', gateway: '10.1.0.3' }],
    ],
  };
  t.same(names(ipam, 0), ['10.1.0.2', '10.1.0.4', '10.1.0.5', '10.1.0.6']);
});

t.test('whatever the range: each address once, in the range, none excluded, none left out', async (t) => {
  const subnet = fc.integer({ min: 26, max: 30 });
  const some = fc.tuple(subnet, fc.nat(), fc.nat(), fc.nat(), fc.nat());
  fc.assert(
    fc.property(some, ([bits, a, b, g, l]) => {
      const size = 2 ** (32 - bits);
      const [start, end] = [a % size, b % size].sort((x, y) => x - y) as [number, number];
      const at = (n: number) => `10.0.0.${n % size}`;
      const ipam = { subnet: `10.0.0.0/${bits}`, rangeStart: at(start), rangeEnd: at(end), gateway: at(g) };
      const wanted = Array.from({ length: end - start + 1 }, (_, n) => start + n)
        .filter((n) => n !== 0 && n !== size - 1 && n !== g % size)
        .map(at);
      t.same(names(ipam, 0), wanted);
      t.same(names(ipam, 0, at(l)).sort(), [...wanted].sort());
    }),
    { numRuns: 200 },
  );
});

t.test('describeRanges counts what candidates yields', async (t) => {
  const ipam = {
    ranges: [
      [{ subnet: '10.1.0.0/28' }, { subnet: '10.2.0.0/28', rangeStart: '10.2.0.0', rangeEnd: '10.2.0.15' }],
      [{ subnet: 'fd00::/64' }],
    ],
  };
  const views = await describeRanges(conf(ipam));
  t.same(views, [
    {
      set: 0,
      subnet: '10.1.0.0/28',
      subnetSize: 16n,
      first: '10.1.0.2',
      last: '10.1.0.14',
      gateway: '10.1.0.1',
      size: 13n,
    },
    {
      set: 0,
      subnet: '10.2.0.0/28',
      subnetSize: 16n,
      first: '10.2.0.2',
      last: '10.2.0.14',
      gateway: '10.2.0.1',
      size: 13n,
    },
    {
      set: 1,
      subnet: 'fd00::/64',
      subnetSize: 2n ** 64n,
      first: 'fd00::2',
      last: 'fd00::ffff:ffff:ffff:ffff',
      gateway: 'fd00::1',
      size: 2n ** 64n - 2n,
    },
  ]);
  t.equal(names(ipam, 0).length, 26);
});
