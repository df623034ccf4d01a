/**
 * Where `weft network` and `weft status` ask the agent: HTTP on `<runDir>/networks.sock`, root's alone.
 * `GET /networks` all of them as JSON (summary.ts); `POST /networks/NAME/leave[?force]`. An error is `{"error": "..."}`.
 */
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import path from 'node:path';
import type { Networks } from './networks.ts';
import { wordsOf } from './words.ts';

export const controlSocket = (runDir: string) => path.join(runDir, 'networks.sock');

export class Control {
  readonly #server: Server;
  readonly #file: string;

  private constructor(server: Server, file: string) {
    this.#server = server;
    this.#file = file;
  }

  /** To be called by the one agent of a run folder. Throws an Error with `code`. */
  static async open(runDir: string, networks: Networks): Promise<Control> {
    const file = controlSocket(runDir);
    const server = createServer((request, response) => {
      answer(networks, request).then(
        ({ status, body }) => reply(response, status, body),
        (error: unknown) => reply(response, 409, { error: wordsOf(error) }),
      );
    });
    server.maxConnections = 16;
    rmSync(`${file}.new`, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`${file}.new`, () => {
        server.off('error', reject);
        resolve();
      });
    });
    chmodSync(`${file}.new`, 0o600);
    renameSync(`${file}.new`, file);
    return new Control(server, file);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    rmSync(this.#file, { force: true });
  }
}

async function answer(
  networks: Networks,
  request: IncomingMessage,
): Promise<{ status: number; body: unknown }> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://agent');
  if (request.method === 'GET' && pathname === '/networks') {
    return { status: 200, body: await networks.summaries() };
  }
  const [, name] = /^\/networks\/([^/]+)\/leave$/.exec(pathname) ?? [];
  if (request.method === 'POST' && name !== undefined) {
    await networks.leave(decodeURIComponent(name), searchParams.has('force'));
    return { status: 200, body: {} };
  }
  return { status: 404, body: { error: 'only GET /networks and POST /networks/NAME/leave are here' } };
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}
