/** Address management: ranges and addresses that cannot be, by our own IPAM and as executables for other people's plugins. */
import t from 'tap';
import { BRIDGE, LEASES } from './configurations.ts';
import { type Fault, single } from './faults.ts';
import { makePlace } from './place.ts';
import { type Row, refuseAll } from './table.ts';

const SUBNET = '10.1.0.0/24';

/** A row for each way to ask host-local: in the bridge's process, and as a program. */
const hostLocal = (rows: readonly Fault[]): Row[] =>
  rows.flatMap(({ ipam, conf, ...row }) => [
    { ...row, plugin: 'bridge', input: { ...BRIDGE, ipam: { type: 'host-local', ...ipam }, ...conf } },
    { ...row, plugin: 'host-local', input: { ...LEASES, ipam: { type: 'host-local', ...ipam }, ...conf } },
  ]);

t.test('ranges', (t) =>
  refuseAll(
    t,
    hostLocal([
      single('no range', {}, /ipam: there are no ranges: wanted "ranges"/),
      single('an empty list of sets', { ranges: [] }, /ipam: there are no ranges/),
      single('an empty set', { ranges: [[]] }, /ipam\.ranges\[0\]: a range set is empty/),
      single('a flat list', { ranges: [{ subnet: SUBNET }] }, /ipam\.ranges\[0\]: found \{.*\}, wanted /),
      single(
        'a range without subnet',
        { ranges: [[{ rangeStart: '10.1.0.5' }]] },
        /ipam\.ranges\[0\]\[0\]\.subnet: missing, wanted an address with prefix length/,
      ),
      single(
        'no prefix',
        { subnet: '10.1.0.0' },
        /ipam\.subnet: found "10\.1\.0\.0", wanted an address with prefix length/,
      ),
      single('no address', { subnet: 'here/24' }, /ipam\.subnet: found "here\/24"/),
      single(
        'an address of five numbers',
        { subnet: '10.1.0.0.0/24' },
        /ipam\.subnet: wanted a subnet .*found 10\.1\.0\.0\.0\/24/,
      ),
      single('an octet of 256', { subnet: '10.1.0.256/24' }, /ipam\.subnet: wanted a subnet such as/),
      single('an octal octet', { subnet: '10.1.0.010/24' }, /ipam\.subnet: wanted a subnet such as/),
      single('length 33', { subnet: '10.1.0.0/33' }, /ipam\.subnet: wanted a subnet .*found 10\.1\.0\.0\/33/),
      single('length 129', { subnet: 'fd00::/129' }, /ipam\.subnet: wanted a subnet .*found fd00::\/129/),
      single('colons', { subnet: ':::/64' }, /ipam\.subnet: wanted a subnet/),
      single(
        'host bits',
        { subnet: '10.1.0.5/24' },
        /ipam\.subnet: 10\.1\.0\.5\/24 has host bits set: wanted 10\.1\.0\.0\/24/,
      ),
      single(
        'too small',
        { subnet: '10.1.0.0/31' },
        /ipam\.subnet: 10\.1\.0\.0\/31 is too small .*at most \/30/,
      ),
      single(
        'too small, IPv6',
        { subnet: 'fd00::/128' },
        /ipam\.subnet: fd00::\/128 is too small .*at most \/126/,
      ),
      single(
        'upside down',
        { subnet: SUBNET, rangeStart: '10.1.0.20', rangeEnd: '10.1.0.10' },
        /ipam\.rangeStart: 10\.1\.0\.20 lies after rangeEnd 10\.1\.0\.10/,
      ),
      single(
        'start outside',
        { subnet: SUBNET, rangeStart: '10.2.0.20' },
        /ipam\.rangeStart: wanted an address of 10\.1\.0\.0\/24, found 10\.2\.0\.20/,
      ),
      single(
        'end outside',
        { subnet: SUBNET, rangeEnd: '10.0.0.20' },
        /ipam\.rangeEnd: wanted an address of 10\.1\.0\.0\/24, found 10\.0\.0\.20/,
      ),
      single(
        'end of the other family',
        { subnet: SUBNET, rangeEnd: 'fd00::5' },
        /ipam\.rangeEnd: wanted an address of 10\.1\.0\.0\/24, found fd00::5/,
      ),
      single(
        'end no address',
        { subnet: SUBNET, rangeEnd: '10.1.0.5/24' },
        /ipam\.rangeEnd: found "10\.1\.0\.5\/24", wanted an IPv4 or IPv6 address without prefix/,
      ),
      single(
        'gateway outside',
        { subnet: SUBNET, gateway: '10.2.0.1' },
        /ipam\.gateway: wanted an address of 10\.1\.0\.0\/24, found 10\.2\.0\.1/,
      ),
      single(
        'gateway no address',
        { subnet: SUBNET, gateway: '10.1.0' },
        /ipam\.gateway: wanted an address of 10\.1\.0\.0\/24, found 10\.1\.0/,
      ),
      single(
        'gateway outside in a set',
        { ranges: [[{ subnet: SUBNET, gateway: '10.2.0.1' }]] },
        /ipam\.ranges\[0\]\[0\]\.gateway: wanted an address of/,
      ),
      single(
        'two families in a set',
        { ranges: [[{ subnet: SUBNET }, { subnet: 'fd00::/64' }]] },
        /ipam\.ranges\[0\]: a range set mixes IPv4 and IPv6/,
      ),
      single(
        'overlap in a set',
        { ranges: [[{ subnet: '10.1.0.0/16' }, { subnet: SUBNET }]] },
        /ipam\.ranges\[0\]\[1\]: .* overlaps with .* of ipam\.ranges\[0\]\[0\]/,
      ),
      single(
        'overlap of sets',
        { ranges: [[{ subnet: SUBNET }], [{ subnet: '10.1.0.128/25' }]] },
        /ipam\.ranges\[1\]\[0\]: .* overlaps with .* of ipam\.ranges\[0\]\[0\]/,
      ),
      single(
        'overlap of both forms',
        { subnet: SUBNET, ranges: [[{ subnet: SUBNET }]] },
        /ipam\.ranges\[0\]\[0\]: .* overlaps with .* of ipam/,
      ),
      {
        ...single(
          'the runtime’s ranges overlap',
          { subnet: SUBNET },
          /overlaps with .* of runtimeConfig\.ipRanges\[0\]\[0\]/,
        ),
        conf: { runtimeConfig: { ipRanges: [[{ subnet: SUBNET }]] } },
      },
      {
        ...single(
          'two addresses in version 0.2.0',
          { ranges: [[{ subnet: SUBNET }], [{ subnet: '10.2.0.0/24' }]] },
          /cniVersion 0\.2\.0 knows one IPv4/,
        ),
        conf: { cniVersion: '0.2.0' },
      },
      {
        ...single(
          'resolvConf gone',
          { subnet: SUBNET, resolvConf: '/no/such/file' },
          /ipam\.resolvConf: \/no\/such\/file cannot be read: wanted a file in the format of resolv\.conf/,
        ),
        code: 5,
      },
      {
        ...single(
          'resolvConf a folder',
          { subnet: SUBNET, resolvConf: '/etc' },
          /ipam\.resolvConf: \/etc cannot be read/,
        ),
        code: 5,
      },
      ...(
        [
          ['a FIFO', 'mkfifo /run/odd'],
          ['endless', 'ln -s /dev/zero /run/odd'],
          ['very long', 'head -c 2000000 /dev/zero >/run/odd'],
        ] as const
      ).map(
        ([name, make]): Fault => ({
          ...single(`resolvConf ${name}`, { subnet: SUBNET, resolvConf: '/run/odd' }, [
            /ipam\.resolvConf: \/run\/odd/,
            /wanted a file in the format of resolv\.conf\(5\)/,
          ]),
          code: 5,
          before: () => make,
          after: () => 'rm /run/odd',
        }),
      ),
      single('routes not a list', { subnet: SUBNET, routes: {} }, /ipam\.routes: found \{\}, wanted a list/),
      single(
        'a route without target',
        { subnet: SUBNET, routes: [{ gw: '10.1.0.1' }] },
        /ipam\.routes\[0\]\.dst: missing, wanted an address with prefix length/,
      ),
    ]),
  ),
);

