/** The lease that everything hangs on which one host holds: granted or taken over once, then renewed until close(). */
import { type EtcdClient, EtcdError } from './client.ts';

/** Milliseconds between renewals, if the lease is long; between attempts when etcd is away: from, to. */
const ROUTINE = 60_000;
const RETRY = { first: 500, longest: 15_000 };
/** gRPC: not found. */
const NOT_FOUND = 5;

export interface LeaseHooks {
  /** Milliseconds since the epoch: etcd vouches until then. */
  renewed(validUntil: number): void;
  /** It ran out, and everything on it is gone. */
  expired(): void;
}

export class Lease {
  readonly #client: EtcdClient;
  readonly #ttl: number;
  readonly #hooks: LeaseHooks;
  #id: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;
  /** One of these at a time: two would make two leases. */
  #asked: Promise<string> | undefined;

  /** `ttl`: seconds. */
  constructor(client: EtcdClient, ttl: number, hooks: LeaseHooks) {
    this.#client = client;
    this.#ttl = ttl;
    this.#hooks = hooks;
  }

  /**
   * The lease's id. The first call takes over `found`, which a process before this one left on the host's record, if it still lives: all that hangs on it
   * goes on without being written again.
   */
  async ensure(found: string | undefined): Promise<string> {
    if (this.#id !== undefined) return this.#id;
    this.#asked ??= this.#obtain(found).finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  /** Asks at once whether it lives: what hangs on it has vanished. */
  check(): void {
    if (this.#id !== undefined) this.#after(0);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #obtain(found: string | undefined): Promise<string> {
    const old = found === undefined || found === '0' ? undefined : found;
    const seconds = old === undefined ? 0 : await this.#renew(old);
    this.#id = old !== undefined && seconds > 0 ? old : await this.#grant();
    this.#plan(seconds > 0 ? seconds : this.#ttl);
    return this.#id;
  }

  async #grant(): Promise<string> {
    const asked = Date.now();
    const answer = await this.#client.call<{ ID?: string; TTL?: string }>('/v3/lease/grant', {
      TTL: String(this.#ttl),
    });
    this.#hooks.renewed(asked + Number(answer.TTL ?? this.#ttl) * 1000);
    return String(answer.ID);
  }

  /** Seconds that it has now; 0 when there is no such lease any more. */
  async #renew(id: string): Promise<number> {
    const asked = Date.now();
    try {
      const { result } = await this.#client.call<{ result?: { TTL?: string } }>('/v3/lease/keepalive', {
        ID: id,
      });
      const seconds = Number(result?.TTL ?? 0);
      if (seconds > 0) this.#hooks.renewed(asked + seconds * 1000);
      return seconds;
    } catch (error) {
      if (error instanceof EtcdError && error.code === NOT_FOUND) return 0;
      throw error;
    }
  }

  #plan(seconds: number): void {
    this.#failures = 0;
    this.#after(Math.min(ROUTINE, (seconds * 1000) / 3));
  }

  #after(milliseconds: number): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => void this.#routine(), milliseconds);
  }

  async #routine(): Promise<void> {
    const id = this.#id;
    if (id === undefined) return;
    try {
      const seconds = await this.#renew(id);
      if (this.#closed) return;
      if (seconds > 0) return this.#plan(seconds);
      this.#id = undefined;
      this.#hooks.expired();
    } catch {
      // The watch tells people that etcd is away. A short lease has no time for long pauses.
      this.#failures += 1;
      const longest = Math.min(RETRY.longest, (this.#ttl * 1000) / 3);
      this.#after(Math.min(longest, RETRY.first * 2 ** Math.min(this.#failures - 1, 8)));
    }
  }
}
