/**
 * One network between hosts, on this host: keeps it a member, keeps the kernel as the registry says, tells the plugins by the membership file.
 * Everything hangs on state, not on events: each round compares what shall be with what is, and what could not be done is done in a later one.
 */
import type { ClusterNetwork } from '../../cluster/network.ts';
import { type Member, RegistryError } from '../../cluster/registry.ts';
import { readMembership } from '../../ipam/cluster/membership.ts';
import { essentialChanges, sameNetwork } from './difference.ts';
import { KernelSide } from './kernel-side.ts';
import { leasedAddresses } from './leased.ts';
import { memberOf } from './members.ts';
import { MembershipView } from './membership-view.ts';
import type { HostNetworkOptions, Wanted } from './network-options.ts';
import { Problems } from './problems.ts';
import { Registration } from './registration.ts';
import { Rounds } from './rounds.ts';
import { forget, readSaved, type Saved, writeSaved } from './saved.ts';
import { Stretch } from './stretch.ts';
import { type NetworkSummary, summarize } from './summary.ts';
import { clashWithAnother, refusedChange, renamed, stillHeld, wordsOf } from './words.ts';

export class HostNetwork {
  readonly name: string;
  readonly #options: HostNetworkOptions;
  readonly #problems: Problems;
  readonly #rounds: Rounds;
  readonly #registration: Registration;
  readonly #kernel: KernelSide;
  readonly #stretch: Stretch;
  readonly #view: MembershipView;
  #wanted: Wanted | undefined;
  /** What is in the kernel and the registry; a conflist that changed may want another. */
  #network: ClusterNetwork | undefined;
  #mtu: number | undefined;

