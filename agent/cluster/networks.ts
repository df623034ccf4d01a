/** All networks between hosts of this host: those that conflists name, and those that it is still a member of. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Member } from '../../cluster/registry.ts';
import type { Paths } from '../../cni/ambient.ts';
import { HostNetwork } from './host-network.ts';
import type { HostNetworkOptions, Wanted } from './network-options.ts';
import { savedNetworks } from './saved.ts';
import type { NetworkSummary } from './summary.ts';
import { type WantedNetworks, wantedNetworks } from './wanted.ts';
import { watchFolder } from './watch-folder.ts';
import { wordsOf } from './words.ts';

export interface NetworksOptions extends Omit<HostNetworkOptions, 'name' | 'rivals'> {
  paths: Paths;
  /** Where attachments' records are. */
  recordFolder: string;
  /** A conflist cannot be understood; undefined: it can again. */
  fault(file: string, error: string | undefined): void;
}

export class Networks {
  readonly #options: NetworksOptions;
  readonly #networks = new Map<string, HostNetwork>();
  readonly #faults = new Map<string, string>();
  readonly #unwatch: (() => void)[];
  #wanted: WantedNetworks = { networks: new Map(), faults: [] };
  #reading: Promise<void> | undefined;
  #validUntil: number | undefined;
  #again = false;
  #closed = false;

  constructor(options: NetworksOptions) {
    this.#options = options;
    this.#unwatch = [
      watchFolder(options.paths.confDir, () => this.#read()),
      watchFolder(options.recordFolder, () => {
        for (const network of this.#networks.values()) network.containersChanged();
      }),
    ];
    this.#read();
  }

  /** Something on the host may have changed: its addresses, its routes. */
  look(): void {
    for (const network of this.#networks.values()) network.look();
  }

  /** The registry vouches for what this host holds until then (milliseconds since the epoch). */
  renewed(validUntil: number): void {
    this.#validUntil = validUntil;
    for (const network of this.#networks.values()) network.renewed(validUntil);
  }

  /** See HostNetwork.expired(). */
  expired(name: string, member: Member | undefined): void {
    this.#networks.get(name)?.expired(member);
  }

  async summaries(): Promise<NetworkSummary[]> {
    const all = await Promise.all([...this.#networks.values()].map((network) => network.summary()));
    return all.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws an Error that says what stands in the way; see HostNetwork.leave(). */
  async leave(name: string, force: boolean): Promise<void> {
    // A conflist that was removed a moment ago is seen now.
    this.#read();
    while (this.#reading !== undefined) await this.#reading;
    const network = this.#networks.get(name);
    if (network === undefined) throw new Error(notHere(name, [...this.#networks.keys()]));
    const { file } = this.#wanted.networks.get(name) ?? {};
    if (file !== undefined) {
      throw new Error(
        `${file} has network ${name}, and the agent would join it again at once: remove the file first`,
      );
    }
    await network.leave(force);
    this.#networks.delete(name);
  }

  /** Containers keep their networks. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#unwatch) stop();
    await this.#reading;
    await Promise.all([...this.#networks.values()].map((network) => network.close()));
  }

  #read(): void {
    if (this.#closed) return;
    if (this.#reading !== undefined) {
      this.#again = true;
      return;
    }
    this.#again = false;
    this.#reading = this.#follow()
      .catch((error: unknown) => this.#tellFault(this.#options.paths.confDir, wordsOf(error)))
      .finally(() => {
        this.#reading = undefined;
        if (this.#again) this.#read();
      });
  }

  async #follow(): Promise<void> {
    const { paths } = this.#options;
    const wanted = await wantedNetworks(paths.confDir);
    if (this.#closed) return;
    // A file in the middle of being written must not look like a network that went.
    for (const { name, file } of wanted.faults) {
      for (const [known, before] of this.#wanted.networks) {
        if ((name === known || before.file === file) && !wanted.networks.has(known))
          wanted.networks.set(known, before);
      }
    }
    this.#wanted = wanted;
    for (const { file, error } of wanted.faults) this.#tellFault(file, error);
    for (const file of this.#faults.keys()) {
      if (!wanted.faults.some((fault) => fault.file === file)) this.#tellFault(file, undefined);
    }
    const names = new Set([
      ...wanted.networks.keys(),
      ...savedNetworks(paths.cacheDir),
      ...this.#networks.keys(),
    ]);
    for (const name of names) await this.#change(name, wanted.networks.get(name));
  }

  async #change(name: string, wanted: Wanted | undefined): Promise<void> {
    const network = this.#networks.get(name);
    if (network && wanted === undefined && (await network.abandon())) this.#networks.delete(name);
    else if (network) network.change(wanted);
    else if (!this.#closed) {
      const made = new HostNetwork({ ...this.#options, name, rivals: () => this.#before(name) }, wanted);
      if (this.#validUntil !== undefined) made.renewed(this.#validUntil);
      this.#networks.set(name, made);
    }
  }

  /** Members come first; of those that are none yet, that with the first name. */
  #before(name: string): ClusterNetwork[] {
    return [...this.#networks.values()].flatMap((other) =>
      other.name !== name && other.network && (other.isMember || other.name < name) ? [other.network] : [],
    );
  }

  #tellFault(file: string, error: string | undefined): void {
    if (this.#faults.get(file) === error) return;
    if (error === undefined) this.#faults.delete(file);
    else this.#faults.set(file, error);
    this.#options.fault(file, error);
  }
}

function notHere(name: string, there: readonly string[]): string {
  const known = there.length === 0 ? 'it is a member of none' : `there are ${there.join(', ')}`;
  return `this host is no member of a network ${name}: ${known}`;
}
