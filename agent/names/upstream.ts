/** Questions that are not after our names, to this host's resolvers: bytes as they came, answer as it comes. */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { readResolvConf } from '../../ipam/resolv-conf.ts';

/** Milliseconds for one resolver; and how many questions are under way at once: the rest is dropped, and asked again. */
const PATIENCE = 2000;
const MOST = 512;
const PORT = 53;

export class Upstream {
  readonly #file: string;
  #underWay = 0;

  /** @param file in the format of resolv.conf(5) */
  constructor(file: string) {
    this.#file = file;
  }

  /** Undefined when nobody answers. @param except our own addresses: no question goes in circles */
  async ask(query: Uint8Array, way: 'udp' | 'tcp', except: ReadonlySet<string>): Promise<Buffer | undefined> {
    if (this.#underWay >= MOST) return undefined;
    this.#underWay += 1;
    try {
      for (const server of this.#servers()) {
        if (except.has(server)) continue;
        const answer = await (way === 'udp' ? byDatagram : byStream)(query, server);
        if (answer !== undefined) return answer;
      }
      return undefined;
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Read each time: it is short, and its writers (DHCP, VPN) tell nobody. */
  #servers(): string[] {
    try {
      return readResolvConf(this.#file).nameservers ?? [];
    } catch {
      return [];
    }
  }
}

/** From a port of its own for each question: an answer that is guessed has to guess that, too. */
function byDatagram(query: Uint8Array, server: string): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
    const end = (answer?: Buffer) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(end, PATIENCE);
    socket.on('error', () => end());
    socket.on('message', (bytes) => {
      if (bytes[0] === query[0] && bytes[1] === query[1]) end(bytes);
    });
    socket.connect(PORT, server, () => socket.send(query));
  });
}

function byStream(query: Uint8Array, server: string): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect(PORT, server);
    let got = Buffer.alloc(0);
    const end = (answer?: Buffer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PATIENCE, () => end());
    socket.on('error', () => end());
    socket.on('close', () => end());
    socket.on('connect', () => socket.write(framed(query)));
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      if (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0))
        end(got.subarray(2, 2 + got.readUInt16BE(0)));
    });
  });
}

/** RFC 1035, section 4.2.2. */
export function framed(message: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
