/** Where metrics are asked for: `<runDir>/metrics.sock`, root's alone, and one port of the loopback interface if wanted. */
import { chmodSync, renameSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import path from 'node:path';

const SOCKET = 'metrics.sock';

/** An address of this host that nobody else can reach. */
export interface LoopbackAddress {
  host: string;
  port: number;
}

export interface Source {
  readonly contentType: string;
  text(): Promise<string>;
}

export function metricsSocket(runDir: string): string {
  return path.join(runDir, SOCKET);
}

export class MetricsServer {
  readonly #servers: Server[] = [];
  readonly #runDir: string;
  /** The socket, and the address if there is one. */
  readonly where: string[] = [];

  private constructor(runDir: string) {
    this.#runDir = runDir;
  }

  /**
   * To be called by the one agent of a run folder. `source` may come later than the first question.
   * Throws an Error with `code` when one of the places cannot be used.
   */
  static async open(
    runDir: string,
    address: LoopbackAddress | undefined,
    source: Promise<Source>,
  ): Promise<MetricsServer> {
    const self = new MetricsServer(runDir);
    const file = metricsSocket(runDir);
    try {
      remove(`${file}.new`);
      await self.#listen(source, { path: `${file}.new` });
      chmodSync(`${file}.new`, 0o600);
      renameSync(`${file}.new`, file);
      self.where.push(file);
      if (address) {
        const server = await self.#listen(source, address);
        const bound = server.address();
        const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
        self.where.push(
          `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}/metrics`,
        );
      }
      return self;
    } catch (error) {
      self.close();
      throw error;
    }
  }

  /** Those who wait for an answer get none. */
  close(): void {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    if (this.#servers.length > 0) remove(metricsSocket(this.#runDir));
  }

  async #listen(source: Promise<Source>, where: { path: string } | LoopbackAddress): Promise<Server> {
    const server = createServer((request, response) => {
      void answer(source, request.method, request.url, response);
    });
    server.maxConnections = 16;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, () => {
        server.off('error', reject);
        resolve();
      });
    });
    this.#servers.push(server);
    return server;
  }
}

async function answer(
  source: Promise<Source>,
  method: string | undefined,
  url: string | undefined,
  response: ServerResponse,
): Promise<void> {
  try {
    if (method !== 'GET' || url?.split('?', 1)[0] !== '/metrics') {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('only GET /metrics is here\n');
      return;
    }
    const { contentType, text } = await source.then(async (source) => ({
      contentType: source.contentType,
      text: await source.text(),
    }));
    response.writeHead(200, { 'Content-Type': contentType }).end(text);
  } catch (error) {
    response.writeHead(500, { 'Content-Type': 'text/plain' }).end(`${String(error)}\n`);
  }
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    // Not there, as it should be.
  }
}
