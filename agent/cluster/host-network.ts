/**
 * One network between hosts, on this host: joins it, keeps the kernel as the registry says, tells the plugins by the membership file. Everything
 * hangs on state, not on events: each round compares what shall be with what is, and what could not be done is done in a later one.
 */

import type { ClusterNetwork } from '../../cluster/network.ts';
import { type Member, type NetworkState, RegistryError, type Watch } from '../../cluster/registry.ts';
import { readMembership } from '../../ipam/cluster/membership.ts';
import { Contact } from './contact.ts';
import { essentialChanges, sameNetwork } from './difference.ts';
import { KernelSide } from './kernel-side.ts';
import { leasedAddresses } from './leased.ts';
import { EMPTY, memberOf, sameList, withMember } from './members.ts';
import { MembershipView } from './membership-view.ts';
import type { HostNetworkOptions, Wanted } from './network-options.ts';
import { ownAddresses } from './own-addresses.ts';
import { OwnRoutes } from './own-routes.ts';
import { Problems } from './problems.ts';
import { Rounds } from './rounds.ts';
import { forget, readSaved, type Saved, writeSaved } from './saved.ts';
import { Stretch } from './stretch.ts';
import { type NetworkSummary, summarize } from './summary.ts';
import { lostSubnets, Overlap, refusedChange, renamed, stillHeld, takenSubnet, wordsOf } from './words.ts';

/** Milliseconds between two looks at the host's addresses that nothing gave rise to. */
const ADDRESSES_LAST = 4000;

export class HostNetwork {
  readonly name: string;
  readonly #options: HostNetworkOptions;
  readonly #problems: Problems;
  readonly #rounds: Rounds;
  readonly #kernel: KernelSide;
  readonly #stretch: Stretch;
  /** Its name in the registry. */
  #host: string;
  #wanted: Wanted | undefined;
  /** What is in the kernel and the registry; a conflist that changed may want another. */
  #network: ClusterNetwork | undefined;
  #member: Member | undefined;
  /** What it held before it joined last. */
  #before: readonly string[] = [];
  #joined = false;
  #watch: Watch | undefined;
  #state: NetworkState = EMPTY;
  #seen: number | undefined;
  #mtu: number | undefined;
  /** Until when the registry vouches for what this host holds; and what it said of that to this agent. */
  #validUntil: number | undefined;
  #renewed: number | undefined;
  readonly #contact: Contact;
  readonly #routes: OwnRoutes;
  /** When the host's addresses were last looked at, by performance.now(). */
  #looked = Number.NEGATIVE_INFINITY;
  readonly #view: MembershipView;

