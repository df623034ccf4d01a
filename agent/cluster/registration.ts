/** This host in the registry, on one network: it joins, follows what the registry says, and joins again where that is not what it was. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import { type Member, type NetworkState, RegistryError, type Watch } from '../../cluster/registry.ts';
import { Contact, type ContactState } from './contact.ts';
import { EMPTY, sameList, withMember } from './members.ts';
import type { HostNetworkOptions } from './network-options.ts';
import { ownAddresses } from './own-addresses.ts';
import { OwnRoutes } from './own-routes.ts';
import type { Problems } from './problems.ts';
import { lostSubnets, Overlap, takenSubnet, wordsOf } from './words.ts';

/** Milliseconds between two looks at the host's addresses that nothing gave rise to: the kernel tells when they change. */
const ADDRESSES_LAST = 30_000;

/** What was known of it when an agent was here last. */
export interface Remembered {
  member: Member | undefined;
  state: NetworkState;
  /** Milliseconds since the epoch. */
  seen: number;
  validUntil: number | undefined;
}

export class Registration {
  readonly #options: HostNetworkOptions;
  readonly #problems: Problems;
  /** Its name in the registry. */
  readonly host: string;
  readonly #changed: () => void;
  readonly #contact: Contact;
  readonly #routes: OwnRoutes;
  #member: Member | undefined;
  #state: NetworkState = EMPTY;
  #seen: number | undefined;
  #joined = false;
  #watch: Watch | undefined;
  /** What it held before it joined last. */
  #before: readonly string[] = [];
  /** Until when the registry vouches for what this host holds; and what it said of that to this agent. */
  #validUntil: number | undefined;
  #renewed: number | undefined;
  /** When the host's addresses were last looked at, by performance.now(). */
  #looked = Number.NEGATIVE_INFINITY;

  /** @param changed the registry has said something new */
  constructor(options: HostNetworkOptions, host: string, problems: Problems, changed: () => void) {
    const { name, hooks, now, registry, parts, rivals } = options;
    this.#options = options;
    this.#problems = problems;
    this.host = host;
    this.#changed = changed;
    this.#contact = new Contact(now, registry.where, (...line) => hooks.told(name, ...line));
    this.#routes = new OwnRoutes(parts, rivals);
  }

  get member(): Member | undefined {
    return this.#member;
  }

  get state(): NetworkState {
    return this.#state;
  }

  /** When the state was told, milliseconds since the epoch. */
  get seen(): number | undefined {
    return this.#seen;
  }

  /** Whether the registry has confirmed it to this agent. */
  get joined(): boolean {
    return this.#joined;
  }

  get validUntil(): number | undefined {
    return this.#validUntil;
  }

  get contact(): ContactState {
    return this.#contact.state;
  }

  remember({ member, state, seen, validUntil }: Remembered): void {
    this.#member = member;
    this.#state = state;
    this.#seen = seen;
    this.#validUntil = validUntil;
  }

  /** Another record of its own that the registry answered with. */
  set(member: Member): void {
    this.#member = member;
    this.#state = withMember(this.#state, member);
  }

  /** What it says must be said anew: the network is another. */
  again(): void {
    this.#joined = false;
  }

  /** The host's addresses may have changed. */
  look(): void {
    this.#looked = Number.NEGATIVE_INFINITY;
  }

  renewed(validUntil: number): void {
    this.#renewed = validUntil;
    this.#validUntil = validUntil;
    this.#contact.reached();
  }

  /** It had run out. With `member` the same is registered again, else somebody else has what it held. */
  expired(member: Member | undefined): void {
    const words = member ? 'the registration had run out, and is renewed' : 'the registration has run out';
    this.#options.hooks.told(this.#options.name, words);
    if (member) this.#member = member;
    else this.#joined = false;
  }

  /** The registry did not answer to something else. */
  lost(error: RegistryError): void {
    this.#contact.lost(error);
  }

