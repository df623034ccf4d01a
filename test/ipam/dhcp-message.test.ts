/** dhcp's messages and what they grant, as bytes. */
import fc from 'fast-check';
import t from 'tap';
import { decodeDatagram, encodeDatagram } from '../../ipam/dhcp/datagram.ts';
import { decodeReply, encodeRequest, OPTION, TYPE, uint32, undotted } from '../../ipam/dhcp/message.ts';
import { termsOf } from '../../ipam/dhcp/terms.ts';
import { grantOf, MAC, reply, SERVER, toClient } from './dhcp-server.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

t.test('a message as RFC 2131 has it', async (t) => {
  const options = new Map([
    [OPTION.messageType, Uint8Array.of(TYPE.discover)],
    [OPTION.clientId, bytes('\0c/n/eth0')],
  ]);
  const message = encodeRequest({ xid: 0x01020304, secs: 5, ciaddr: '0.0.0.0', chaddr: MAC, options });
  t.equal(message.length, 300, 'padded to what relays let through');
  t.equal(hex(message.subarray(0, 12)), '01010600010203040005' + '0000');
  t.equal(hex(message.subarray(28, 44)), '0a580a070002'.padEnd(32, '0'));
  t.equal(hex(message.subarray(236, 254)), `63825363${'350101'}${'3d09'}00632f6e2f65746830`);
  t.equal(message[254], 255);
  t.equal(decodeReply(message), undefined, 'a request is no reply');

  const long = new Map([[OPTION.userClass, new Uint8Array(300).fill(7)]]);
  const split = encodeRequest({ xid: 1, secs: 0, ciaddr: '0.0.0.0', chaddr: MAC, options: long });
  split[0] = 2;
  t.equal(decodeReply(split)?.options.get(OPTION.userClass)?.length, 300, 'in parts, and together again');

  const overloaded = reply({ xid: 9 }, { type: TYPE.offer, options: [[OPTION.overload, Uint8Array.of(3)]] });
  overloaded.set([OPTION.routers, 4, 10, 7, 0, 1, 255], 108);
  overloaded.set([OPTION.domainName, 3, 97, 46, 98, 255], 44);
  const found = decodeReply(overloaded);
  t.equal(hex(found?.options.get(OPTION.routers) ?? new Uint8Array()), '0a070001');
  t.equal(hex(found?.options.get(OPTION.domainName) ?? new Uint8Array()), '612e62');
  const cut = reply({ xid: 9 }, { type: TYPE.offer }).subarray(0, 247);
  t.equal(decodeReply(cut), undefined, 'cut off within an option');
});

t.test('a datagram as the network has it', async (t) => {
  const packet = encodeDatagram('0.0.0.0', '255.255.255.255', bytes('abc'));
  // Checksums by hand: RFC 1071.
  t.equal(hex(packet), '4500001f0000000040117acf00000000ffffffff00440043000b3aef616263');
  const answer = toClient(bytes('hello'));
  t.same(decodeDatagram(answer), { from: SERVER, payload: answer.subarray(28) });
  const bad: [string, (copy: Uint8Array) => unknown][] = [
    ['IPv6', (copy) => copy.fill(0x65, 0, 1)],
    ['TCP', (copy) => copy.fill(6, 9, 10)],
    ['a fragment', (copy) => copy.fill(0x20, 6, 7)],
    ['another port', (copy) => copy.fill(69, 23, 24)],
    ['longer than it is', (copy) => copy.fill(200, 3, 4)],
    ['shorter than UDP', (copy) => copy.fill(7, 25, 26)],
    ['more than IP has', (copy) => copy.fill(100, 25, 26)],
  ];
  for (const [what, spoil] of bad) {
    const copy = answer.slice();
    spoil(copy);
    t.equal(decodeDatagram(copy), undefined, what);
  }
});

