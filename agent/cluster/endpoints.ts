/** Which containers of an L2 network are on this host: from the attachments' records and the leases. */

import { join } from 'node:path';
import type { Endpoint } from '../../cluster/registry.ts';
import { parseAddress } from '../../cni/prefix.ts';
import { readHolder } from '../../ipam/lease-files.ts';
import type { Entry } from '../repair/records.ts';
import { leasedAddresses } from './leased.ts';

/** An endpoint and the attachment's file as it was read: another ADD is another version. */
export interface LocalEndpoint extends Endpoint {
  version: string;
  /** Milliseconds since the epoch. */
  written: number;
}

export interface LocalOptions {
  network: string;
  host: string;
  dataDir: string;
}

/** Leases are read once for each record: what an attachment has does not change before another ADD. */
export class LocalEndpoints {
  readonly #options: LocalOptions;
  /** By the record's file. */
  #known = new Map<string, { version: string; endpoints: readonly LocalEndpoint[] }>();

  constructor(options: LocalOptions) {
    this.#options = options;
  }

  /** @param entries records of attachments that this host has now */
  of(entries: readonly Entry[]): LocalEndpoint[] {
    const mine = entries.filter(({ record }) => record.network === this.#options.network);
    const fresh = mine.filter(({ file, version }) => this.#known.get(file)?.version !== version);
    const kept = mine.filter((entry) => !fresh.includes(entry));
    const known = new Map(
      kept.map(({ file }) => [file, this.#known.get(file) ?? { version: '', endpoints: [] }]),
    );
    const leases = fresh.length > 0 ? this.#leasesBut(new Set(addressesOf(known.values()))) : new Map();
    for (const entry of fresh) {
      known.set(entry.file, { version: entry.version, endpoints: this.#endpointsOf(entry, leases) });
    }
    this.#known = known;
    const all = new Map(
      [...known.values()].flatMap(({ endpoints }) => endpoints.map((one) => [one.address, one])),
    );
    return [...all.values()].sort(byAddress);
  }

  /** Addresses by the attachment that holds them; those that are known are not read. */
  #leasesBut(known: ReadonlySet<string>): Map<string, string[]> {
    const { network, dataDir } = this.#options;
    const leases = new Map<string, string[]>();
    for (const address of leasedAddresses(dataDir, network)) {
      if (known.has(address)) continue;
      const holder = readHolder(join(dataDir, network, address));
      if (holder === undefined) continue;
      const key = `${holder.containerId} ${holder.ifname ?? ''}`;
      leases.set(key, [...(leases.get(key) ?? []), address]);
    }
    return leases;
  }

  #endpointsOf({ record, version, written }: Entry, leases: ReadonlyMap<string, string[]>): LocalEndpoint[] {
    const mac = record.steps.find((step) => step.kind === 'veth')?.inside.mac;
    if (mac === undefined) return [];
    const leased = leases.get(`${record.containerId} ${record.ifname}`) ?? [];
    // An address that is static has no lease.
    const said = record.steps.flatMap((step) => (step.kind === 'masquerade' ? step.sources : []));
    const { host } = this.#options;
    return [...new Set([...leased, ...said])].map((address) => ({ address, mac, host, version, written }));
  }
}

function addressesOf(known: Iterable<{ endpoints: readonly LocalEndpoint[] }>): string[] {
  return [...known].flatMap(({ endpoints }) => endpoints.map(({ address }) => address));
}

function byAddress(a: Endpoint, b: Endpoint): number {
  const [one, two] = [parseAddress(a.address)?.value ?? 0n, parseAddress(b.address)?.value ?? 0n];
  return one < two ? -1 : one > two ? 1 : 0;
}

/** What this host publishes, and what it no longer claims because the container lives elsewhere now. */
export class Claims {
  /** Address to the record's version that was ours until another host published it. */
  readonly #moved = new Map<string, string>();
  #published: string | undefined;
  /** Milliseconds since the epoch: what another host had before, and a record here is older than, is that host's. */
  readonly #since: number | undefined;

  constructor(since: number | undefined) {
    this.#since = since;
  }

  /** The endpoints to publish; undefined when the registry has just these. */
  toPublish(
    local: readonly LocalEndpoint[],
    known: readonly Endpoint[],
    host: string,
  ): Endpoint[] | undefined {
    const owners = new Map(known.map((endpoint) => [endpoint.address, endpoint.host]));
    for (const { address, version, written } of local) {
      const owner = owners.get(address);
      if (owner === undefined || owner === host) continue;
      const ours =
        this.#published?.includes(`"${address}"`) || (this.#since !== undefined && written <= this.#since);
      // Two hosts that claim one address would take it from each other for ever: the later ADD has it.
      if (ours && !this.#moved.has(address)) this.#moved.set(address, version);
    }
    const versions = new Map(local.map(({ address, version }) => [address, version]));
    for (const [address, version] of this.#moved) {
      if (versions.get(address) !== version) this.#moved.delete(address);
    }
    const wanted = local
      .filter(({ address }) => !this.#moved.has(address))
      .map(({ address, mac }) => ({ address, mac, host }));
    const stored = known.filter((endpoint) => endpoint.host === host);
    this.#published = keyOf(wanted);
    return keyOf(stored) === this.#published ? undefined : wanted;
  }
}

const keyOf = (endpoints: readonly Endpoint[]) =>
  JSON.stringify([...endpoints].sort(byAddress).map(({ address, mac }) => [address, mac]));
