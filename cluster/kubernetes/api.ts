/** The little of the Kubernetes API that is needed of nodes: list, watch, read one, patch its annotations. */
import { Http } from '../http.ts';
import { RegistryError } from '../registry.ts';
import type { Access } from './access.ts';

/** Milliseconds for one request. */
const PATIENCE = 10_000;
/** Nodes of one answer. */
const PAGE = 500;
/** Seconds after which the server ends a watch: a dead connection is found at the latest then. */
const WATCH_TIME = 60;

export interface Node {
  metadata: { name: string; resourceVersion?: string; annotations?: Readonly<Record<string, string>> };
  spec?: { podCIDR?: string; podCIDRs?: readonly string[] };
  status?: { addresses?: readonly { type: string; address: string }[] };
}

interface NodeList {
  items?: Node[];
  metadata: { resourceVersion?: string; continue?: string };
}

interface NodeList {
  items?: Node[];
  metadata: { resourceVersion?: string; continue?: string };
}

export interface NodeEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: Node & { code?: number; message?: string };
}

/** The API answered, with an error; `code` is the HTTP status. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** What was asked to begin at is forgotten. */
export const GONE = 410;

export class NodesApi {
  readonly where: string;
  readonly #access: Access;
  readonly #http: Http;

  constructor(access: Access) {
    this.#access = access;
    this.#http = new Http(access.tls);
    this.where = `Kubernetes at ${access.server}`;
  }

  /** All nodes, and where a watch begins. Throws ApiError, or the network's errors as they are. */
  async list(): Promise<{ nodes: Node[]; version: string }> {
    const nodes: Node[] = [];
    let version: string | undefined;
    let after = '';
    do {
      const query = `?limit=${PAGE}${after && `&continue=${encodeURIComponent(after)}`}`;
      const { items, metadata } = await this.#ask<NodeList>('GET', `/api/v1/nodes${query}`);
      nodes.push(...(items ?? []));
      // All pages are of one moment; should one not be, the first page's is early enough for all.
      version ??= metadata.resourceVersion;
      after = metadata.continue ?? '';
    } while (after !== '');
    return { nodes, version: version ?? '' };
  }

  async get(name: string): Promise<Node> {
    return this.#ask('GET', `/api/v1/nodes/${encodeURIComponent(name)}`);
  }

  /** Null removes an annotation (RFC 7386). */
  async annotate(name: string, annotations: Readonly<Record<string, string | null>>): Promise<Node> {
    return this.#ask('PATCH', `/api/v1/nodes/${encodeURIComponent(name)}`, { metadata: { annotations } });
  }

  /** Resolves when the server ends it, as it does regularly. */
  async follow(
    version: string,
    signal: AbortSignal,
    hooks: { opened(): void; event(event: NodeEvent): void },
  ): Promise<void> {
    const query = `?watch=1&allowWatchBookmarks=true&timeoutSeconds=${WATCH_TIME}&resourceVersion=${encodeURIComponent(version)}`;
    const dead = new AbortController();
    const timer = setTimeout(() => dead.abort(), (WATCH_TIME + 15) * 1000);
    const request = {
      method: 'GET',
      url: `${this.#access.server}/api/v1/nodes${query}`,
      headers: this.#headers(),
      patience: PATIENCE,
      signal: AbortSignal.any([signal, dead.signal]),
    };
    try {
      const event = (line: string, status: number) => {
        if (status !== 200) throw errorOf(line, status);
        hooks.event(JSON.parse(line) as NodeEvent);
      };
      await this.#http.follow(request, event, (status) => status === 200 && hooks.opened());
    } finally {
      clearTimeout(timer);
    }
  }

  /** RegistryError for anything that went wrong. */
  explained(error: unknown): RegistryError {
    if (error instanceof RegistryError) return error;
    const words = error instanceof Error ? error.message : String(error);
    const isRefusal =
      error instanceof ApiError && error.code < 500 && error.code !== 429 && error.code !== GONE;
    return new RegistryError(
      isRefusal ? 'invalid' : 'unreachable',
      `${this.where} ${isRefusal ? 'refuses' : 'cannot be reached'}: ${words}`,
      { cause: error },
    );
  }

  close(): void {
    this.#http.close();
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const { status, text } = await this.#http.ask({
      method,
      url: this.#access.server + path,
      headers: {
        ...this.#headers(),
        ...(body === undefined ? {} : { 'content-type': 'application/merge-patch+json' }),
      },
      patience: PATIENCE,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (status !== 200) throw errorOf(text, status);
    return JSON.parse(text) as T;
  }

  #headers(): Record<string, string> {
    const token = this.#access.token();
    return {
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
  }
}

/** Errors are objects of kind Status with a message. */
function errorOf(text: string, status: number): ApiError {
  try {
    return new ApiError(
      status,
      `${status} ${(JSON.parse(text) as { message?: string }).message ?? ''}`.trim(),
    );
  } catch {
    return new ApiError(status, `${status} ${text.slice(0, 80).trim()}`);
  }
}