const ASKED = { subnet: SUBNET, rangeStart: '10.1.0.10', rangeEnd: '10.1.0.20' };

t.test('addresses that the runtime asks for', async (t) => {
  const place = await makePlace(t);
  const holder = await place.host.container();
  const taken = { ...LEASES, ipam: { type: 'host-local', ...ASKED } };
  const args = { CNI_ARGS: 'IP=10.1.0.15' };
  const first = await place.call({ plugin: 'host-local', input: taken, container: holder, env: args });
  t.equal(first.status, 0);
  await refuseAll(
    t,
    hostLocal([
      {
        ...single(
          'outside',
          ASKED,
          /CNI_ARGS IP: 10\.1\.0\.99 is in no range; there are 10\.1\.0\.10-10\.1\.0\.20/,
        ),
        env: { CNI_ARGS: 'IP=10.1.0.99' },
      },
      {
        ...single('no address', ASKED, /CNI_ARGS IP: wanted an IPv4 or IPv6 address, found "ten"/),
        code: 4,
        env: { CNI_ARGS: 'IP=ten' },
      },
      {
        ...single('two of one set', ASKED, /are of the same range set/),
        env: { CNI_ARGS: 'IP=10.1.0.11,10.1.0.12' },
      },
      {
        ...single(
          'the gateway',
          { subnet: SUBNET },
          /args\.cni\.ips: 10\.1\.0\.1 is a gateway, network or broadcast address/,
        ),
        conf: { args: { cni: { ips: ['10.1.0.1'] } } },
      },
      {
        ...single(
          'the network',
          { subnet: SUBNET, rangeStart: '10.1.0.0' },
          /10\.1\.0\.0 is a gateway, network or broadcast address/,
        ),
        conf: { runtimeConfig: { ips: ['10.1.0.0'] } },
      },
      {
        ...single('outside, by capability', ASKED, /runtimeConfig\.ips: fd00::9 is in no range/),
        conf: { runtimeConfig: { ips: ['fd00::9/64'] } },
      },
      {
        ...single('no address, by capability', ASKED, /runtimeConfig\.ips\[0\]: found "x"/),
        conf: { runtimeConfig: { ips: ['x'] } },
      },
      {
        ...single(
          'no address, though it looks like one',
          ASKED,
          /runtimeConfig\.ips: wanted an IPv4 or IPv6 address, found "10\.1\.0\.300"/,
        ),
        conf: { runtimeConfig: { ips: ['10.1.0.300'] } },
      },
      {
        ...single(
          'taken',
          ASKED,
          /CNI_ARGS IP: 10\.1\.0\.15 is held by container .*-c2 \(eth0\): ask for another/,
        ),
        code: 104,
        env: args,
        late: true,
      },
    ]),
    place,
  );
});

