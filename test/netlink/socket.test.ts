/** Sockets inside a namespace, as packets and other programs see them. */
import t from 'tap';
import { AF_INET } from '../../netlink/codec.ts';
import {
  AF_PACKET,
  clocks,
  InsideSocket,
  inetAddress,
  isPortHeld,
  packetAddress,
  type Received,
  readInetAddress,
  readPacketAddress,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
} from '../../netlink/socket.ts';
import { execIn } from '../support/host.ts';
import { until } from '../support/until.ts';
import { namespaceFor } from './support.ts';

const UDP = { domain: AF_INET, type: SOCK_DGRAM, protocol: 0 };

t.test('datagrams, packets and refusals in a namespace', async (t) => {
  const { ns } = await namespaceFor(t);
  await execIn(ns.path ?? '', 'ip', ['link', 'set', 'lo', 'up']);
  const heard: Received[] = [];
  const errors: string[] = [];
  const hooks = {
    received: (message: Received) => heard.push(message),
    failed: (errno: string) => errors.push(errno),
  };
  const server = await InsideSocket.open(ns, { ...UDP, room: 4 }, hooks);
  server.bind(inetAddress('127.0.0.1'));
  const { address, port } = readInetAddress(server.name());
  t.equal(address, '127.0.0.1');
  const packets: Received[] = [];
  const wire = await InsideSocket.open(
    ns,
    { domain: AF_PACKET, type: SOCK_RAW, protocol: 0 },
    { received: (message) => packets.push(message), failed: () => {} },
  );
  wire.setOption(1, 35, 1);
  wire.bind(packetAddress(0x0800));
  const before = clocks().realtime;
  const client = await InsideSocket.open(ns, UDP, hooks);
  client.send(new TextEncoder().encode('hello'), inetAddress('127.0.0.1', port));
  await until('it is heard', () => heard.length === 1 && packets.length >= 1);
  t.equal(new TextDecoder().decode(heard[0]?.bytes), 'hell', 'as much as there is room for');
  t.equal(heard[0]?.length, 5);
  t.equal(readInetAddress(heard[0]?.address ?? new Uint8Array()).port, readInetAddress(client.name()).port);
  t.match(readPacketAddress(packets[0]?.address ?? new Uint8Array()), {
    protocol: 0x0800,
    link: 1,
    hardware: 772,
  });
  const time = packets[0]?.controls.find(({ type }) => type === 35)?.data;
  t.equal(time?.length, 16, 'with the time');
  t.ok(clocks().realtime >= before);
  server.close();
  client.connect(inetAddress('127.0.0.1', port));
  await until('it is refused', () => {
    try {
      client.send(Uint8Array.of(1));
    } catch (error) {
      errors.push((error as { code: string }).code);
    }
    return errors.includes('ECONNREFUSED');
  });
  const stream = await InsideSocket.open(ns, { ...UDP, type: SOCK_STREAM }, hooks);
  errors.length = 0;
  stream.connect(inetAddress('127.0.0.1', port));
  await until('the connection is refused', () => errors.includes('ECONNREFUSED'));
  t.throws(() => client.bind(inetAddress('192.0.2.1')), { message: /^cannot bind a socket: E/ });
  await t.rejects(InsideSocket.open(ns, { domain: 9999, type: 1, protocol: 0 }, hooks), {
    code: 'EAFNOSUPPORT',
  });
  for (const socket of [client, wire, stream]) socket.close();
  t.throws(() => client.send(Uint8Array.of(1)), { code: 'EBADF' });
  client.close();
});

t.test('whether a port is held', async (t) => {
  const { ns } = await namespaceFor(t);
  await execIn(ns.path ?? '', 'ip', ['link', 'set', 'lo', 'up']);
  const holder = await InsideSocket.open(ns, UDP, { received: () => {}, failed: () => {} });
  holder.bind(inetAddress('127.0.0.1', 5353));
  const isHeld = (address: string, port = 5353, type: typeof SOCK_DGRAM | typeof SOCK_STREAM = SOCK_DGRAM) =>
    isPortHeld(ns, type, inetAddress(address, port));
  t.ok(isHeld('0.0.0.0'), 'on one address of all');
  t.ok(isHeld('127.0.0.1'));
  t.notOk(isHeld('127.0.0.2'), 'on another');
  t.notOk(isHeld('192.0.2.1'), 'on one that the namespace has not');
  t.notOk(isHeld('::'), 'of the other family');
  t.notOk(isHeld('0.0.0.0', 5354), 'another port');
  t.notOk(isHeld('0.0.0.0', 5353, SOCK_STREAM), 'of the other protocol');
  t.notOk(isHeld('0.0.0.0', 5354), 'and nothing is held by asking');
  holder.close();
  await until('it is given back', () => !isHeld('0.0.0.0'));
  t.throws(() => isPortHeld(ns, SOCK_DGRAM, new Uint8Array(3)), RangeError);
});

t.test('addresses', async (t) => {
  t.same(readInetAddress(inetAddress('fd00::1', 53)), { address: 'fd00::1', port: 53 });
  t.same(readInetAddress(inetAddress('192.0.2.7', 65_535)), { address: '192.0.2.7', port: 65_535 });
  t.throws(() => inetAddress('nowhere'), RangeError);
  t.match(readPacketAddress(packetAddress(3, 7)), { protocol: 3, link: 7 });
});