t.test('whatever comes, nothing breaks', async (t) => {
  const options = fc.array(fc.tuple(fc.integer({ min: 1, max: 254 }), fc.uint8Array({ maxLength: 40 })));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      options,
      fc.integer({ min: 0, max: 400 }),
      (any, some, cut) => {
        decodeDatagram(any);
        decodeReply(Uint8Array.of(2, ...any));
        const packet = reply(
          { xid: 1 },
          { type: TYPE.ack, yiaddr: '10.7.0.9', options: [...grantOf(), ...some] },
        );
        decodeReply(packet.subarray(0, cut));
        const message = decodeReply(packet);
        if (message) termsOf(message);
      },
    ),
  );
  t.pass();
});

const terms = (options: [number, Uint8Array][], yiaddr = '10.7.0.50') => {
  const message = decodeReply(reply({ xid: 1 }, { type: TYPE.ack, yiaddr, options }));
  return message ? termsOf(message) : 'no message';
};

t.test('what a server grants', async (t) => {
  t.same(terms(grantOf(100)), {
    ...{ address: '10.7.0.50/24', gateway: SERVER, routes: [{ dst: '0.0.0.0/0', gw: SERVER }], dns: {} },
    ...{ server: SERVER, seconds: 100, t1: 50, t2: 87.5 },
  });
  t.match(
    terms(
      grantOf(100, [
        [OPTION.renewalTime, uint32(10)],
        [OPTION.rebindingTime, uint32(20)],
      ]),
    ),
    { t1: 10, t2: 20 },
    'times of the server',
  );
  t.match(
    terms(
      grantOf(100, [
        [OPTION.renewalTime, uint32(30)],
        [OPTION.rebindingTime, uint32(20)],
      ]),
    ),
    { t1: 50, t2: 87.5 },
    'times that cannot be',
  );
  t.match(terms(grantOf(0xffffffff)), { seconds: Infinity, t1: Infinity }, 'without end');
  const texts: [number, Uint8Array][] = [
    [OPTION.nameServers, Uint8Array.of(10, 7, 0, 1, 10, 7, 0, 2, 9)],
    [OPTION.domainName, bytes('lan.example\0')],
  ];
  t.match(terms(grantOf(100, texts)), {
    dns: { nameservers: ['10.7.0.1', '10.7.0.2'], domain: 'lan.example' },
  });

  const pairs = [...undotted('192.168.5.0'), ...undotted('10.7.0.2'), ...undotted('172.16.3.4')];
  const older = Uint8Array.of(
    ...pairs,
    ...undotted('10.7.0.3'),
    ...undotted('0.0.0.0'),
    ...undotted('10.7.0.4'),
  );
  t.match(terms(grantOf(100, [[OPTION.staticRoutes, older]])), {
    routes: [
      { dst: '192.168.5.0/24', gw: '10.7.0.2' },
      { dst: '172.16.3.4/32', gw: '10.7.0.3' },
      { dst: '0.0.0.0/0', gw: SERVER },
    ],
  });
  // RFC 3442's own examples of destinations; the last is cut off.
  const list = [0, 10, 7, 0, 9, 8, 10, 0, 0, 0, 0, 25, 10, 27, 129, 0, 10, 7, 0, 8, 32, 10, 229];
  t.match(
    terms(
      grantOf(100, [
        [OPTION.classlessRoutes, Uint8Array.from(list)],
        [OPTION.mtu, Uint8Array.of(5, 120)],
      ]),
    ),
    {
      gateway: '10.7.0.9',
      routes: [
        { dst: '0.0.0.0/0', gw: '10.7.0.9', mtu: 1400 },
        { dst: '10.0.0.0/8', mtu: 1400 },
        { dst: '10.27.129.0/25', gw: '10.7.0.8', mtu: 1400 },
      ],
    },
  );
  const without = (code: number) => grantOf().filter(([found]) => found !== code);
  t.equal(terms(without(OPTION.subnetMask)), 'it has no subnet mask');
  t.equal(terms(without(OPTION.leaseTime)), 'it has no lease time');
  t.equal(terms(grantOf(), '0.0.0.0'), 'it has no address');
  t.equal(terms([...grantOf(), [OPTION.subnetMask, undotted('255.0.255.0')]]), 'its subnet mask is none');
  t.equal(
    terms([...grantOf(), [OPTION.server, Uint8Array.of(1)]]),
    'it does not say which server it is from',
  );
});
