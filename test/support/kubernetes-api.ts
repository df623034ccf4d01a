/** A Kubernetes API with nothing but nodes, as far as its documentation describes list, watch, get and merge patch; faults on demand. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Teardown } from './host.ts';

interface Node {
  metadata: { name: string; resourceVersion: string; annotations: Record<string, string>; uid: string };
  spec: { podCIDRs?: string[]; podCIDR?: string };
  status: { addresses: { type: string; address: string }[]; images: unknown[] };
}

export class KubernetesApi {
  readonly nodes = new Map<string, Node>();
  /** Every request, `GET /api/v1/nodes?...`. */
  readonly requests: string[] = [];
  /** Watches that begin before this version are told that it is gone. */
  forgottenBefore = 0;
  /** Wanted of each request, when set. */
  token: string | undefined;
  #version = 100;
  #history: { version: number; type: string; node: Node }[] = [];
  readonly #watchers = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;

  /** Resolves with its URL; the same one again after stop(). */
  async start(t: Teardown, tls?: { cert: string; key: string }): Promise<string> {
    const serve = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response);
    const server = tls === undefined ? createServer(serve) : createSecureServer(tls, serve);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    t.teardown(() => this.stop());
    return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.#port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server?.close(resolve) ?? resolve(undefined));
    this.#server = undefined;
  }

  /** As a kubelet registers it. */
  add(name: string, podCIDRs: string[], addresses: string[]): void {
    this.#change('ADDED', {
      metadata: { name, uid: `uid-of-${name}`, resourceVersion: '', annotations: { 'other/one': 'stays' } },
      spec: podCIDRs.length === 0 ? {} : { podCIDRs, podCIDR: podCIDRs[0] ?? '' },
      status: {
        addresses: [
          ...addresses.map((address) => ({ type: 'InternalIP', address })),
          { type: 'Hostname', address: name },
        ],
        images: [{ names: ['example'], sizeBytes: 1 }],
      },
    });
  }

  remove(name: string): void {
    const node = this.nodes.get(name);
    if (node !== undefined) this.#change('DELETED', node);
  }

  /** As a node that reports its health. */
  touch(name: string): void {
    const node = this.nodes.get(name);
    if (node !== undefined) this.#change('MODIFIED', node);
  }

  /** As the server does after timeoutSeconds. */
  endWatches(): void {
    for (const watcher of this.#watchers) watcher.end();
    this.#watchers.clear();
  }

  get watches(): number {
    return this.#watchers.size;
  }

  #change(type: string, node: Node): void {
    this.#version += 1;
    const changed = { ...node, metadata: { ...node.metadata, resourceVersion: String(this.#version) } };
    if (type === 'DELETED') this.nodes.delete(node.metadata.name);
    else this.nodes.set(node.metadata.name, changed);
    this.#history.push({ version: this.#version, type, node: changed });
    for (const watcher of this.#watchers) watcher.write(`${JSON.stringify({ type, object: changed })}\n`);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests.push(`${request.method} ${request.url}`);
    const url = new URL(request.url ?? '', 'http://api');
    let body = '';
    for await (const chunk of request) body += chunk;
    const name = /^\/api\/v1\/nodes\/([^/]+)$/.exec(url.pathname)?.[1];
    const node = name === undefined ? undefined : this.nodes.get(decodeURIComponent(name));
    if (this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`) {
      this.#fail(response, 401, 'Unauthorized');
    } else if (url.pathname === '/api/v1/nodes') {
      if (url.searchParams.get('watch') === '1')
        this.#watch(response, Number(url.searchParams.get('resourceVersion')));
      else this.#list(response, url);
    } else if (node === undefined) {
      this.#fail(response, 404, `nodes "${name}" not found`);
    } else if (request.method === 'PATCH') {
      if (request.headers['content-type'] !== 'application/merge-patch+json') {
        this.#fail(response, 415, 'the body of the request was in an unknown format');
        return;
      }
      this.#patch(node, JSON.parse(body));
      this.#answer(response, this.nodes.get(node.metadata.name));
    } else this.#answer(response, node);
  }

  /** Two nodes a page, so that there are several. */
  #list(response: ServerResponse, url: URL): void {
    const from = Number(url.searchParams.get('continue') ?? 0);
    const all = [...this.nodes.values()];
    const more = from + 2 < all.length ? { continue: String(from + 2) } : {};
    const metadata = { resourceVersion: String(this.#version), ...more };
    this.#answer(response, { kind: 'NodeList', metadata, items: all.slice(from, from + 2) });
  }

  #watch(response: ServerResponse, from: number): void {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (from < this.forgottenBefore) {
      const object = {
        kind: 'Status',
        code: 410,
        reason: 'Expired',
        message: `too old resource version: ${from}`,
      };
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    for (const { version, type, node } of this.#history) {
      if (version > from) response.write(`${JSON.stringify({ type, object: node })}\n`);
    }
    const bookmark = { kind: 'Node', metadata: { resourceVersion: String(this.#version) } };
    response.write(`${JSON.stringify({ type: 'BOOKMARK', object: bookmark })}\n`);
    this.#watchers.add(response);
    response.once('close', () => this.#watchers.delete(response));
  }

  #patch(node: Node, patch: { metadata?: { annotations?: Record<string, string | null> } }): void {
    const annotations: Record<string, string> = { ...node.metadata.annotations };
    for (const [key, value] of Object.entries(patch.metadata?.annotations ?? {})) {
      if (value === null) delete annotations[key];
      else annotations[key] = value;
    }
    this.#change('MODIFIED', { ...node, metadata: { ...node.metadata, annotations } });
  }

  #answer(response: ServerResponse, value: unknown): void {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  }

  #fail(response: ServerResponse, code: number, message: string): void {
    const status = { kind: 'Status', status: 'Failure', code, message };
    response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(status));
  }
}
