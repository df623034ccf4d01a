/** Every table: what is written is read back, what is no message is refused, numbers are those of the kernel's headers. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { type Attribute, pieces, type Table } from '../../netlink/attributes.ts';
import * as codec from '../../netlink/codec.ts';
import { NLMSG_HEADER } from '../../netlink/message.ts';
import { MESSAGES } from './tables.ts';
import '../support/seed.ts';

const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(codec.formatIp),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(codec.formatIp),
);
const SCALARS = new Map<codec.Codec<never>, fc.Arbitrary<unknown>>([
  [codec.u8, fc.nat(0xff)],
  [codec.u16, fc.nat(0xffff)],
  [codec.u16be, fc.nat(0xffff)],
  [codec.u16net, fc.nat(0xffff)],
  [codec.u32, fc.nat(0xffffffff)],
  [codec.u32be, fc.nat(0xffffffff)],
  [codec.u32net, fc.nat(0xffffffff)],
  [codec.u64be, fc.nat(Number.MAX_SAFE_INTEGER)],
  [codec.i32, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })],
  [codec.i32be, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })],
  [codec.bool, fc.boolean()],
  [codec.bytes, fc.uint8Array({ maxLength: 40 })],
  [codec.mac, fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => codec.mac.read(bytes))],
  [codec.ip, address],
] as [codec.Codec<never>, fc.Arbitrary<unknown>][]);
const words = fc
  .string({ maxLength: 7, unit: fc.constantFrom(...'abcxyz09-_.äß€') })
  .map((text) => text.slice(0, 5));

function values({ name, codec: one }: Attribute<unknown>): fc.Arbitrary<unknown> {
  const known = SCALARS.get(one as codec.Codec<never>);
  if (known !== undefined) return known;
  if (name === 'VETH_INFO_PEER') {
    const header = { family: 0, pad: 0, type: 0, index: 0, flags: 1, change: 1 };
    return record(one.inside as Table).map((attributes) => ({ header, attributes }));
  }
  if (one.inside !== undefined) return record(one.inside as Table);
  if (name === 'IFLA_BRIDGE_VLAN_INFO') {
    return fc.array(fc.record({ flags: fc.nat(31), vid: fc.nat(4095) }), { minLength: 1, maxLength: 4 });
  }
  if (one.element !== undefined) {
    return fc.array(values({ number: 0, name, codec: one.element }), { maxLength: 4 });
  }
  return name.includes('IPADDR') ? address : words;
}

/** Any of the attributes; those that depend on another one's value come with it. */
function record(table: Table): fc.Arbitrary<Record<string, unknown>> {
  const free: Record<string, fc.Arbitrary<unknown>> = {};
  const bound: fc.Arbitrary<Record<string, unknown>>[] = [];
  const selectors = new Set(Object.values(table).flatMap(({ when }) => when?.[0] ?? []));
  for (const [key, attribute] of Object.entries(table)) {
    const { when } = attribute;
    if (when === undefined && !selectors.has(key)) free[key] = values(attribute);
    if (when !== undefined)
      bound.push(values(attribute).map((value) => ({ [when[0]]: when[1], [key]: value })));
  }
  const plain = fc.record(free, { requiredKeys: [] });
  if (bound.length === 0) return plain;
  return fc.tuple(plain, fc.option(fc.oneof(...bound))).map(([some, more]) => ({ ...some, ...more }));
}

for (const [name, message] of Object.entries(MESSAGES)) {
  const body = record(message.attributes.table);
  const encode = (attributes: Record<string, unknown>) => message.encode(20, 0, {}, attributes as never);

  t.test(`${name}: what is written is read back`, async (t) => {
    fc.assert(
      fc.property(body, (attributes) => {
        const bytes = encode(attributes);
        t.equal(bytes.length % 4, 0);
        const read = message.read(bytes.subarray(NLMSG_HEADER)).attributes;
        const plain = JSON.stringify(attributes, Object.keys(attributes).sort());
        if (JSON.stringify(read, Object.keys(attributes).sort()) !== plain) t.same(read, attributes);
      }),
      { numRuns: 100 },
    );
    t.pass('always');
  });

  t.test(`${name}: what is damaged is refused with words, or read as something else`, async (t) => {
    fc.assert(
      fc.property(
        body,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.nat(),
        (attributes, damage, cut) => {
          const bytes = encode(attributes).subarray(NLMSG_HEADER);
          for (const [at, value] of damage) bytes[at % bytes.length] = value;
          const shorter = bytes.subarray(0, bytes.length - (cut % bytes.length));
          for (const attempt of [() => message.read(shorter), () => message.nameAt(shorter, cut % 300)]) {
            try {
              attempt();
            } catch (error) {
              if (!(error instanceof RangeError)) throw error;
            }
          }
        },
      ),
      { numRuns: 300 },
    );
    t.pass('always');
  });
}

