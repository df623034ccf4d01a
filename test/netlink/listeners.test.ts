/** The kernel's tables of sockets, as text. */
import { endianness } from 'node:os';
import t from 'tap';
import { parseListeners } from '../../netlink/listeners.ts';

/** As the kernel prints an address on this machine: words of 32 bits. */
const words = (hex: string) =>
  endianness() === 'BE'
    ? hex
    : (hex.match(/.{8}/g) ?? [])
        .map((word) => Buffer.from(word, 'hex').swap32().toString('hex'))
        .join('')
        .toUpperCase();
const line = (address: string, port: number, state: string, inode: number) =>
  `   0: ${words(address)}:${port.toString(16).toUpperCase().padStart(4, '0')} ${words('0'.repeat(address.length))}:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0`;
const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';

t.test('sockets that wait', async (t) => {
  const four = [
    HEAD,
    line('00000000', 8080, '0A', 71),
    line('7f000035', 53, '0A', 72),
    line('0a000001', 22, '01', 73),
    '',
  ];
  t.same(parseListeners(four.join('\n'), 'tcp', 4), [
    { protocol: 'tcp', family: 4, any: true, address: '0.0.0.0', port: 8080, inode: 71 },
    { protocol: 'tcp', family: 4, any: false, address: '127.0.0.53', port: 53, inode: 72 },
  ]);
  const six = [
    HEAD,
    line('00000000000000000000000000000000', 53, '07', 81),
    line('fd000088000000000000000000000002', 53, '07', 82),
    line('00000000000000000000ffffc0000201', 53, '07', 83),
    line('fd000088000000000000000000000002', 40_000, '01', 84),
  ];
  t.same(
    parseListeners(six.join('\n'), 'udp', 6).map(({ any, address, inode }) => [any, address, inode]),
    [
      [true, '::', 81],
      // Spelled as everything else that is compared with it.
      [false, 'fd00:88::2', 82],
      [false, '192.0.2.1', 83],
    ],
  );
  t.same(parseListeners('no table\n0: 1:2\n', 'tcp', 4), []);
});
