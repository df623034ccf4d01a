/**
 * etcd's JSON gateway (etcd documentation, "gRPC gateway"): requests with a time limit to the first endpoint that answers, and streams. Bytes
 * travel as base64, 64-bit numbers as texts, and what is zero is left out.
 */
import { Http, type Tls } from '../http.ts';
import { RegistryError } from '../registry.ts';

/** gRPC status codes that are told apart. */
const CODE = {
  invalidArgument: 3,
  notFound: 5,
  permissionDenied: 7,
  failedPrecondition: 9,
  unavailable: 14,
  unauthenticated: 16,
};
/** These answers are another member's chance: no leader, deadline exceeded, overloaded. */
const TRANSIENT = new Set([2, 4, 8, CODE.unavailable]);

/** etcd answered, with an error. */
export class EtcdError extends Error {
  override readonly name = 'EtcdError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export interface EtcdClientOptions {
  endpoints: readonly string[];
  tls?: Tls;
  user?: string;
  password?: string;
  /** Milliseconds for one request to one endpoint. */
  patience: number;
}

export type Json = Readonly<Record<string, unknown>>;

export class EtcdClient {
  readonly where: string;
  readonly #options: EtcdClientOptions;
  readonly #http: Http;
  #token: Promise<string> | undefined;
  #current = 0;

  constructor(options: EtcdClientOptions) {
    this.#options = options;
    this.#http = new Http(options.tls);
    this.where = `etcd at ${options.endpoints.join(', ')}`;
  }

  /** Milliseconds. */
  get patience(): number {
    return this.#options.patience;
  }

  /** The endpoint that answered last. */
  get endpoint(): string {
    return this.#options.endpoints[this.#current] ?? '';
  }

  /**
   * Asks each endpoint once until one answers. Throws EtcdError with etcd's words, RegistryError(unreachable) when none answers,
   * RegistryError(invalid) when user or password are refused. Whether a request without answer was carried out is not known.
   */
  async call<T extends Json>(path: string, body: Json): Promise<T> {
    let last: Error | undefined;
    for (let tried = 0; tried < this.#options.endpoints.length; tried += 1) {
      const { endpoint } = this;
      try {
        return await this.callAt<T>(endpoint, path, body);
      } catch (error) {
        if (error instanceof RegistryError) throw error;
        if (error instanceof EtcdError && !TRANSIENT.has(error.code)) throw error;
        last = error as Error;
        this.rotate(endpoint);
      }
    }
    throw this.unreachable(last);
  }