function* attributesIn(table: Table): Generator<Attribute<unknown>> {
  for (const attribute of Object.values(table)) {
    yield attribute;
    const inner = attribute.codec.inside ?? attribute.codec.element?.inside;
    if (inner !== undefined) yield* attributesIn(inner as Table);
  }
}

t.test('the numbers are those of the kernel headers', async (t) => {
  const known = new Map<string, number>();
  for (const { attributes } of Object.values(MESSAGES)) {
    for (const { name, number } of attributesIn(attributes.table)) known.set(name, number);
  }
  const headers = [
    'if_link',
    'if_addr',
    'ip',
    'rtnetlink',
    'neighbour',
    'if_bridge',
    'veth',
    'netfilter/nf_tables',
  ];
  const more = ['netfilter/nfnetlink', 'netfilter/nfnetlink_conntrack', 'netfilter/ipset/ip_set'];
  const source = [
    '#include <stdio.h>\n#include <sys/socket.h>\n#include <linux/netfilter.h>',
    ...[...headers, ...more].map((header) => `#include <linux/${header}.h>`),
    'int main(void) {',
    ...[...known.keys()].map((name) => `printf("%s %d\\n", "${name}", (int)${name});`),
    '}',
  ].join('\n');
  const folder = mkdtempSync(join(tmpdir(), 'weft-numbers-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'numbers.c'), source);
  execFileSync('cc', ['-o', join(folder, 'numbers'), join(folder, 'numbers.c')]);
  const printed = execFileSync(join(folder, 'numbers'), { encoding: 'utf8' }).trim().split('\n');
  t.ok(known.size > 100, `${known.size} names`);
  t.same(printed.sort(), Array.from(known, ([name, number]) => `${name} ${number}`).sort());
});

t.test('an offset into a message is named', async (t) => {
  const { linkMessage, elementsMessage } = MESSAGES;
  const bytes = linkMessage.encode(
    16,
    0,
    {},
    { name: 'x', info: { kind: 'vxlan', vxlan: { vni: 7, ttl: 3 } } },
  );
  const at = (wanted: number) => linkMessage.nameAt(bytes.subarray(NLMSG_HEADER), wanted);
  t.equal(at(16), 'IFLA_IFNAME');
  t.equal(at(3), undefined, 'the header has no name');
  t.equal(at(24), 'IFLA_LINKINFO');
  t.equal(at(28), 'IFLA_LINKINFO.IFLA_INFO_KIND');
  t.equal(at(44), 'IFLA_LINKINFO.IFLA_INFO_DATA.IFLA_VXLAN_ID');
  t.equal(at(52), 'IFLA_LINKINFO.IFLA_INFO_DATA.IFLA_VXLAN_TTL');
  t.equal(at(4000), undefined);
  const element = { key: { value: Uint8Array.of(1, 2, 3, 4) } };
  const two = elementsMessage.encode(0xa0c, 0, {}, { elements: [element, element] });
  t.match(elementsMessage.nameAt(two.subarray(NLMSG_HEADER), 30), /^NFTA_SET_ELEM_LIST_ELEMENTS\.element 1/);
});

t.test('lists of attributes whose lengths lie are refused', async (t) => {
  t.throws(() => [...pieces(Uint8Array.of(3, 0, 1, 0))], /length 3 leaves the 4 bytes/);
  t.throws(() => [...pieces(Uint8Array.of(200, 0, 1, 0, 0, 0, 0, 0))], RangeError);
  t.same([...pieces(new Uint8Array(3))], []);
});

t.test('addresses are taken in one form only', async (t) => {
  for (const wrong of [
    '010.0.0.1',
    '1.2.3',
    '0x7f.1',
    '1',
    '',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '::g',
    'fe80::1%1',
    '256.1.1.1',
  ]) {
    t.throws(() => codec.parseIp(wrong), RangeError, wrong);
  }
  t.equal(codec.formatIp(codec.parseIp('2001:DB8:0:0:0:0:0:1')), '2001:db8::1');
  fc.assert(
    fc.property(address, (text) => {
      t.equal(codec.formatIp(codec.parseIp(text)), text);
    }),
  );
});
