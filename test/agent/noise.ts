/** Run on a simulated host: makes connections to its agent that are no requests. Usage: noise.ts SOCKET KIND BIN */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { ownIdentity } from '../../agent/identity.ts';
import { encodeRequest } from './wire.ts';

const [, , path = '', kind = '', bin = ''] = process.argv;

const request = encodeRequest(ownIdentity(join(bin, 'weft-core.js')), {
  names: ['bridge', 'bridge'],
  netns: '',
  env: { CNI_COMMAND: 'VERSION' },
  input: '{}',
});

const length = (...numbers: number[]) => Buffer.from(Uint32Array.from(numbers).buffer);

const KINDS: Record<string, (socket: Socket) => void> = {
  random: (socket) => socket.end(randomBytes(1 + Math.floor(Math.random() * 5000))),
  silent: (socket) => setTimeout(() => socket.destroy(), 500),
  half: (socket) => socket.end(request.subarray(0, Math.floor(Math.random() * request.length))),
  long: (socket) => socket.end(length(0xffffffff, 0xffffffff)),
  // As much as is allowed, and never the end of it.
  endless: (socket) => {
    socket.write(length(24 << 20, 16));
    for (let i = 0; i < 20; i++) socket.write(Buffer.alloc(1 << 20));
    setTimeout(() => socket.destroy(), 500);
  },
  // Whole requests whose answer nobody waits for.
  hurried: (socket) => socket.write(request, () => socket.destroy()),
};

const COUNT = kind === 'endless' ? 12 : 300;
await Promise.all(
  Array.from(
    { length: COUNT },
    () =>
      new Promise<void>((resolve) => {
        const socket = connect(path);
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        socket.on('connect', () => KINDS[kind]?.(socket));
        socket.resume();
      }),
  ),
);
