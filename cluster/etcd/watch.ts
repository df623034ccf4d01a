/** One network as etcd has it, followed: a full list, then what changes from its revision on; the list again when etcd has forgotten that far back. */

import { Attempts } from '../registry/attempts.ts';
import type { Watch, WatchHooks } from '../registry.ts';
import { decode, type EtcdClient, encode, type Json } from './client.ts';
import { type Kvs, stateOf } from './keys.ts';

interface KeyValue {
  key: string;
  value?: string;
  mod_revision?: string;
  lease?: string;
}

interface WatchResult {
  header?: { revision?: string };
  created?: boolean;
  canceled?: boolean;
  cancel_reason?: string;
  compact_revision?: string;
  events?: { type?: string; kv: KeyValue }[];
}

export interface Listing {
  kvs: Kvs;
  revision: string;
}

/** Everything below `base`, which ends with `/`, at one revision. */
export async function list(client: EtcdClient, base: string): Promise<Listing> {
  const answer = await client.call<{ header?: { revision?: string }; kvs?: KeyValue[] }>(
    '/v3/kv/range',
    range(base),
  );
  const kvs: Kvs = new Map();
  for (const kv of answer.kvs ?? []) put(kvs, base, kv);
  return { kvs, revision: answer.header?.revision ?? '0' };
}

/** All keys that begin with `base`: `0` follows `/`. */
function range(base: string): Json {
  return { key: encode(base), range_end: encode(`${base.slice(0, -1)}0`) };
}

function put(kvs: Kvs, base: string, { key, value, mod_revision, lease }: KeyValue): void {
  const stored = { value: decode(value), revision: mod_revision ?? '0', lease: lease ?? '0' };
  kvs.set(decode(key).slice(base.length), stored);
}

export class NetworkWatch implements Watch {
  readonly #client: EtcdClient;
  readonly #base: string;
  readonly #hooks: WatchHooks;
  readonly #ended = new AbortController();
  #kvs: Kvs | undefined;
  #revision = 0n;
  readonly #attempts: Attempts;
  /** That is being asked. */
  #endpoint: EtcdClient['endpoint'];

  constructor(client: EtcdClient, base: string, hooks: WatchHooks) {
    this.#client = client;
    this.#endpoint = client.endpoint;
    this.#base = base;
    this.#hooks = hooks;
    this.#attempts = new Attempts(hooks, this.#ended.signal);
  }

  start(): void {
    void this.#attempts.repeat(
      () => this.#attempt(),
      (error) => {
        this.#client.rotate(this.#endpoint);
        return this.#client.unreachable(error);
      },
    );
  }

  close(): void {
    this.#ended.abort();
  }

  /** What is known, unless etcd is away or has not been asked. */
  get known(): Listing | undefined {
    return this.#kvs === undefined || this.#attempts.isLost
      ? undefined
      : { kvs: new Map(this.#kvs), revision: String(this.#revision) };
  }

  get #closed(): boolean {
    return this.#ended.signal.aborted;
  }

  async #attempt(): Promise<void> {
    this.#endpoint = this.#client.endpoint;
    if (this.#kvs === undefined) await this.#list();
    // The list may have found that another one answers.
    this.#endpoint = this.#client.endpoint;
    await this.#follow(this.#endpoint);
  }

  async #list(): Promise<void> {
    const { kvs, revision } = await list(this.#client, this.#base);
    if (this.#closed) return;
    this.#kvs = kvs;
    this.#revision = BigInt(revision);
    this.#attempts.succeeded();
    this.#hooks.changed(stateOf(kvs));
  }

  /** Ends with an error, or with close(). */
  async #follow(endpoint: string): Promise<void> {
    const stream = new AbortController();
    const stop = () => stream.abort();
    this.#ended.signal.addEventListener('abort', stop);
    let dead: unknown;
    // A server that stopped, or a cable that was cut, leaves a stream open and silent.
    const ping = setInterval(() => {
      this.#client
        .callAt(endpoint, '/v3/kv/range', { ...range(this.#base), count_only: true })
        .catch((error: unknown) => {
          dead ??= error;
          stop();
        });
    }, this.#client.patience);
    const create_request = { ...range(this.#base), start_revision: String(this.#revision + 1n) };
    try {
      await this.#client.follow(endpoint, '/v3/watch', { create_request }, stream.signal, (result) => {
        if (!stream.signal.aborted) this.#take(result as WatchResult);
      });
      if (!this.#closed) throw new Error('the watch was ended by etcd');
    } catch (error) {
      throw dead ?? error;
    } finally {
      clearInterval(ping);
      this.#ended.signal.removeEventListener('abort', stop);
    }
  }

  #take(result: WatchResult): void {
    const revision = BigInt(result.header?.revision ?? '0');
    if (result.canceled) {
      // Compacted: what changed in between cannot be told any more.
      this.#kvs = undefined;
      throw new Error(
        result.cancel_reason || `what changed before revision ${result.compact_revision} is forgotten`,
      );
    }
    if (result.created) {
      if (revision < this.#revision) {
        this.#kvs = undefined;
        throw new Error('etcd has an older state than before: it was restored from a backup, or made anew');
      }
      this.#attempts.opened();
      return;
    }
    const kvs = this.#kvs;
    if (kvs === undefined) return;
    const events = result.events ?? [];
    const changes = events.filter((event) => this.#apply(kvs, event));
    // Not the header's: of a long history that is sent in parts it is the end.
    this.#revision = BigInt(events.at(-1)?.kv.mod_revision ?? this.#revision);
    if (changes.length === 0) return;
    this.#hooks.changed(stateOf(kvs));
  }

  /** Whether a reader sees a difference: a key that got another lease, or a claim, is none. */
  #apply(kvs: Kvs, { type, kv }: { type?: string; kv: KeyValue }): boolean {
    const key = decode(kv.key).slice(this.#base.length);
    const before = kvs.get(key)?.value;
    if (type === 'DELETE') kvs.delete(key);
    else put(kvs, this.#base, kv);
    return before !== kvs.get(key)?.value && /^(hosts|endpoints)\//.test(key);
  }
}