t.test('no address is left', async (t) => {
  const place = await makePlace(t);
  const small = { subnet: SUBNET, rangeStart: '10.1.0.10', rangeEnd: '10.1.0.11' };
  for (const container of [await place.host.container(), await place.host.container()]) {
    const input = { ...LEASES, ipam: { type: 'host-local', ...small } };
    t.equal((await place.call({ plugin: 'host-local', input, container })).status, 0);
  }
  const full =
    /no address is left in range set 0 \(10\.1\.0\.10-10\.1\.0\.11\): widen the range, or remove containers/;
  await refuseAll(
    t,
    [
      ...hostLocal([{ name: 'exhausted', ipam: small, code: 103, says: full, late: true }]),
      ...hostLocal([{ name: 'STATUS', command: 'STATUS', ipam: small, code: 50, says: full }]),
      ...hostLocal([
        {
          name: 'the second set is exhausted',
          ipam: { ranges: [[{ subnet: '10.5.0.0/24' }], [small]] },
          code: 103,
          says: /no address is left in range set 1/,
          late: true,
        },
      ]),
    ],
    place,
  );
});

t.test('a second ADD', async (t) => {
  const place = await makePlace(t);
  t.equal((await place.call({ plugin: 'host-local', input: LEASES })).status, 0);
  const row: Row = {
    name: 'without DEL',
    plugin: 'host-local',
    input: LEASES,
    code: 104,
    says: /10\.1\.0\.2 is held by container .* already: a second ADD without a DEL/,
    // Its DEL is the first one's.
    late: true,
  };
  await refuseAll(t, [row], place);
});

t.test('an executable without the configuration of its own', (t) =>
  refuseAll(
    t,
    (['host-local', 'static'] as const).flatMap((plugin): Row[] => [
      {
        name: 'no ipam',
        plugin,
        input: { ...LEASES, ipam: undefined },
        code: 7,
        says: /ipam: missing, wanted an object/,
      },
      {
        name: 'no ipam.type',
        plugin,
        input: { ...LEASES, ipam: { subnet: SUBNET } },
        code: 7,
        says: /ipam\.type: missing, wanted a string/,
      },
    ]),
  ),
);
