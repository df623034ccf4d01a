/** The parts of a real host: the kernel by netlink, and a routing daemon where a network wants one. */
import type { Session } from '../../cluster/bgp/bird.ts';
import { NetworkReconciler } from '../../cluster/host/reconciler.ts';
import { overlaps, underlayAddresses } from '../../cluster/host/underlay.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Member, NetworkState } from '../../cluster/registry.ts';
import type { Ambient } from '../../cni/ambient.ts';
import { holdings } from '../../firewall/holdings.ts';
import { firewall } from '../../firewall/select.ts';
import type { Door, Namespace } from '../../netlink/door.ts';
import { bridgeMac, networkMac, tunnelMac } from '../../plan/names.ts';
import { removeEmptyBridges } from './bridges.ts';
import { type Driver, type DriverHooks, type Parts, prefixesOf } from './parts.ts';
import { wordsOf } from './words.ts';

/** What announces routes: cluster/bgp. */
export interface Speaker {
  readonly problem: string | undefined;
  update(network: ClusterNetwork, self: Member, members: readonly Member[]): Promise<void>;
  remove(network: string): Promise<void>;
  sessions(): Promise<Session[]>;
  close(): Promise<void>;
}

export interface HostPartsOptions {
  door: Door;
  /** The host, held open. */
  host: Namespace;
  ambient: Ambient;
  /** The one of this host that all networks of a daemon share, made when the first needs it. */
  speaker(daemon: 'bird' | 'frr'): Promise<Speaker>;
}

export function hostParts({ door, host, ambient, speaker }: HostPartsOptions): Parts {
  // MACs of bridges are made of the host's id.
  const ground = { door, host, hostId: ambient.hostId() };
  return {
    clearRules: (network) => clearRules(host, ambient, network),
    tidy: (network) => tidy(ground, network),
    addresses: (asked) => underlayAddresses(host, asked),
    overlaps: async ({ pools, vxlan }, held) => {
      const found = await overlaps(host, prefixesOf(pools), held, [vxlan?.device, vxlan?.bridge]);
      return [...new Set(found.map(({ route }) => `route ${route}`))];
    },
    mac: ({ vxlan }, name) => (vxlan ? tunnelMac(name, vxlan.vni) : undefined),
    open: async (network, self, hooks) => {
      const daemon = network.bgp?.daemon;
      if (daemon === undefined) return new KernelDriver(ground, network, self, hooks);
      return new SpeakerDriver(ground, await speaker(daemon), network, self, hooks);
    },
  };
}

type Ground = Pick<HostPartsOptions, 'door' | 'host'> & { hostId: string };

async function clearRules(host: Namespace, ambient: Ambient, network: string): Promise<void> {
  for (const name of (await holdings(host, network)).masquerade) {
    const backend = await firewall(host, ambient, name);
    await backend.collectMasquerade(network, []);
  }
}

async function tidy({ host, hostId }: Ground, { name, pools }: ClusterNetwork): Promise<void> {
  const macs = (bridge: string) => [bridgeMac(hostId, bridge), networkMac(name, 'gateway')];
  await removeEmptyBridges(host, prefixesOf(pools), macs);
}

class KernelDriver implements Driver {
  readonly device: string | undefined;
  readonly #reconciler: NetworkReconciler;
  readonly #ground: Ground;
  readonly #network: ClusterNetwork;

  constructor(ground: Ground, network: ClusterNetwork, self: Member, hooks: DriverHooks) {
    this.device = network.vxlan?.device;
    this.#ground = ground;
    this.#network = network;
    this.#reconciler = new NetworkReconciler({
      ...{ door: ground.door, network, self },
      hooks: {
        corrected: ({ what }) => hooks.corrected(what),
        // applied() has it as well, and tells when it has ended.
        failed: () => {},
        applied: ({ mtu, problems }) => hooks.applied(mtu, problems),
      },
    });
  }

  async update(state: NetworkState): Promise<void> {
    await this.#reconciler.update(state);
  }

  /** The reconciler looks by itself. */
  async look(): Promise<void> {}

  close(): Promise<void> {
    return this.#reconciler.close();
  }

  async remove(): Promise<void> {
    await this.#reconciler.remove();
    await tidy(this.#ground, this.#network);
  }
}

/** Routes by a daemon; the kernel's part has what no daemon does. */
class SpeakerDriver implements Driver {
  readonly device = undefined;
  readonly #kernel: KernelDriver;
  readonly #speaker: Speaker;
  readonly #network: ClusterNetwork;
  readonly #hooks: DriverHooks;
  #self: Member;
  /** What the kernel's part said last. */
  #applied: { mtu: number; problems: readonly string[] } | undefined;
  /** What the daemon said to the last update. */
  #refusal: string | undefined;

  constructor(ground: Ground, speaker: Speaker, network: ClusterNetwork, self: Member, hooks: DriverHooks) {
    this.#kernel = new KernelDriver(ground, network, self, {
      corrected: hooks.corrected,
      applied: (mtu, problems) => {
        this.#applied = { mtu, problems };
        this.#tell();
      },
    });
    this.#speaker = speaker;
    this.#network = network;
    this.#self = self;
    this.#hooks = hooks;
  }

  async update(state: NetworkState): Promise<void> {
    this.#self = state.members.find(({ host }) => host === this.#self.host) ?? this.#self;
    await this.#kernel.update(state);
    try {
      await this.#speaker.update(this.#network, this.#self, state.members);
      this.#refusal = undefined;
    } catch (error) {
      // A daemon that does not run is tried again by itself, and says so; what it cannot be told is told again at the next change.
      this.#refusal = this.#speaker.problem === undefined ? wordsOf(error) : undefined;
    }
    this.#tell();
  }

  async look(): Promise<void> {
    this.#tell();
  }

  sessions(): Promise<Session[]> {
    return this.#speaker.sessions();
  }

  close(): Promise<void> {
    return this.#kernel.close();
  }

  async remove(): Promise<void> {
    await this.#speaker.remove(this.#network.name);
    await this.#kernel.remove();
  }

  #tell(): void {
    if (this.#applied === undefined) return;
    const { mtu, problems } = this.#applied;
    const daemon = this.#speaker.problem ?? this.#refusal;
    this.#hooks.applied(mtu, daemon === undefined ? problems : [...problems, daemon]);
  }
}