  /** Begins at once with what is known from before. `wanted` undefined: the conflist is gone, the network is kept. */
  constructor(options: HostNetworkOptions, wanted: Wanted | undefined) {
    const { name, hooks, paths } = options;
    this.name = name;
    this.#options = options;
    this.#wanted = wanted;
    this.#problems = new Problems((kind, words) => hooks.problem(name, kind, words));
    const saved = readSaved(paths.cacheDir, name);
    const host = this.#nameBy(saved);
    this.#rounds = new Rounds(() => this.#round());
    this.#registration = new Registration(options, host, this.#problems, () => this.#rounds.soon());
    if (saved) this.#takeUp(saved);
    this.#kernel = new KernelSide(options.parts, {
      save: () => this.#save(),
      corrected: (what) => hooks.corrected(name, what),
      applied: (mtu, problems) => {
        this.#mtu = mtu;
        this.#problems.set('kernel', problems.length > 0 ? problems.join('; ') : undefined);
        this.#tellPlugins();
      },
    });
    this.#view = new MembershipView(paths.cacheDir);
    this.#stretch = new Stretch({ ...options, host, since: saved?.written });
    this.#rounds.soon();
  }

  /** What is in the kernel and the registry, or shall be. */
  get network(): ClusterNetwork | undefined {
    return this.#network ?? this.#wanted?.network;
  }

  get isMember(): boolean {
    return this.#registration.member !== undefined;
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

  /**
   * The conflist is gone: ends and forgets what never joined, of which nothing is in registry, kernel and leases.
   * @returns whether it did; else it is kept
   */
  async abandon(): Promise<boolean> {
    const { hooks, paths } = this.#options;
    const holds = () =>
      this.isMember || this.#leases().length > 0 || readSaved(paths.cacheDir, this.name) !== undefined;
    if (holds()) return false;
    // A round that runs may join.
    await this.#rounds.close();
    if (holds()) {
      this.#rounds.reopen();
      return false;
    }
    this.#registration.close();
    forget(paths.cacheDir, this.name);
    hooks.told(this.name, 'the conflist is gone: the network never joined, and is forgotten');
    return true;
  }

  /** The registry vouches for what this host holds until then (milliseconds since the epoch). */
  renewed(validUntil: number): void {
    this.#registration.renewed(validUntil);
    if (this.#registration.joined) this.#tellPlugins();
  }

  /** The registration had run out. With `member` the same is registered again, else somebody else has what it held. */
  expired(member: Member | undefined): void {
    this.#registration.expired(member);
    this.#rounds.soon();
  }

  /** Something on the host may have changed: its addresses, its routes. */
  look(): void {
    this.#registration.look();
    this.#rounds.soon();
  }

  /** Containers came or went: others are told of them in L2 networks alone. */
  containersChanged(): void {
    if (this.#network?.backend === 'vxlan-l2') this.#rounds.soon();
  }

  /** Containers keep their network: nothing is taken out of kernel and registry. */
  async close(): Promise<void> {
    await this.#rounds.close();
    this.#registration.close();
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
      await this.#registration.leave();
    } catch (error) {
      if (!force) {
        this.#rounds.reopen();
        throw error;
      }
    }
    await this.#dismantle();
  }

  async summary(): Promise<NetworkSummary> {
    const { host, contact, joined, member, state, seen, validUntil } = this.#registration;
    const sessions = await this.#kernel.sessions();
    return summarize({
      ...{ name: this.name, host, file: this.#wanted?.file, network: this.network },
      registry: { where: this.#options.registry.where, ...contact },
      ...{ joined, member, state, seen, validUntil, sessions },
      ...{ mtu: this.#mtu, device: this.#kernel.device, leases: this.#leases().length },
      ...{ corrections: this.#kernel.corrections, problems: this.#problems.all() },
    });
  }

  /** The name it has in the registry: another one must wait until the containers of the old name's subnets are gone. */
  #nameBy(saved: Saved | undefined): string {
    const { hooks, host } = this.#options;
    if (saved === undefined || saved.host === host) return host;
    const held = this.#leases().length;
    const words = renamed(saved.host, host, held);
    if (held > 0) this.#problems.set('name', words);
    else hooks.told(this.name, words);
    return held > 0 ? saved.host : host;
  }

  /** What was there when an agent was here last, though the registry may not answer for long. */
  #takeUp({ network, host, state, addresses, written }: Saved): void {
    this.#network = network;
    if (host !== this.#registration.host) return;
    const membership = readMembership(this.#options.paths.cacheDir, this.name);
    const told = membership?.subnets.length ? memberOf(membership, addresses) : undefined;
    const member = state.members.find((one) => one.host === host) ?? told;
    this.#registration.remember({ member, state, seen: written, validUntil: membership?.validUntil });
    this.#mtu = membership?.mtu;
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
    this.#registration.tellLost(this.#leases());
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
    this.#registration.again();
  }

  /** Throws RegistryError: what this host holds is given back before anything else is taken. */
  async #leaveForAnother(): Promise<void> {
    try {
      await this.#registration.leave();
    } catch (error) {
      this.#problems.set('configuration', `the network cannot change yet: ${wordsOf(error)}`);
      throw error;
    }
    await this.#dismantle();
  }

  async #join(): Promise<void> {
    if (this.#network !== undefined) await this.#registration.keep(this.#network);
  }

  async #apply(): Promise<void> {
    const { member, state } = this.#registration;
    if (this.#network === undefined || member === undefined) return;
    try {
      await this.#kernel.apply(this.#network, member, state);
    } catch (error) {
      this.#problems.set('kernel', wordsOf(error));
      throw error;
    }
  }

  async #keepStretch(): Promise<void> {
    const { member, state, joined } = this.#registration;
    if (this.#network?.backend !== 'vxlan-l2' || member === undefined || !joined) return;
    try {
      const changed = await this.#stretch.keep(this.#network, member, state);
      if (changed) this.#registration.set(changed);
      this.#problems.set('endpoints', undefined);
    } catch (error) {
      if (error instanceof RegistryError && error.problem === 'unreachable') this.#registration.lost(error);
      else this.#problems.set('endpoints', wordsOf(error));
      throw error;
    }
  }

  #save(): void {
    const { paths, registry, now } = this.#options;
    const { host, member, state } = this.#registration;
    writeSaved(paths.cacheDir, {
      network: this.#network as ClusterNetwork,
      ...{ host, state, registry: registry.where, addresses: member?.addresses ?? [], written: now() },
    });
  }

  #tellPlugins(): void {
    const { network } = this;
    const { host, member, state, validUntil } = this.#registration;
    const { subnets = [], borrowed = [] } = member ?? {};
    if (network === undefined) return;
    this.#view.tell({
      ...{ network, host, state, validUntil, mtu: this.#mtu },
      ...{ offered: this.#stretch.offered(subnets), borrowed: this.#stretch.offered(borrowed) },
      ...{ device: this.#kernel.device, problems: this.#problems },
    });
  }

  #leases(): string[] {
    return leasedAddresses(this.#options.paths.dataDir, this.name);
  }

  async #dismantle(): Promise<void> {
    const { host, member = { host, addresses: [], subnets: [] } } = this.#registration;
    this.#registration.close();
    const network = this.#network;
    // Of what was refused for another network's sake nothing was made: what has its names is the other's.
    const isOthers = !this.isMember && network && clashWithAnother(network, this.#options.rivals());
    if (network !== undefined && !isOthers) await this.#kernel.remove(network, member);
    forget(this.#options.paths.cacheDir, this.name);
    this.#registration.forget();
    this.#view.forget();
    if (this.#leases().length === 0) await this.#options.parts.clearRules(this.name);
  }
}
