/** HTTP to a server that may be away, in the middle of anything: every wait ends. node:http is loaded at the first request. */
import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import type { AgentOptions } from 'node:https';

/** Bytes of an answer: more is no registry. */
const LARGEST = 64 * 1024 * 1024;
/** Milliseconds after which a silent connection is asked by TCP whether it lives. */
const KEEP_ALIVE = 10_000;

/** PEM texts. */
export interface Tls {
  ca?: string;
  cert?: string;
  key?: string;
}

export interface Request {
  method: string;
  url: string;
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** Milliseconds until an answer must be complete; until it must have begun, for streams. */
  patience: number;
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  text: string;
}

export class Http {
  readonly #tls: Tls | undefined;
  #agents: { http: Agent; https: Agent } | undefined;

  constructor(tls: Tls | undefined) {
    this.#tls = tls;
  }

  /** Throws an Error in words (`connect ECONNREFUSED 127.0.0.1:2379`, `no answer within 5 s`). */
  async ask(request: Request): Promise<Answer> {
    return this.#exchange(request, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) {
        text += chunk;
        if (text.length > LARGEST) throw new Error(`the answer has more than ${LARGEST} bytes`);
      }
      return { status: response.statusCode ?? 0, text };
    });
  }

  /** Calls `opened` when an answer begins, `line` with each line of it; resolves when the server ends it. */
  async follow(
    request: Request,
    line: (text: string, status: number) => void,
    opened: (status: number) => void = () => {},
  ): Promise<void> {
    await this.#exchange(request, async (response, begun) => {
      begun();
      const status = response.statusCode ?? 0;
      opened(status);
      let rest = '';
      for await (const chunk of response.setEncoding('utf8')) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LARGEST) throw new Error(`a line has more than ${LARGEST} bytes`);
        for (const one of lines) if (one !== '') line(one, status);
      }
      if (rest !== '') line(rest, status);
    });
  }

  close(): void {
    this.#agents?.http.destroy();
    this.#agents?.https.destroy();
    this.#agents = undefined;
  }

  /** `read` takes the answer; it calls `begun` when patience is for the beginning only. An answer that is left unread ends its connection. */
  async #exchange<T>(
    request: Request,
    read: (response: IncomingMessage, begun: () => void) => Promise<T>,
  ): Promise<T> {
    let sent = await this.#send(request);
    let late: Error | undefined;
    const timer = setTimeout(() => {
      late = new Error(`no answer within ${request.patience / 1000} s`);
      sent.destroy(late);
    }, request.patience);
    try {
      const response = await answerTo(sent, request.body).catch(async (error: NodeJS.ErrnoException) => {
        // A connection kept from before may have been closed by the server meanwhile, which says nothing about the server. What is
        // asked here may be asked twice: etcd's transactions compare first, and annotations are set to what they are.
        if (late !== undefined || !sent.reusedSocket || error.code !== 'ECONNRESET') throw error;
        sent = await this.#send(request, true);
        return answerTo(sent, request.body);
      });
      return await read(response, () => clearTimeout(timer));
    } catch (error) {
      throw late ?? inWords(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #send({ url, method, headers, signal }: Request, onNewConnection = false): Promise<ClientRequest> {
    const [http, https] = await Promise.all([import('node:http'), import('node:https')]);
    signal?.throwIfAborted();
    const settings: AgentOptions = {
      keepAlive: true,
      keepAliveMsecs: KEEP_ALIVE,
      maxSockets: 64,
      ...this.#tls,
    };
    this.#agents ??= { http: new http.Agent(settings), https: new https.Agent(settings) };
    const secure = url.startsWith('https:');
    return (secure ? https : http).request(url, {
      method,
      ...(onNewConnection
        ? { ...this.#tls, agent: false }
        : { agent: secure ? this.#agents.https : this.#agents.http }),
      headers: { 'content-type': 'application/json', ...headers },
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

function answerTo(sent: ClientRequest, body: string | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once('response', resolve);
    // Stays: what fails while the answer is read is told by the response, and must not be unhandled here.
    sent.on('error', reject);
    sent.setNoDelay(true);
    sent.setSocketKeepAlive(true, KEEP_ALIVE);
    sent.end(body);
  });
}

/** Several addresses tried in vain are one error without words. */
function inWords(error: unknown): Error {
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first : new Error(String(first));
}
