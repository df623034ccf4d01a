/** A network in this host's kernel: opened when it is first needed, told of each state once. */
import type { Session } from '../../cluster/bgp/bird.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Member, NetworkState } from '../../cluster/registry.ts';
import type { Driver, Parts } from './parts.ts';

export interface KernelSideHooks {
  /** Before the kernel gets a state: an agent that is killed in between must know no less than the kernel does. */
  save(state: NetworkState): void;
  corrected(what: readonly string[]): void;
  /** Bytes that fit between containers, and what is not as it must be. */
  applied(mtu: number, problems: readonly string[]): void;
}

export class KernelSide {
  readonly #parts: Parts;
  readonly #hooks: KernelSideHooks;
  #driver: Driver | undefined;
  /** The state that the kernel has. */
  #applied: NetworkState | undefined;
  #corrections = 0;

  constructor(parts: Parts, hooks: KernelSideHooks) {
    this.#parts = parts;
    this.#hooks = hooks;
  }

  get isOpen(): boolean {
    return this.#driver !== undefined;
  }

  get device(): string | undefined {
    return this.#driver?.device;
  }

  get corrections(): number {
    return this.#corrections;
  }

  /** Throws what stands in the way: a VNI in use, a daemon that is missing. */
  async apply(network: ClusterNetwork, self: Member, state: NetworkState): Promise<void> {
    this.#driver ??= await this.#parts.open(network, self, {
      corrected: (what) => {
        this.#corrections += what.length;
        this.#hooks.corrected(what);
      },
      applied: this.#hooks.applied,
    });
    if (state === this.#applied) return;
    this.#hooks.save(state);
    await this.#driver.update(state);
    this.#applied = state;
  }

  async look(): Promise<void> {
    await this.#driver?.look();
  }

  async sessions(): Promise<Session[] | undefined> {
    return await this.#driver?.sessions?.().catch(() => undefined);
  }

  /** Everything stays in the kernel as it is. */
  async close(): Promise<void> {
    await this.#driver?.close();
    this.#driver = undefined;
    this.#applied = undefined;
  }

  /** Takes everything out of the kernel, also what an agent before this one left there. Throws NetlinkError and others. */
  async remove(network: ClusterNetwork, self: Member): Promise<void> {
    const quiet = { corrected: () => {}, applied: () => {} };
    const driver = this.#driver ?? (await this.#parts.open(network, self, quiet));
    await driver.remove();
    this.#driver = undefined;
    this.#applied = undefined;
  }
}
