/** The addresses that a fresh network would hand out, worked out without its leases. */
import { addressOf } from '../../cni/prefix.ts';
import { askedAddresses } from '../../ipam/asked.ts';
import { answerOf } from '../../ipam/cluster/cluster.ts';
import { readCluster } from '../../ipam/cluster/config.ts';
import { setsOf } from '../../ipam/cluster/sets.ts';
import { allocate, wishesOf } from '../../ipam/host-local/allocate.ts';
import { readHostLocal } from '../../ipam/host-local/config.ts';
import type { IpamNetConf, IpamResult } from '../../ipam/ipam.ts';
import type { Leases } from '../../ipam/leases.ts';
import { readStatic } from '../../ipam/static/config.ts';
import { clusterNetworkOf, type NamedConf } from '../../plugins/cluster-network.ts';

/**
 * IPAM's answer to the first ADD of a network; `taken` are addresses that go to others. Pure. Undefined for an IPAM that is not ours:
 * what it answers is only known when it is run. Throws CniError as that IPAM would.
 */
export function firstAddresses(
  config: IpamNetConf,
  args: Readonly<Record<string, string>>,
  taken: readonly string[] = [],
): IpamResult | undefined {
  if (config.ipam.type === 'static') return readStatic(config, args);
  if (config.ipam.type === 'cluster') return onFirstHost(config, args, taken);
  if (config.ipam.type !== 'host-local') return undefined;
  const { conf, sets, routes } = readHostLocal(config);
  const wishes = wishesOf(sets, askedAddresses(conf, args));
  const { ips } = allocate(wishes, { containerId: '', ifname: '' }, allFreeBut(taken), false);
  return { ips, routes, dns: {} };
}

/** As if this host held the first part of every pool. */
function onFirstHost(
  config: IpamNetConf,
  args: Readonly<Record<string, string>>,
  taken: readonly string[],
): IpamResult | undefined {
  const network = clusterNetworkOf(config as unknown as NamedConf);
  if (network === undefined) return undefined;
  const read = readCluster(config);
  const asked = askedAddresses(read.conf, args);
  const pools = network.pools.map(({ prefix }) => prefix);
  const subnets = network.pools.map(({ prefix, blockLength }) => `${addressOf(prefix)}/${blockLength}`);
  const sets = setsOf({ network: network.name, subnets, borrowed: [], pools }, read.layout, asked);
  const nobody = { containerId: '', ifname: '' };
  return answerOf(allocate(wishesOf(sets, asked), nobody, allFreeBut(taken), false), read);
}

/** Leases of nobody. */
function allFreeBut(taken: readonly string[]): Leases {
  return {
    of: () => [],
    ofContainer: () => [],
    holder: () => undefined,
    claim: (candidates) => {
      for (const address of candidates) if (!taken.includes(address)) return address;
      return undefined;
    },
    release: () => {},
    lastReserved: () => undefined,
    setLastReserved: () => {},
    all: () => new Map(),
  };
}