  /** Begins at once with what is known from before. `wanted` undefined: the conflist is gone, the network is kept. */
  constructor(options: HostNetworkOptions, wanted: Wanted | undefined) {
    const { name, hooks, paths, now } = options;
    this.name = name;
    this.#options = options;
    this.#wanted = wanted;
    this.#problems = new Problems((kind, words) => hooks.problem(name, kind, words));
    const told = (words: string, more?: object) => hooks.told(name, words, { ...more });
    this.#contact = new Contact(now, options.registry.where, told);
    const saved = readSaved(paths.cacheDir, name);
    this.#host = options.host;
    if (saved) this.#takeUp(saved);
    this.#kernel = new KernelSide(options.parts, {
      save: (state) => this.#save(state),
      corrected: (what) => hooks.corrected(name, what),
      applied: (mtu, problems) => {
        this.#mtu = mtu;
        this.#problems.set('kernel', problems.length > 0 ? problems.join('; ') : undefined);
        this.#tellPlugins();
      },
    });
    this.#routes = new OwnRoutes(options.parts, options.rivals);
    this.#view = new MembershipView(paths.cacheDir);
    this.#stretch = new Stretch({ ...options, host: this.#host, since: saved?.written });
    this.#rounds = new Rounds(() => this.#round());
    this.#rounds.soon();
  }

  /** What is in the kernel and the registry, or shall be. */
  get network(): ClusterNetwork | undefined {
    return this.#network ?? this.#wanted?.network;
  }

  get isMember(): boolean {
    return this.#member !== undefined;
  }

  /** The conflist says something else now, or is gone. */
  change(wanted: Wanted | undefined): void {
    if (wanted === undefined && this.#wanted !== undefined) {
      this.#options.hooks.told(
        this.name,
        'the conflist is gone: the network stays until "weft network leave"',
      );
    }
    this.#wanted = wanted;
    this.#rounds.soon();
  }

  /** The registry vouches for what this host holds until then (milliseconds since the epoch). */
  renewed(validUntil: number): void {
    this.#renewed = validUntil;
    this.#validUntil = validUntil;
    this.#contact.reached();
    if (this.#joined) this.#tellPlugins();
  }

  /** The registration had run out. With `member` the same is registered again, else somebody else has what it held. */
  expired(member: Member | undefined): void {
    const words = member ? 'the registration had run out, and is renewed' : 'the registration has run out';
    this.#options.hooks.told(this.name, words);
    if (member) this.#member = member;
    else this.#joined = false;
    this.#rounds.soon();
  }

  /** Something on the host may have changed: its addresses, its routes. */
  look(): void {
    this.#looked = Number.NEGATIVE_INFINITY;
    this.#rounds.soon();
  }

  /** Containers came or went: others are told of them in L2 networks alone. */
  containersChanged(): void {
    if (this.#network?.backend === 'vxlan-l2') this.#rounds.soon();
  }

  /** Containers keep their network: nothing is taken out of kernel and registry. */
  async close(): Promise<void> {
    await this.#rounds.close();
    this.#watch?.close();
    await this.#kernel.close();
  }

  /**
   * Gives everything back and ends. Throws an Error that says what stands in the way.
   * @param force also with containers, which lose their network, and with a registry that cannot be reached
   */
  async leave(force: boolean): Promise<void> {
    const held = this.#leases().length;
    if (held > 0 && !force) throw new Error(stillHeld(this.name, held));
    await this.#rounds.close();
    try {
      await this.#options.registry.leave(this.name, this.#host);
    } catch (error) {
      if (!force) {
        this.#rounds.reopen();
        throw error;
      }
    }
    await this.#dismantle();
  }

  async summary(): Promise<NetworkSummary> {
    const { registry } = this.#options;
    const host = this.#host;
    const sessions = await this.#kernel.sessions();
    return summarize({
      ...{ name: this.name, host, file: this.#wanted?.file, network: this.network },
      registry: { where: registry.where, ...this.#contact.state },
      ...{ joined: this.#joined, member: this.#member, state: this.#state, seen: this.#seen },
      ...{ mtu: this.#mtu, device: this.#kernel.device, leases: this.#leases().length },
      ...{ corrections: this.#kernel.corrections, problems: this.#problems.all(), sessions },
      validUntil: this.#validUntil,
    });
  }

  /** What was there when an agent was here last, though the registry may not answer for long. */
  #takeUp(saved: Saved): void {
    const { hooks, host, paths } = this.#options;
    const held = this.#leases().length;
    if (saved.host !== host) {
      const words = renamed(saved.host, host, held);
      // The containers' addresses are those of the old name's subnets.
      if (held > 0) this.#problems.set('name', words);
      else hooks.told(this.name, words);
    }
    this.#host = held > 0 ? saved.host : host;
    this.#network = saved.network;
    if (this.#host !== saved.host) return;
    const own = saved.state.members.find((member) => member.host === saved.host);
    const membership = readMembership(paths.cacheDir, this.name);
    this.#state = saved.state;
    this.#seen = saved.written;
    this.#member = own ?? (membership?.subnets.length ? memberOf(membership, saved.addresses) : undefined);
    this.#mtu = membership?.mtu;
    this.#validUntil = membership?.validUntil;
  }

  /** Throws when something has to be done again soon; it is in the problems then. */
  async #round(): Promise<void> {
    // The kernel before the registry as well, which may be long in coming.
    const apply = () => this.#apply();
    const steps = [() => this.#configure(), apply, () => this.#join(), apply, () => this.#kernel.look()];
    // What goes wrong in one is no reason to leave the others.
    const errors: unknown[] = [];
    for (const step of [...steps, () => this.#keepStretch()])
      await step().catch((error: unknown) => errors.push(error));
    if (this.#member) this.#problems.set('lost', lostSubnets(this.#before, this.#member, this.#leases()));
    this.#tellPlugins();
    if (errors.length > 0) throw errors[0];
  }

  /** Follows the conflist as far as running containers allow. */
  async #configure(): Promise<void> {
    const now = this.#network;
    const wanted = this.#wanted;
    if (wanted === undefined || (now && sameNetwork(now, wanted.network))) {
      this.#problems.set('configuration', undefined);
      return;
    }
    const changes = now ? essentialChanges(now, wanted.network) : [];
    const held = this.#leases().length;
    if (changes.length > 0 && held > 0) {
      this.#problems.set('configuration', refusedChange(wanted.file, changes, held));
      return;
    }
    this.#problems.set('configuration', undefined);
    if (changes.length > 0) {
      this.#options.hooks.told(this.name, `the network changes: ${changes.join(', ')}`);
      await this.#leaveForAnother();
    } else {
      await this.#kernel.close();
    }
    this.#network = wanted.network;
    this.#joined = false;
  }

  /** Throws RegistryError: what this host holds is given back before anything else is taken. */
  async #leaveForAnother(): Promise<void> {
    try {
      await this.#options.registry.leave(this.name, this.#host);
    } catch (error) {
      this.#problems.set('configuration', `the network cannot change yet: ${wordsOf(error)}`);
      throw error;
    }
    await this.#dismantle();
  }

  /** Makes this host a member of what it is not yet, or not any more, or with other addresses. Throws RegistryError and others. */
  async #join(): Promise<void> {
    const { registry, parts, hooks } = this.#options;
    const host = this.#host;
    const network = this.#network;
    if (network === undefined) return;
    // Containers that come and go by the hundred say nothing of the host's own addresses.
    if (this.#joined && this.#isListed() && performance.now() - this.#looked < ADDRESSES_LAST) return;
    try {
      const addresses = await ownAddresses(parts, this.#options.addresses, this.#member?.addresses ?? []);
      this.#looked = performance.now();
      await this.#refuseOverlaps(network);
      const moved = this.#member !== undefined && !sameList(this.#member.addresses, addresses);
      if (this.#joined && !moved && this.#isListed()) {
        this.#problems.set('member', undefined);
        return;
      }
      const mac = parts.mac(network, host);
      const before = this.#member?.subnets ?? [];
      const member = await registry.join({
        ...{ network: this.name, host, addresses, before, pools: network.pools, avoid: [] },
        ...(mac !== undefined && { mac }),
      });
      this.#contact.reached();
      this.#problems.set('member', undefined);
      this.#before = before;
      hooks.told(this.name, moved && this.#joined ? 'joined again: the host has other addresses' : 'joined', {
        ...{ host, addresses, subnets: member.subnets },
      });
      this.#member = member;
      this.#joined = true;
      this.#validUntil = this.#renewed;
      this.#state = withMember(this.#state, member);
      this.#watch ??= this.#listen();
    } catch (error) {
      this.#joinFailed(error);
      throw error;
    }
  }

  #joinFailed(error: unknown): void {
    const words = wordsOf(error);
    const unreachable = error instanceof RegistryError && error.problem === 'unreachable';
    if (unreachable) this.#contact.lost(words);
    // Who has its subnet hands out addresses without the registry.
    if (unreachable && this.#member !== undefined) return;
    if (error instanceof Overlap) this.#problems.set('overlap', words);
    else this.#problems.set('member', unreachable ? `${words}: it is tried again` : words);
  }

  async #refuseOverlaps(network: ClusterNetwork): Promise<void> {
    const found = await this.#routes.overlap(network, this.#member?.subnets ?? [], !this.#joined);
    // Whoever is a member has containers: they keep their network, new ones are refused.
    if (found !== undefined && this.#member === undefined) throw new Overlap(found);
    this.#problems.set('overlap', found);
  }

  /** Whether the registry has this host as it takes itself to be. */
  #isListed(): boolean {
    const own = this.#state.members.find(({ host }) => host === this.#host);
    return own !== undefined && sameList(own.addresses, this.#member?.addresses ?? []);
  }

  #listen(): Watch {
    return this.#options.registry.watch(this.name, {
      changed: (state) => {
        this.#contact.reached();
        this.#state = state;
        this.#seen = this.#options.now();
        this.#compareOwn(state);
        this.#rounds.soon();
      },
      lost: (error) => this.#contact.lost(error.message),
      found: () => {
        this.#contact.reached();
        this.#rounds.soon();
      },
    });
  }

  /** Blocks may have come or gone; where the addresses differ, or all is gone, the next round joins again. */
  #compareOwn(state: NetworkState): void {
    const own = state.members.find(({ host }) => host === this.#host);
    const addresses = this.#member?.addresses ?? [];
    if (own !== undefined && sameList(own.addresses, addresses)) this.#member = own;
    this.#problems.set('conflict', takenSubnet(state, this.#host, this.#member?.subnets ?? []));
  }

  async #apply(): Promise<void> {
    const network = this.#network;
    const member = this.#member;
    if (network === undefined || member === undefined) return;
    try {
      await this.#kernel.apply(network, member, this.#state);
    } catch (error) {
      this.#problems.set('kernel', wordsOf(error));
      throw error;
    }
  }

  async #keepStretch(): Promise<void> {
    const network = this.#network;
    const member = this.#member;
    if (network?.backend !== 'vxlan-l2' || member === undefined || !this.#joined) return;
    try {
      const changed = await this.#stretch.keep(network, member, this.#state);
      if (changed) {
        this.#member = changed;
        this.#state = withMember(this.#state, changed);
        this.#tellPlugins();
      }
      this.#problems.set('endpoints', undefined);
    } catch (error) {
      const words = wordsOf(error);
      if (error instanceof RegistryError && error.problem === 'unreachable') this.#contact.lost(words);
      else this.#problems.set('endpoints', words);
      throw error;
    }
  }

  #save(state: NetworkState): void {
    const { paths, registry, now } = this.#options;
    const host = this.#host;
    writeSaved(paths.cacheDir, {
      network: this.#network as ClusterNetwork,
      ...{ host, state, registry: registry.where, addresses: this.#member?.addresses ?? [], written: now() },
    });
  }

  #tellPlugins(): void {
    const { network } = this;
    if (network === undefined) return;
    this.#view.tell({
      ...{ network, host: this.#host, member: this.#member, state: this.#state, mtu: this.#mtu },
      offered: this.#stretch.offered(this.#member?.subnets ?? []),
      ...{ device: this.#kernel.device, problems: this.#problems, validUntil: this.#validUntil },
    });
  }

  #leases(): string[] {
    return leasedAddresses(this.#options.paths.dataDir, this.name);
  }

  async #dismantle(): Promise<void> {
    this.#watch?.close();
    this.#watch = undefined;
    const self = this.#member ?? { host: this.#host, addresses: [], subnets: [] };
    if (this.#network !== undefined) await this.#kernel.remove(this.#network, self);
    forget(this.#options.paths.cacheDir, this.name);
    this.#member = undefined;
    this.#joined = false;
    this.#state = EMPTY;
    this.#view.forget();
  }
}
