/** The bytes of the agent's protocol (agent/protocol.ts), for those that play launcher or agent. */
import { endianness } from 'node:os';
import { FRAME, type Request } from '../../agent/protocol.ts';

function lengths(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length);
  for (const [index, number] of numbers.entries()) {
    if (endianness() === 'BE') bytes.writeUInt32BE(number, 4 * index);
    else bytes.writeUInt32LE(number, 4 * index);
  }
  return bytes;
}

export function frame(kind: string, contents: string | Uint8Array = ''): Buffer {
  const bytes = Buffer.from(contents);
  return Buffer.concat([Buffer.from(kind, 'latin1'), lengths(bytes.length), bytes]);
}

export function doneFrame(status: number, stdout: string): Buffer {
  return frame(FRAME.done, Buffer.concat([Uint8Array.of(status & 0xff), Buffer.from(stdout)]));
}

/** A request, as the launcher writes it. */
export function encodeRequest(identity: string, { names, netns, env, input }: Request): Buffer {
  const list = [identity, netns, ...names, ...Object.entries(env).map(([key, value]) => `${key}=${value}`)];
  const words = Buffer.from(list.map((word) => `${word}\0`).join(''));
  const rest = Buffer.from(input);
  return Buffer.concat([lengths(words.length + rest.length, words.length), words, rest]);
}
