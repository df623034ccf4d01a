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
import { extended, joined, memberOf, publication, reduced } from './allocate.ts';
import { checkJoin, checkName } from './names.ts';
import { type Change, MOST_ENDPOINTS, type Store } from './store.ts';

/** Two that collide differ in their next wait; a hundred at once need some twenty. */
const ATTEMPTS = 100;
/** Milliseconds. */
const LONGEST_PAUSE = 200;

export class StoredRegistry implements Registry {
  readonly #store: Store;
  readonly #random: () => number;
  /** What was published last, by network and host: an address that was lost to another host since is not fought for. */
  readonly #published = new Map<string, ReadonlySet<string>>();

  constructor(store: Store, random: () => number = Math.random) {
    this.#store = store;
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
    await this.#change(network, true, (state) => {
      const all = state.endpoints.filter((endpoint) => endpoint.host === host);
      const remove = all.slice(0, MOST_ENDPOINTS).map(({ address }) => address);
      const last = all.length <= MOST_ENDPOINTS;
      if (remove.length === 0 && memberOf(state, host) === undefined) return { done: true };
      return { change: { host, remove, ...(last ? { member: null } : {}) }, done: last };
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
      if (put.length + remove.length === 0) return { done: true };
      const now = {
        remove: remove.slice(0, MOST_ENDPOINTS),
        put: put.slice(0, MOST_ENDPOINTS - remove.length),
      };
      if (remove.length >= MOST_ENDPOINTS) now.put = [];
      return { change: { host, ...now }, done: put.length + remove.length <= MOST_ENDPOINTS };
    });
    this.#published.set(`${network}/${host}`, new Set(endpoints.map(({ address }) => address)));
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
    return this.#store.close();
  }

  async #setMember(network: string, host: string, decide: (state: NetworkState) => Member): Promise<Member> {
    let member: Member | undefined;
    await this.#change(network, true, (state) => {
      member = decide(state);
      return { change: { host, member }, done: true };
    });
    return member as unknown as Member;
  }

  /** `decide` says what to change next, if anything, and whether that is all. */
  async #change(
    network: string,
    fresh: boolean,
    decide: (state: NetworkState) => { change?: Change; done: boolean },
  ): Promise<void> {
    let collisions = 0;
    while (collisions < ATTEMPTS) {
      const look = await this.#store.look(network, fresh || collisions > 0);
      const { change, done } = decide(look.state);
      if (change === undefined) return;
      if (await look.swap(change)) {
        if (done) return;
        continue;
      }
      collisions += 1;
      await this.#pause(collisions);
    }
    throw new RegistryError(
      'unreachable',
      `network ${network} in ${this.where} was changed by others ${ATTEMPTS} times while this host tried to: try again`,
    );
  }

  #pause(collisions: number): Promise<void> {
    const most = Math.min(LONGEST_PAUSE, 5 * 2 ** Math.min(collisions, 6));
    return new Promise((resolve) => setTimeout(resolve, this.#random() * most));
  }
}
