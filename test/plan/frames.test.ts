import t from 'tap';
import { announcements } from '../../plan/frames.ts';

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('hex');

t.test('an IPv4 address is announced as request and as reply', async (t) => {
  const frames = announcements('0a:58:0a:01:00:05', '10.1.0.5').map(hex);
  const head = 'ffffffffffff0a580a0100050806000108000604';
  t.same(frames, [
    `${head}00010a580a0100050a0100050000000000000a010005`,
    `${head}00020a580a0100050a010005ffffffffffff0a010005`,
  ]);
});

t.test('an IPv6 address is announced to all nodes, override set, with a right checksum', async (t) => {
  const [frame] = announcements('0a:58:0a:01:00:05', 'fd00:1::5');
  t.equal(hex(frame?.subarray(0, 14)), '3333000000010a580a01000586dd');
  t.equal(hex(frame?.subarray(14, 22)), '6000000000203aff');
  t.equal(hex(frame?.subarray(38, 54)), 'ff020000000000000000000000000001');
  t.equal(hex(frame?.subarray(54, 56)), '8800');
  t.equal(hex(frame?.subarray(58, 62)), '20000000');
  // RFC 1071: a message with its right checksum adds up to all ones.
  const pseudo = [
    ...(frame?.subarray(22, 54) ?? []),
    0,
    0,
    0,
    32,
    0,
    0,
    0,
    58,
    ...(frame?.subarray(54) ?? []),
  ];
  let sum = 0;
  for (let i = 0; i < pseudo.length; i += 2) sum += ((pseudo[i] ?? 0) << 8) | (pseudo[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  t.equal(sum, 0xffff);
});
