/** The registry over any store: look, decide, swap, and again when somebody else was faster. */
import type { Pool } from '../network.ts';
import {
  type Endpoint,
  type JoinRequest,
  type Member,
  type NetworkState,
  type Registry,
  RegistryError,
  type Watch,
  type WatchHooks,
} from '../registry.ts';
import { extended, joined, memberOf, obstacle, publication, reduced } from './allocate.ts';
import { checkJoin, checkName } from './names.ts';
import { type Change, MOST_ENDPOINTS, type Store } from './store.ts';

/** Two that collide differ in their next wait; a hundred at once need some twenty. */
const ATTEMPTS = 100;
/** Milliseconds. */
const LONGEST_PAUSE = 200;
const LONGEST_RETRY = 5000;

/** What is to change next, if anything, and whether that is all. */
interface Decision<T> {
  change?: Change;
  done: boolean;
  result: T;
}

/** What happens to this host's registration without anybody asking. */
export interface RegistrationHooks {
  /** The registry vouches for what the host holds until then (milliseconds since the epoch), without another sign of life. */
  renewed(host: string, validUntil: number): void;
  /** The registration had run out while the registry could not be reached; the same is registered again. */
  restored(network: string, member: Member): void;
  /** It had run out, and somebody else has what the host held (`taken`): it must join anew, and its containers cannot keep their addresses. */
  gone(network: string, error: RegistryError): void;
}

export class StoredRegistry implements Registry {
  readonly #store: Store;
  readonly #hooks: RegistrationHooks;
  readonly #random: () => number;
  /** What this host holds, by network and host, so that it can be taken again. */
  readonly #held = new Map<string, { network: string; member: Member; endpoints: readonly Endpoint[] }>();
  /** Hosts for which that goes on; true: from the beginning. */
  readonly #restoring = new Map<string, boolean>();
  #closed = false;
  /** What was published last, by network and host: an address that was lost to another host since is not fought for. */
  readonly #published = new Map<string, ReadonlySet<string>>();

  /** `open` is given what it calls when all that a host holds has run out. */
  constructor(
    open: (expired: (host: string) => void) => Store,
    hooks: RegistrationHooks,
    random: () => number = Math.random,
  ) {
    this.#store = open((host) => void this.#restore(host));
    this.#hooks = hooks;
    this.#random = random;
  }

  get where(): string {
    return this.#store.where;
  }

  async join(request: JoinRequest): Promise<Member> {
    checkJoin(request);
    return this.#setMember(request.network, request.host, (state) => joined(state, request));
  }