  /** As call(), of one endpoint; also throws the network's errors as they are. */
  async callAt<T extends Json>(endpoint: string, path: string, body: Json): Promise<T> {
    return this.#withToken(async (headers) => {
      const { text, status } = await this.#http.ask({ ...this.#post(endpoint, path, body), headers });
      return answerOf<T>(text, status);
    }, endpoint);
  }

  /** Streams: `message` is called with each result. Resolves when etcd ends it; throws as callAt(). */
  async follow(
    endpoint: string,
    path: string,
    body: Json,
    signal: AbortSignal,
    message: (result: Json) => void,
  ) {
    await this.#withToken(
      (headers) =>
        this.#http.follow({ ...this.#post(endpoint, path, body), headers, signal }, (line, status) => {
          message(answerOf<{ result?: Json }>(line, status).result ?? {});
        }),
      endpoint,
    );
  }

  /** Another endpoint is asked next, unless that is so already. */
  rotate(failed: string): void {
    if (this.endpoint === failed) this.#current = (this.#current + 1) % this.#options.endpoints.length;
  }

  unreachable(cause: unknown): RegistryError {
    if (cause instanceof RegistryError) return cause;
    const words = cause instanceof Error ? cause.message : String(cause);
    return new RegistryError('unreachable', `${this.where} cannot be reached: ${words}`, { cause });
  }

  close(): void {
    this.#http.close();
  }

  #post(endpoint: string, path: string, body: Json) {
    const { patience } = this.#options;
    return { method: 'POST', url: endpoint + path, body: JSON.stringify(body), patience };
  }

  /** Tokens end after minutes, and with etcd's process: a refused one is renewed once. */
  async #withToken<T>(work: (headers: Record<string, string>) => Promise<T>, endpoint: string): Promise<T> {
    const token = await this.#authenticate(endpoint);
    try {
      return await work(token === '' ? {} : { authorization: token });
    } catch (error) {
      if (!isTokenTrouble(error)) throw this.#explained(error);
      if (this.#options.user === undefined) throw this.#wantsUser(error);
      this.#token = undefined;
      const fresh = await this.#authenticate(endpoint);
      return await work({ authorization: fresh }).catch((again: unknown) => {
        throw this.#explained(again);
      });
    }
  }

  #authenticate(endpoint: string): Promise<string> {
    const { user, password = '' } = this.#options;
    if (user === undefined) return Promise.resolve('');
    const asked = this.#token ?? this.#login(endpoint, user, password);
    this.#token = asked;
    asked.catch(() => {
      if (this.#token === asked) this.#token = undefined;
    });
    return asked;
  }

  async #login(endpoint: string, name: string, password: string): Promise<string> {
    try {
      const { text, status } = await this.#http.ask(
        this.#post(endpoint, '/v3/auth/authenticate', { name, password }),
      );
      return answerOf<{ token?: string }>(text, status).token ?? '';
    } catch (error) {
      // Passwords are switched off: nobody needs one.
      if (error instanceof EtcdError && error.code === CODE.failedPrecondition) return '';
      if (!(error instanceof EtcdError) || TRANSIENT.has(error.code)) throw error;
      throw new RegistryError('invalid', `${this.where} refuses user ${name}: ${error.message}`, {
        cause: error,
      });
    }
  }

  #explained(error: unknown): unknown {
    if (!(error instanceof EtcdError) || error.code !== CODE.permissionDenied) return error;
    const { user } = this.#options;
    if (user === undefined) return this.#wantsUser(error);
    const what = `does not let user ${user} read and write below the registry's prefix: grant it a role that does`;
    return new RegistryError('invalid', `${this.where} ${what}`, { cause: error });
  }

  #wantsUser(cause: unknown): RegistryError {
    const what = "wants a user: add user=NAME to the registry's location";
    return new RegistryError('invalid', `${this.where} ${what}`, { cause });
  }
}

function isTokenTrouble(error: unknown): boolean {
  if (!(error instanceof EtcdError)) return false;
  if (error.code === CODE.unauthenticated) return true;
  return (
    error.code === CODE.invalidArgument &&
    /user name is empty|revision of auth store is old/.test(error.message)
  );
}

/** Throws EtcdError for the gateway's error objects, in its older and newer forms. */
function answerOf<T>(text: string, status: number): T {
  let answer: Json;
  try {
    answer = JSON.parse(text) as Json;
  } catch {
    if (/CommonName of client/.test(text)) {
      // etcd would take the name for a user where gRPC is spoken, and rather refuses than does otherwise here.
      const words =
        'refuses client certificates with a common name while passwords are on: wanted one without CN';
      throw new EtcdError(CODE.invalidArgument, words);
    }
    throw new Error(
      `answered ${status} with what is no JSON: ${text.slice(0, 80).trim()}: is it etcd 3.4 or later?`,
    );
  }
  const nested =
    typeof answer.error === 'object' && answer.error !== null ? (answer.error as Json) : undefined;
  if (status === 200 && answer.error === undefined) return answer as T;
  const from = nested ?? answer;
  const code = Number(from.code ?? from.grpc_code ?? CODE.unavailable);
  throw new EtcdError(
    code,
    String(from.message ?? from.error ?? `status ${status}`).replace(/^etcdserver: /, ''),
  );
}

export const encode = (text: string) => Buffer.from(text).toString('base64');
export const decode = (base64: unknown) => Buffer.from(String(base64 ?? ''), 'base64').toString();
