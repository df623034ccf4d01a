/** The decoder of captured packets, on frames written by hand. */
import fc from 'fast-check';
import t from 'tap';
import { decodeFrame, decodeNetwork } from '../../inspect/packet/decode.ts';
import { layersOf } from '../../inspect/packet/layers.ts';
import { readPcap } from '../../inspect/packet/pcap.ts';
import '../support/seed.ts';

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
const line = ({ part, name, from, to, more }: ReturnType<typeof layersOf>[number]) =>
  `${part} ${name} ${from}>${to} ${more}`;

const ETHERNET_4 = '020000000002 020000000001 0800';
const ETHERNET_6 = '020000000002 020000000001 86dd';
/** 10.244.1.2 to 10.244.2.3, echo request 7 of 4660, without data. */
const PING_4 = '4500001c 00004000 3f010000 0af40102 0af40203 08000000 12340007';
const PING_6 = `60000000 00083a40 ${'fd000244000000010000000000000002'} ${'fd000244000000020000000000000003'} 80000000 12340007`;

t.test('an echo request by VXLAN', async (t) => {
  const inner = ETHERNET_4 + PING_4;
  const outer = `0aaaaaaaaa02 0aaaaaaaaa01 0800 4500004e 00000000 40110000 cb007102 cb007103 c00112b5 003a0000`;
  const layers = layersOf(bytes(`${outer} 08000000 00002a00 ${inner}`));
  t.same(layers.map(line), [
    'outer Ethernet 0a:aa:aa:aa:aa:01>0a:aa:aa:aa:aa:02 IPv4',
    'outer IPv4 203.0.113.2>203.0.113.3 UDP, TTL 64, 78 bytes',
    'outer UDP 49153>4789 58 bytes, no checksum',
    'tunnel VXLAN > VNI 42',
    'inner Ethernet 02:00:00:00:00:01>02:00:00:00:00:02 IPv4',
    'inner IPv4 10.244.1.2>10.244.2.3 ICMP, TTL 63, 28 bytes',
    'inner ICMP > echo request, id 4660, sequence 7',
  ]);
  const other = layersOf(bytes(`${outer} 08000000 00002a00 ${inner}`), 8472);
  t.equal(other.at(-1)?.name, 'UDP', 'another port is no tunnel');
});

t.test('IPv6 without a tunnel', async (t) => {
  t.same(layersOf(bytes(ETHERNET_6 + PING_6)).map(line), [
    'outer Ethernet 02:00:00:00:00:01>02:00:00:00:00:02 IPv6',
    'outer IPv6 fd00:244:0:1::2>fd00:244:0:2::3 ICMPv6, hop limit 64, 48 bytes',
    'outer ICMPv6 > echo request, id 4660, sequence 7',
  ]);
});

t.test('TCP, with a checksum and data', async (t) => {
  const tcp =
    '45000030 00004000 40060000 0af40102 0af40203 a0001e61 00000001 00000002 50180100 00000000 6869 0a0a 0a0a0a0a';
  t.equal(
    layersOf(bytes(ETHERNET_4 + tcp))
      .map(line)
      .at(-1),
    'outer TCP 40960>7777 PSH ACK, 8 bytes of data',
  );
});

t.test('an error has the packet that it is about', async (t) => {
  const error = `4500004c 00000000 40010000 0af40201 0af40102 03040000 00000578 ${PING_4}`;
  const { icmp, tuple } = decodeNetwork(bytes(error), 0x0800);
  t.match(icmp, {
    type: 3,
    code: 4,
    mtu: 1400,
    about: { tuple: { source: '10.244.1.2', sourcePort: 4660 } },
  });
  t.match(tuple, { protocol: 'icmp', source: '10.244.2.1', destination: '10.244.1.2' });
});

t.test('VLAN tags, extension headers, later fragments, ARP', async (t) => {
  const tagged = decodeFrame(bytes(`020000000002 020000000001 8100 0064 0800 ${PING_4}`));
  t.match(tagged, { vlan: 100, ether: { type: 0x0800 }, icmp: { type: 8, id: 4660 } });
  const address = 'fd000244000000010000000000000002';
  const fragment = `60000000 00183c40 ${address} ${address} 2c00000000000000 11000000 00000001 c0010035 00080000`;
  t.match(decodeNetwork(bytes(fragment), 0x86dd).tuple, { protocol: 'udp', destinationPort: 53 });
  const later = fragment.replace('11000000', '11000008');
  t.equal(decodeNetwork(bytes(later), 0x86dd).tuple?.destinationPort, undefined);
  const arp = '0001 0800 06 04 0001 020000000001 0af40102 000000000000 0af40103';
  t.match(decodeNetwork(bytes(arp), 0x0806).arp, {
    isReply: false,
    source: '10.244.1.2',
    target: '10.244.1.3',
  });
});

t.test('any bytes are decoded without an error', async () => {
  const start = fc.constantFrom('', ETHERNET_4, ETHERNET_4 + PING_4, ETHERNET_6, ETHERNET_6 + PING_6);
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 120 }), fc.nat(80), (hex, rest, cut) => {
      const head = bytes(hex);
      layersOf(Uint8Array.from([...head.subarray(0, head.length - (cut % (head.length + 1))), ...rest]));
    }),
  );
});

t.test('a capture of tcpdump, in both byte orders, and one that is still being written', async (t) => {
  const frame = bytes(ETHERNET_4 + PING_4);
  for (const little of [true, false]) {
    const file = new Uint8Array(24 + 16 + frame.length + 10);
    const view = new DataView(file.buffer);
    view.setUint32(0, 0xa1b2c3d4, little);
    view.setUint32(20, 1, little);
    view.setUint32(24 + 8, frame.length, little);
    file.set(frame, 40);
    t.same(readPcap(file), [frame]);
    view.setUint32(20, 113, little);
    t.throws(() => readPcap(file), { message: /link type 113/ });
  }
  t.throws(() => readPcap(new Uint8Array(30)), { message: /no capture/ });
  t.same(readPcap(new Uint8Array(3)), []);
});