  async leave(network: string, host: string): Promise<void> {
    checkName('network', network);
    checkName('host', host);
    this.#published.delete(`${network}/${host}`);
    this.#held.delete(`${network}/${host}`);
    await this.#change(network, true, (state) => {
      const all = state.endpoints.filter((endpoint) => endpoint.host === host);
      const remove = all.slice(0, MOST_ENDPOINTS).map(({ address }) => address);
      const last = all.length <= MOST_ENDPOINTS;
      if (remove.length === 0 && memberOf(state, host) === undefined)
        return { done: true, result: undefined };
      return { change: { host, remove, ...(last ? { member: null } : {}) }, done: last, result: undefined };
    });
  }

  async extend(request: { network: string; host: string; pool: Pool; count: number }): Promise<Member> {
    const { network, host, pool, count } = request;
    return this.#setMember(network, host, (state) => extended(state, host, pool, count));
  }

  async giveBack(request: { network: string; host: string; subnets: readonly string[] }): Promise<Member> {
    const { network, host, subnets } = request;
    return this.#setMember(network, host, (state) => reduced(state, host, subnets));
  }

  async publish(network: string, host: string, endpoints: readonly Endpoint[]): Promise<void> {
    const before = this.#published.get(`${network}/${host}`) ?? new Set();
    await this.#change(network, false, (state) => {
      const ours = new Set(state.endpoints.filter((one) => one.host === host).map(({ address }) => address));
      const lost = new Set([...before].filter((address) => !ours.has(address)));
      const { put, remove } = publication(state, host, endpoints, lost);
      if (put.length + remove.length === 0) return { done: true, result: undefined };
      const now = {
        remove: remove.slice(0, MOST_ENDPOINTS),
        put: put.slice(0, MOST_ENDPOINTS - remove.length),
      };
      if (remove.length >= MOST_ENDPOINTS) now.put = [];
      return {
        change: { host, ...now },
        done: put.length + remove.length <= MOST_ENDPOINTS,
        result: undefined,
      };
    });
    this.#published.set(`${network}/${host}`, new Set(endpoints.map(({ address }) => address)));
    const held = this.#held.get(`${network}/${host}`);
    if (held !== undefined) held.endpoints = endpoints;
  }

  async read(network: string): Promise<NetworkState> {
    checkName('network', network);
    return (await this.#store.look(network, true)).state;
  }

  watch(network: string, hooks: WatchHooks): Watch {
    checkName('network', network);
    return this.#store.watch(network, hooks);
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#store.close();
  }

  async #setMember(network: string, host: string, decide: (state: NetworkState) => Member): Promise<Member> {
    const member = await this.#change(network, true, (state) => {
      const next = decide(state);
      return { change: { host, member: next }, done: true, result: next };
    });
    const key = `${network}/${host}`;
    this.#held.set(key, { network, member, endpoints: this.#held.get(key)?.endpoints ?? [] });
    return member;
  }

  /** Takes what a host held on each network again, or nothing of it. Tried until the registry answers. */
  async #restore(host: string): Promise<void> {
    const running = this.#restoring.has(host);
    this.#restoring.set(host, true);
    if (running) return;
    // It may run out once more in the meantime.
    while (this.#restoring.get(host)) {
      this.#restoring.set(host, false);
      for (const [key, { network, member }] of this.#held) {
        if (member.host === host) await this.#restoreOn(network, host, key);
      }
    }
    this.#restoring.delete(host);
  }

  async #restoreOn(network: string, host: string, key: string): Promise<void> {
    for (let failures = 1; !this.#closed; failures += 1) {
      const held = this.#held.get(key);
      if (held === undefined) return;
      try {
        const member = await this.#takeAgain(network, held.member);
        if (!this.#held.has(key)) return await this.leave(network, host);
        await this.publish(network, host, this.#held.get(key)?.endpoints ?? []);
        this.#hooks.restored(network, member);
        return;
      } catch (error) {
        const isTaken = error instanceof RegistryError && error.problem === 'taken';
        if (isTaken && this.#held.get(key) === held) {
          this.#held.delete(key);
          this.#hooks.gone(network, error);
          return;
        }
        await this.#pause(Math.min(LONGEST_RETRY, LONGEST_PAUSE * failures));
      }
    }
  }

  async #takeAgain(network: string, member: Member): Promise<Member> {
    return this.#change(network, true, (state) => {
      const problem = obstacle(state, member);
      if (problem !== undefined) {
        throw new RegistryError(
          'taken',
          `network ${network}: the registration of host ${member.host} ran out while ${this.where} could not be reached, and ${problem}: ` +
            'it gets another subnet when it joins again; containers here that have addresses of the old one must be made anew',
        );
      }
      // Whoever asked us to join was faster, and has been told what it got.
      const own = memberOf(state, member.host);
      if (own !== undefined && own.addresses.length > 0) return { done: true, result: own };
      return { change: { host: member.host, member }, done: true, result: member };
    });
  }

  /** Looks, decides and swaps until `decide` has nothing more to change. */
  async #change<T>(
    network: string,
    fresh: boolean,
    decide: (state: NetworkState) => Decision<T>,
  ): Promise<T> {
    let collisions = 0;
    while (collisions < ATTEMPTS) {
      const look = await this.#store.look(network, fresh || collisions > 0);
      const { members, endpoints } = look.state;
      const { change, done, result } = decide({ members: [...members, ...(look.orphans ?? [])], endpoints });
      if (change === undefined) return result;
      if (await look.swap(change)) {
        if (done) return result;
        continue;
      }
      collisions += 1;
      await this.#pause(Math.min(LONGEST_PAUSE, 5 * 2 ** Math.min(collisions, 6)));
    }
    throw new RegistryError(
      'unreachable',
      `network ${network} in ${this.where} was changed by others ${ATTEMPTS} times while this host tried to: try again`,
    );
  }

  /** Up to so many milliseconds. */
  #pause(most: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#random() * most));
  }
}
