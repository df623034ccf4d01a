import fc from 'fast-check';
import IpCidr from 'ip-cidr';
import t from 'tap';
import {
  canonical,
  contains,
  firstAddress,
  firstOf,
  formatAddress,
  formatPrefix,
  hostPrefix,
  isCanonical,
  isLinkLocal6,
  lastOf,
  lengthOf,
  networkOf,
  overlap,
  parseAddress,
  parsePrefix,
} from '../../cni/prefix.ts';
import '../support/seed.ts';

const ipv4 = fc.bigInt(0n, 2n ** 32n - 1n).map((value) => ({ family: 4 as const, value }));
/** Many zeros, so that the compression is put to work; not the IPv4-mapped ones, which are IPv4. */
const ipv6 = fc
  .array(fc.oneof(fc.constant(0n), fc.constant(1n), fc.bigInt(0n, 0xffffn)), { minLength: 8, maxLength: 8 })
  .map((parts) => parts.reduce((value, part) => (value << 16n) | part, 0n))
  .filter((value) => value >> 32n !== 0xffffn)
  .map((value) => ({ family: 6 as const, value }));
const address = fc.oneof(ipv4, ipv6);
const prefix = address.chain((one) =>
  fc.integer({ min: 0, max: one.family === 4 ? 32 : 128 }).map((bits) => ({ address: one, bits })),
);

t.test('what is written is read back', async (t) => {
  fc.assert(fc.property(address, (one) => t.strictSame(parseAddress(formatAddress(one)), one)));
  fc.assert(fc.property(prefix, (one) => t.strictSame(parsePrefix(formatPrefix(one)), one)));
  fc.assert(fc.property(address, (one) => t.ok(isCanonical(formatAddress(one)))));
});

t.test('IPv6 is written as the URL standard writes it, which is RFC 5952 and what Go writes', async (t) => {
  fc.assert(
    fc.property(ipv6, (one) => {
      const text = formatAddress(one);
      t.equal(text, new URL(`http://[${text}]/`).hostname.slice(1, -1));
    }),
  );
  t.equal(formatAddress({ family: 6, value: 0n }), '::');
  t.equal(formatAddress({ family: 6, value: 1n }), '::1');
  const text = (written: string) => {
    const parsed = parseAddress(written);
    return parsed && formatAddress(parsed);
  };
  t.equal(text('0:0:1:0:0:1:1:1'), '::1:0:0:1:1:1', 'the first of two equal runs');
  t.equal(text('FD00:0:0:0:0:0:0:2'), 'fd00::2');
  t.equal(text('fd00:1:0:2:3:4:5:6'), 'fd00:1:0:2:3:4:5:6', 'a single zero stays');
});

t.test('first and last address are those that ip-cidr finds', async (t) => {
  fc.assert(
    fc.property(prefix, (one) => {
      const other = new IpCidr(formatPrefix(one));
      t.equal(firstOf(one), other.start<bigint>({ type: 'bigInteger' }));
      t.equal(lastOf(one), other.end<bigint>({ type: 'bigInteger' }));
    }),
  );
});

t.test('an address is in a prefix when ip-cidr says so', async (t) => {
  const near = prefix.chain((one) =>
    fc
      .bigInt(-2n, 2n)
      .chain((delta) => fc.constantFrom(firstOf(one) + delta, lastOf(one) + delta))
      .filter((value) => value >= 0n && value < 2n ** (one.address.family === 4 ? 32n : 128n))
      .map((value) => ({ one, value })),
  );
  fc.assert(
    fc.property(near, ({ one, value }) => {
      const { family } = one.address;
      if (family === 6 && value >> 32n === 0xffffn) return;
      const candidate = { family, value };
      t.equal(contains(one, candidate), new IpCidr(formatPrefix(one)).contains(formatAddress(candidate)));
    }),
  );
});

t.test('texts that are no address', async (t) => {
  const none = [
    '',
    '10',
    '10.1',
    '10.1.2',
    '010.1.2.3',
    '0x0a.1.2.3',
    '10.1.2.256',
    '10.1.2.3/24',
    ' 10.1.2.3',
  ];
  for (const text of [...none, 'fe80::1%eth0', ':::', 'g::1', '1:2:3:4:5:6:7:8:9', 'lock', '10.1.2.3 ']) {
    t.equal(parseAddress(text), undefined, text);
    t.equal(isCanonical(text), false, text);
  }
  for (const text of [
    '10.1.0.0',
    '10.1.0.0/33',
    '10.1.0.0/-1',
    '10.1.0.0/08',
    '10.1.0.0/',
    'fd00::/129',
    '/24',
  ]) {
    t.equal(parsePrefix(text), undefined, text);
  }
  t.equal(parsePrefix('::ffff:10.0.0.0/120'), undefined, 'a mapped prefix');
});

t.test('an IPv4-mapped address is the IPv4 address, as in Go', async (t) => {
  t.same(parseAddress('::ffff:10.1.2.3'), parseAddress('10.1.2.3'));
  t.equal(isCanonical('::ffff:10.1.2.3'), false);
  t.equal(isCanonical('FD00::1'), false);
});

t.test('link-local', async (t) => {
  const linkLocal = (text: string) => isLinkLocal6(parseAddress(text) ?? { family: 4, value: 0n });
  t.ok(linkLocal('fe80::1') && linkLocal('febf::1'));
  t.notOk(linkLocal('fec0::1') || linkLocal('fd00::1') || linkLocal('169.254.0.1'));
});

t.test('networks, gateways and host prefixes of both families', async (t) => {
  t.equal(networkOf('10.1.2.3/20'), '10.1.0.0/20');
  t.equal(networkOf('fd00:1::abcd/64'), 'fd00:1::/64');
  t.equal(networkOf('10.1.2.3/0'), '0.0.0.0/0');
  t.equal(firstAddress('10.1.2.3/20'), '10.1.0.1');
  t.equal(firstAddress('fd00:1::abcd/64'), 'fd00:1::1');
  t.equal(hostPrefix('10.1.2.3/20'), '10.1.2.3/32');
  t.equal(hostPrefix('fd00::1'), 'fd00::1/128');
  t.equal(lengthOf('fd00::1/64'), 64);
});

t.test('one spelling', async (t) => {
  t.equal(canonical('FD00:0:0::1/64'), 'fd00::1/64');
  t.equal(canonical('0::0/0'), '::/0');
  t.equal(canonical('::ffff:10.1.2.3/96'), '::ffff:a01:203/96', 'mapped: the kernel has it as IPv6');
});

t.test('overlap in both directions, never across families', async (t) => {
  t.ok(overlap('10.1.0.1/24', '10.1.0.200/16'));
  t.ok(overlap('10.1.0.200/16', '10.1.0.1/24'));
  t.notOk(overlap('10.1.0.1/24', '10.1.1.1/24'));
  t.notOk(overlap('0.0.0.0/0', '::/0'));
});

t.test('what is no address or prefix is named', async (t) => {
  for (const text of ['10.1.0/x', '10.1.0.1/33', 'fd00::1/129', '10.1/16', '10.1.0.0/8/8', '']) {
    t.throws(() => canonical(text), { name: 'RangeError', message: `"${text}" is no address` }, text);
  }
});