  /** Makes this host a member of what it is not yet, or not any more, or with other addresses. Throws RegistryError and others. */
  async keep(network: ClusterNetwork): Promise<void> {
    // Containers that come and go by the hundred say nothing of the host's own addresses.
    if (this.#isListed() && performance.now() - this.#looked < ADDRESSES_LAST) return;
    try {
      const addresses = await this.#addresses();
      await this.#refuseOverlaps(network);
      const moved = this.#member !== undefined && !sameList(this.#member.addresses, addresses);
      if (moved || !this.#isListed()) await this.#join(network, addresses, moved);
      this.#problems.set('member', undefined);
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  /** @param leased addresses that containers here hold */
  tellLost(leased: readonly string[]): void {
    const words = this.#member && lostSubnets(this.#before, this.#member, leased);
    this.#problems.set('lost', words);
  }

  /** Throws RegistryError. */
  async leave(): Promise<void> {
    await this.#options.registry.leave(this.#options.name, this.host);
  }

  /** What it held is no longer its own. */
  forget(): void {
    this.close();
    this.#member = undefined;
    this.#joined = false;
    this.#state = EMPTY;
  }

  /** The registry is no longer listened to. */
  close(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  async #addresses(): Promise<readonly string[]> {
    const { parts, addresses } = this.#options;
    const found = await ownAddresses(parts, addresses, this.#member?.addresses ?? []);
    this.#looked = performance.now();
    return found;
  }

  async #join(network: ClusterNetwork, addresses: readonly string[], moved: boolean): Promise<void> {
    const { name, registry, parts, hooks } = this.#options;
    const { host } = this;
    const mac = parts.mac(network, host);
    const before = this.#member?.subnets ?? [];
    const member = await registry.join({
      ...{ network: name, host, addresses, before, pools: network.pools, avoid: [] },
      ...(mac !== undefined && { mac }),
    });
    this.#contact.reached();
    this.#before = before;
    hooks.told(name, moved && this.#joined ? 'joined again: the host has other addresses' : 'joined', {
      ...{ host, addresses, subnets: member.subnets },
    });
    this.set(member);
    this.#joined = true;
    this.#validUntil = this.#renewed;
    this.#watch ??= this.#listen();
  }

  #failed(error: unknown): void {
    const words = wordsOf(error);
    const unreachable = error instanceof RegistryError && error.problem === 'unreachable';
    if (unreachable) this.#contact.lost(error);
    // Who has its subnet hands out addresses without the registry.
    if (unreachable && this.#member !== undefined) return;
    if (error instanceof Overlap) this.#problems.set('overlap', words);
    else this.#problems.set('member', unreachable ? `${words}: it is tried again` : words);
  }

  async #refuseOverlaps(network: ClusterNetwork): Promise<void> {
    const held = this.#member?.subnets ?? (await this.#registered());
    // The last container of before may have gone after all else had.
    if (held.length === 0) await this.#options.parts.tidy(network);
    const found = await this.#routes.overlap(network, held, !this.#joined);
    // Whoever is a member has containers: they keep their network, new ones are refused.
    if (found !== undefined && this.#member === undefined) throw new Overlap(found);
    this.#problems.set('overlap', found);
  }

  /** What the registry has of a host that has lost its own files: its containers' routes are none of others'. Throws RegistryError. */
  async #registered(): Promise<readonly string[]> {
    const { members } = await this.#options.registry.read(this.#options.name);
    return members.find(({ host }) => host === this.host)?.subnets ?? [];
  }

  /** Whether the registry has this host as it takes itself to be. */
  #isListed(): boolean {
    const own = this.#state.members.find(({ host }) => host === this.host);
    return this.#joined && own !== undefined && sameList(own.addresses, this.#member?.addresses ?? []);
  }

  #listen(): Watch {
    return this.#options.registry.watch(this.#options.name, {
      changed: (state) => {
        this.#contact.reached();
        this.#state = state;
        this.#seen = this.#options.now();
        this.#compareOwn(state);
        this.#changed();
      },
      lost: (error) => this.#contact.lost(error),
      found: () => {
        this.#contact.reached();
        this.#changed();
      },
    });
  }

  /** Blocks may have come or gone; where the addresses differ, or all is gone, the next round joins again. */
  #compareOwn(state: NetworkState): void {
    const own = state.members.find(({ host }) => host === this.host);
    if (own !== undefined && sameList(own.addresses, this.#member?.addresses ?? [])) this.#member = own;
    this.#problems.set('conflict', takenSubnet(state, this.host, this.#member?.subnets ?? []));
  }
}
