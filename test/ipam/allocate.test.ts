import fc from 'fast-check';
import t from 'tap';
import { ErrorCode } from '../../cni/errors.ts';
import { askedAddresses } from '../../ipam/asked.ts';
import { allocate, collect, releaseAll, wishesOf } from '../../ipam/host-local/allocate.ts';
import { readHostLocal } from '../../ipam/host-local/config.ts';
import { MemoryLeases } from './memory-leases.ts';
import { conf, errorOf } from './support.ts';
import '../support/seed.ts';

const dual = { ranges: [[{ subnet: '10.1.0.0/29' }], [{ subnet: 'fd00::/64' }]] };
const id = (containerId: string, ifname = 'eth0') => ({ containerId, ifname });

interface Ask {
  args?: Record<string, string>;
  more?: object;
  adopt?: boolean;
  ifname?: string;
}

function add(leases: MemoryLeases, containerId: string, ipam: object = dual, ask: Ask = {}) {
  const config = conf(ipam, ask.more);
  const { conf: read, sets } = readHostLocal(config);
  const wishes = wishesOf(sets, askedAddresses(read, ask.args ?? {}));
  const done = allocate(wishes, id(containerId, ask.ifname), leases, ask.adopt ?? true);
  return { ...done, addresses: done.ips.map((ip) => ip.address) };
}

t.test('one address of each set, with prefix length and gateway', async (t) => {
  const leases = new MemoryLeases();
  t.same(add(leases, 'a').ips, [
    { address: '10.1.0.2/29', gateway: '10.1.0.1' },
    { address: 'fd00::2/64', gateway: 'fd00::1' },
  ]);
  t.same(add(leases, 'b').addresses, ['10.1.0.3/29', 'fd00::3/64']);
  t.same(
    [...leases.last],
    [
      [0, '10.1.0.3'],
      [1, 'fd00::3'],
    ],
  );
});

t.test('an address that was given back is not the next one: round robin', async (t) => {
  const leases = new MemoryLeases();
  add(leases, 'a');
  t.same(releaseAll(id('a'), leases), ['10.1.0.2', 'fd00::2']);
  t.same(add(leases, 'b').addresses, ['10.1.0.3/29', 'fd00::3/64']);
});

t.test('exhausted: an error that says so, and what was taken of other sets is given back', async (t) => {
  const leases = new MemoryLeases();
  const narrow = { ranges: [[{ subnet: 'fd00::/64' }], [{ subnet: '10.1.0.0/30' }]] };
  add(leases, 'a', narrow);
  const error = await errorOf(() => add(leases, 'b', narrow));
  t.equal(error.code, ErrorCode.exhausted);
  t.match(error.message, /no address is left in range set 1 \(10\.1\.0\.1-10\.1\.0\.2\)/);
  t.same([...leases.held.keys()], ['fd00::2', '10.1.0.2']);
});

t.test('alternatives in a set are used up one after the other', async (t) => {
  const leases = new MemoryLeases();
  const two = { ranges: [[{ subnet: '10.1.0.0/30' }, { subnet: '10.2.0.0/30' }]] };
  t.same(add(leases, 'a', two).ips, [{ address: '10.1.0.2/30', gateway: '10.1.0.1' }]);
  t.same(add(leases, 'b', two).ips, [{ address: '10.2.0.2/30', gateway: '10.2.0.1' }]);
  t.equal((await errorOf(() => add(leases, 'c', two))).code, ErrorCode.exhausted);
});

t.test('addresses asked for: every way, with and without prefix length, both families', async (t) => {
  const ways: Ask[] = [
    { args: { IP: '10.1.0.5,fd00::5' } },
    { args: { IP: 'fd00:0::5 , 10.1.0.5/29' } },
    { more: { args: { cni: { ips: ['10.1.0.5', 'FD00::5'] } } } },
    { more: { runtimeConfig: { ips: ['10.1.0.5/24', 'fd00::5/64'] } } },
    { args: { IP: '10.1.0.5' }, more: { runtimeConfig: { ips: ['fd00::5', '10.1.0.5'] } } },
  ];
  for (const ask of ways) {
    const leases = new MemoryLeases();
    t.same(add(leases, 'a', dual, ask).addresses, ['10.1.0.5/29', 'fd00::5/64']);
    t.same(leases.last.get(0), '10.1.0.5', 'the round goes on from there');
  }
  t.same(add(new MemoryLeases(), 'a', dual, { args: { IP: 'fd00::9' } }).addresses, [
    '10.1.0.2/29',
    'fd00::9/64',
  ]);
});

