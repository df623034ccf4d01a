/** One address of this host at which names are asked for: UDP and TCP, port 53 (RFC 1035, section 4.2). */
import { createSocket, type Socket } from 'node:dgram';
import { createServer, type Server, type Socket as Stream } from 'node:net';
import { framed, type Upstream } from './upstream.ts';
import { asDatagram, failure, readQuery, type Zone } from './zone.ts';

const PORT = 53;
/** Milliseconds of silence after which a connection is closed; connections at once; bytes of a question. */
const PATIENCE = 10_000;
const MOST_CONNECTIONS = 64;
const LONGEST = 4096;

export interface NameServerOptions {
  address: string;
  zone: Zone;
  upstream: Upstream;
  /** All addresses at which we answer. */
  own(): ReadonlySet<string>;
}

export class NameServer {
  readonly #options: NameServerOptions;
  readonly #udp: Socket;
  readonly #tcp: Server;
  readonly #streams = new Set<Stream>();

  private constructor(options: NameServerOptions) {
    this.#options = options;
    this.#udp = createSocket(options.address.includes(':') ? 'udp6' : 'udp4');
    this.#tcp = createServer((stream) => this.#serve(stream));
    this.#tcp.maxConnections = MOST_CONNECTIONS;
  }

  /** Throws an Error with `code`: the address is not there (any more), or somebody else answers there. */
  static async open(options: NameServerOptions): Promise<NameServer> {
    const server = new NameServer(options);
    const { address } = options;
    try {
      await ready(server.#udp, () => server.#udp.bind({ port: PORT, address }));
      await ready(server.#tcp, () => server.#tcp.listen({ port: PORT, host: address }));
    } catch (error) {
      server.close();
      throw error;
    }
    for (const one of [server.#udp, server.#tcp]) one.on('error', () => {});
    server.#udp.on('message', (bytes, { address: from, port }) => {
      void server.#answer(bytes, from, 'udp').then((answer) => {
        if (answer && !server.#closed) server.#udp.send(answer, port, from);
      });
    });
    return server;
  }

  #closed = false;

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#udp.close();
    this.#tcp.close();
    for (const stream of this.#streams) stream.destroy();
  }

  /** Undefined: nothing is said. */
  async #answer(bytes: Uint8Array, from: string, way: 'udp' | 'tcp'): Promise<Uint8Array | undefined> {
    const { zone, upstream, own } = this.#options;
    if (!zone.mayAsk(from.replace(/%.*$/, ''))) return undefined;
    const query = readQuery(bytes);
    if (!query) return undefined;
    const known = zone.answer(query);
    if (known) return way === 'udp' ? asDatagram(known) : known;
    return (await upstream.ask(bytes, way, own())) ?? failure(query);
  }

  #serve(stream: Stream): void {
    const from = stream.remoteAddress ?? '';
    let got = Buffer.alloc(0);
    this.#streams.add(stream);
    stream.on('close', () => this.#streams.delete(stream));
    stream.on('error', () => stream.destroy());
    stream.setTimeout(PATIENCE, () => stream.destroy());
    stream.on('data', (chunk) => {
      got = Buffer.concat([got, chunk]);
      if (got.length > LONGEST) stream.destroy();
      while (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0)) {
        const length = got.readUInt16BE(0);
        const query = got.subarray(2, 2 + length);
        got = got.subarray(2 + length);
        void this.#answer(query, from, 'tcp').then((answer) => {
          if (answer === undefined) stream.destroy();
          else if (!stream.destroyed) stream.write(framed(answer));
        });
      }
    });
  }
}

/** Until it listens, or says why not. */
function ready(one: Socket | Server, begin: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    one.once('error', reject);
    one.once('listening', () => {
      one.removeListener('error', reject);
      resolve();
    });
    begin();
  });
}
