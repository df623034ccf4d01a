/** Networks between hosts without a kernel: hosts are folders, the registry is in memory, and what the kernel would get is kept. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostNetwork } from '../../agent/cluster/host-network.ts';
import type { HostNetworkOptions, Wanted } from '../../agent/cluster/network-options.ts';
import type { DriverHooks, Parts } from '../../agent/cluster/parts.ts';
import { Records } from '../../agent/repair/records.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { NetworkState } from '../../cluster/registry.ts';
import { type Membership, readMembership } from '../../ipam/cluster/membership.ts';
import type { Teardown } from '../support/host.ts';
import type { MemoryRegistries } from '../support/memory-registry.ts';
import { until } from '../support/until.ts';

export const VXLAN: ClusterNetwork = {
  name: 'podnet',
  backend: 'vxlan',
  pools: [{ prefix: '10.244.0.0/16', blockLength: 24 }],
  vxlan: { vni: 7, port: 4789, device: 'weft.7', directRoutes: false, checksumOffload: true },
};

export const L2: ClusterNetwork = {
  name: 'podnet',
  backend: 'vxlan-l2',
  pools: [{ prefix: '10.244.0.0/24', blockLength: 28 }],
  vxlan: {
    vni: 7,
    port: 4789,
    device: 'weft.7',
    bridge: 'weftbr.7',
    directRoutes: false,
    checksumOffload: true,
  },
};

/** A host's side of things, to be changed by the test. */
export class FakeHost implements Parts {
  readonly name: string;
  readonly root: string;
  readonly paths: { dataDir: string; runDir: string; cacheDir: string; confDir: string };
  own: string[];
  routes: string[] = [];
  /** Why the kernel takes nothing. */
  refusal: string | undefined;
  /** What the kernel has; undefined: nothing of the network. */
  kernel: { network: ClusterNetwork; state: NetworkState | undefined } | undefined;
  hooks: DriverHooks | undefined;
  readonly problems: string[] = [];
  readonly said: string[] = [];
  now = 1_700_000_000_000;

  constructor(t: Teardown, name: string, address: string) {
    this.name = name;
    this.own = [address];
    this.root = mkdtempSync(join(tmpdir(), 'weft-t-cluster-'));
    t.teardown(() => rmSync(this.root, { recursive: true, force: true }));
    const dir = (part: string) => join(this.root, part);
    this.paths = { dataDir: dir('data'), runDir: dir('run'), cacheDir: dir('cache'), confDir: dir('conf') };
    for (const folder of Object.values(this.paths)) mkdirSync(folder);
  }

  async addresses(asked: readonly string[]) {
    return asked.length > 0 ? asked : this.own;
  }

  async tidy() {}

  async clearRules() {}

  async overlaps() {
    return this.routes;
  }

  mac() {
    return '02:00:00:00:00:01';
  }

  async open(network: ClusterNetwork, _: unknown, hooks: DriverHooks) {
    if (this.refusal !== undefined) throw new Error(this.refusal);
    this.hooks = hooks;
    this.kernel = { network, state: this.kernel?.state };
    return {
      device: network.vxlan?.device,
      update: async (state: NetworkState) => {
        this.kernel = { network, state };
        hooks.applied(1450, []);
      },
      look: async () => {},
      close: async () => {},
      remove: async () => {
        this.kernel = undefined;
      },
    };
  }

  options(registries: MemoryRegistries, more: Partial<HostNetworkOptions> = {}): HostNetworkOptions {
    return {
      name: 'podnet',
      registry: registries.open(),
      parts: this,
      paths: this.paths,
      host: this.name,
      addresses: [],
      records: new Records(join(this.paths.cacheDir, 'weft', 'attachments')),
      isHere: () => true,
      rivals: () => [],
      hooks: {
        corrected: () => {},
        problem: (_, kind, words) =>
          this.problems.push(words === undefined ? `${kind} ended` : `${kind}: ${words}`),
        told: (_, words) => this.said.push(words),
      },
      now: () => this.now,
      ...more,
    };
  }

  /** The network as an agent here has it. Ends with the test. */
  start(
    t: Teardown,
    registries: MemoryRegistries,
    network: ClusterNetwork | undefined,
    more = {},
  ): HostNetwork {
    const wanted: Wanted | undefined = network && { network, file: 'podnet.conflist' };
    const made = new HostNetwork(this.options(registries, more), wanted);
    t.teardown(() => made.close());
    return made;
  }

  membership(): Membership | undefined {
    return readMembership(this.paths.cacheDir, 'podnet');
  }

  /** What the plugins say to new containers, when that fits. */
  problem(pattern: RegExp): Promise<string> {
    return until(`${this.name} says ${pattern}, has ${this.membership()?.problem}`, () => {
      const { problem = '' } = this.membership() ?? {};
      return pattern.test(problem) ? problem : undefined;
    });
  }

  /** A container's lease, as IPAM writes it; and with a MAC its record, as ADD does. */
  lease(address: string, containerId: string, mac?: string): void {
    mkdirSync(join(this.paths.dataDir, 'podnet'), { recursive: true });
    writeFileSync(join(this.paths.dataDir, 'podnet', address), `${containerId}\r\neth0`);
    if (mac === undefined) return;
    const folder = join(this.paths.cacheDir, 'weft', 'attachments');
    mkdirSync(folder, { recursive: true });
    const record = {
      ...{ format: 'weft attachment 1', plugin: 'vxlan', network: 'podnet', containerId, ifname: 'eth0' },
      ...{ netns: '', sandbox: '', host: '', boot: '', env: {}, input: '' },
      steps: [{ kind: 'veth', host: { name: 'v', mac, alias: '' }, inside: { name: 'eth0', mac, up: true } }],
    };
    writeFileSync(join(folder, `${containerId}.vxlan`), JSON.stringify(record));
  }

  release(address: string, containerId: string): void {
    rmSync(join(this.paths.cacheDir, 'weft', 'attachments', `${containerId}.vxlan`), { force: true });
    rmSync(join(this.paths.dataDir, 'podnet', address));
  }
}