const refused: [what: string, ask: Ask, code: number, message: RegExp][] = [
  [
    'held',
    { args: { IP: '10.1.0.2' } },
    ErrorCode.conflict,
    /CNI_ARGS IP: 10\.1\.0\.2 is held by container a \(eth0\)/,
  ],
  [
    'in no range',
    { args: { IP: '10.9.0.1' } },
    ErrorCode.invalidConfig,
    /10\.9\.0\.1 is in no range; there are 10\.1\.0\.1-/,
  ],
  [
    'gateway',
    { args: { IP: '10.1.0.1' } },
    ErrorCode.invalidConfig,
    /10\.1\.0\.1 is a gateway, network or broadcast/,
  ],
  [
    'no address',
    { args: { IP: '10.1.0' } },
    ErrorCode.invalidEnvironment,
    /CNI_ARGS IP: wanted an IPv4 or IPv6 address/,
  ],
  [
    'no address, in the configuration',
    { more: { runtimeConfig: { ips: ['10.1.0.300'] } } },
    ErrorCode.invalidConfig,
    /runtimeConfig\.ips: wanted an IPv4 or IPv6 address/,
  ],
  [
    'two of one set',
    { args: { IP: '10.1.0.4' }, more: { runtimeConfig: { ips: ['10.1.0.5'] } } },
    ErrorCode.invalidConfig,
    /runtimeConfig\.ips: 10\.1\.0\.5 and 10\.1\.0\.4 are of the same range set/,
  ],
];
for (const [what, ask, code, message] of refused) {
  t.test(`an address asked for that cannot be: ${what}`, async (t) => {
    const leases = new MemoryLeases();
    add(leases, 'a');
    const error = await errorOf(() => add(leases, 'b', dual, ask));
    t.equal(error.code, code);
    t.match(error.message, message);
    t.same(leases.of(id('b')), []);
  });
}

t.test('a second ADD: adopted, with a word about it', async (t) => {
  const leases = new MemoryLeases();
  const first = add(leases, 'a');
  t.equal(first.adopted, false);
  const second = add(leases, 'a');
  t.same(second, { ...first, adopted: true });
  t.equal(leases.held.size, 2);
  t.same(add(leases, 'a', dual, { args: { IP: '10.1.0.2' } }).addresses, first.addresses);
  const error = await errorOf(() => add(leases, 'a', dual, { args: { IP: '10.1.0.4' } }));
  t.equal(error.code, ErrorCode.conflict);
  t.match(error.message, /asks for 10\.1\.0\.4 and holds 10\.1\.0\.2 already/);
});

t.test('a second ADD after a crash between two addresses: the missing one is added', async (t) => {
  const leases = new MemoryLeases();
  add(leases, 'a');
  leases.release('fd00::2');
  const again = add(leases, 'a');
  t.same(again.addresses, ['10.1.0.2/29', 'fd00::3/64']);
  t.ok(again.adopted);
});

t.test('a second ADD where it is not adopted: refused, and nothing is given back', async (t) => {
  const leases = new MemoryLeases();
  add(leases, 'a');
  const error = await errorOf(() => add(leases, 'a', dual, { adopt: false }));
  t.equal(error.code, ErrorCode.conflict);
  t.match(error.message, /10\.1\.0\.2 is held by container a \(eth0\) already/);
  t.equal(leases.held.size, 2);
});

t.test('another interface of the same container has addresses of its own', async (t) => {
  const leases = new MemoryLeases();
  add(leases, 'a');
  t.same(add(leases, 'a', dual, { ifname: 'eth1' }).addresses, ['10.1.0.3/29', 'fd00::3/64']);
  t.same(releaseAll(id('a', 'eth1'), leases), ['10.1.0.3', 'fd00::3']);
  t.same(leases.of(id('a')), ['10.1.0.2', 'fd00::2']);
});

t.test('files that name no interface: released by the id, not adopted', async (t) => {
  const leases = new MemoryLeases();
  leases.held.set('10.1.0.2', { containerId: 'a', ifname: undefined });
  t.same(add(leases, 'a', dual, { ifname: 'eth1' }).addresses, ['10.1.0.3/29', 'fd00::2/64']);
  t.same(releaseAll(id('a', 'eth1'), leases), ['10.1.0.3', 'fd00::2']);
  t.same(releaseAll(id('a'), leases), ['10.1.0.2']);
});

t.test('collect: what belongs to no valid attachment', async (t) => {
  const leases = new MemoryLeases();
  for (const one of ['a', 'b', 'c']) add(leases, one);
  add(leases, 'a', dual, { ifname: 'eth1' });
  leases.held.set('10.1.0.6', { containerId: 'a', ifname: undefined });
  leases.held.set('192.0.2.1', { containerId: 'gone', ifname: 'eth0' });
  t.same(collect([id('a'), id('c', 'eth9')], leases).sort(), [
    '10.1.0.3',
    '10.1.0.4',
    '10.1.0.5',
    '192.0.2.1',
    'fd00::3',
    'fd00::4',
    'fd00::5',
  ]);
  t.same([...leases.held.keys()], ['10.1.0.2', 'fd00::2', '10.1.0.6']);
});

t.test('any sequence of operations: no address twice, all in range, DEL leaves nothing', async (t) => {
  const step = fc.record({ who: fc.integer({ min: 0, max: 7 }), del: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const leases = new MemoryLeases();
      const mine = new Map<number, string>();
      for (const { who, del } of steps) {
        if (del) {
          const had = mine.get(who);
          t.same(releaseAll(id(`c${who}`), leases)[0], had);
          mine.delete(who);
        } else if (mine.size < 5 || mine.has(who)) {
          const [address = ''] = add(leases, `c${who}`).addresses;
          const bare = address.split('/')[0] ?? '';
          t.ok([2, 3, 4, 5, 6].some((n) => bare === `10.1.0.${n}`));
          t.ok([...mine].every(([other, held]) => other === who || held !== bare));
          t.equal(mine.get(who) ?? bare, bare);
          mine.set(who, bare);
        }
      }
      t.equal(leases.held.size, mine.size * 2);
    }),
    { numRuns: 100 },
  );
});
