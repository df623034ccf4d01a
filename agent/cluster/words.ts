/** What is said of a network that cannot be what is wanted: the thing, what was found, what to do. */

import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Member, NetworkState } from '../../cluster/registry.ts';
import { overlap } from '../../cni/prefix.ts';
import { prefixesOf } from './parts.ts';

export const wordsOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

const many = (number: number) => `${number} address${number === 1 ? '' : 'es'}`;

/** A pool that shares addresses with the host's own networks, or a tunnel that is another network's. */
export class Overlap extends Error {
  override readonly name = 'Overlap';
}

export function overlapWords({ pools }: ClusterNetwork, routes: readonly string[]): string {
  return (
    `the network's pool ${prefixesOf(pools).join(', ')} overlaps ${routes.join(' and ')} of this host: ` +
    'choose another pool, on all hosts, or remove the route'
  );
}

/** Undefined where no pool is another network's. */
function poolOfAnother({ pools }: ClusterNetwork, others: readonly ClusterNetwork[]): string | undefined {
  for (const { prefix } of pools) {
    for (const other of others) {
      const theirs = other.pools.find((pool) => overlap(pool.prefix, prefix));
      if (theirs) {
        return `the network's pool ${prefix} overlaps ${theirs.prefix} of network ${other.name}: choose another pool, on all hosts`;
      }
    }
  }
  return undefined;
}

/** Two networks on one bridge or device are one network. The VNI alone decides, as bridges are named after it, whatever the UDP port. */
function tunnelOfAnother({ vxlan }: ClusterNetwork, others: readonly ClusterNetwork[]): string | undefined {
  if (vxlan === undefined) return undefined;
  const wanted = tunnelNames(vxlan);
  for (const field of ['vni', 'device', 'bridge'] as const) {
    const other = others.find((one) => one.vxlan && tunnelNames(one.vxlan)[field] === wanted[field]);
    if (other && wanted[field] !== undefined)
      return `${field} ${wanted[field]} is network ${other.name}'s on this host: choose another ${field}`;
  }
  return undefined;
}

/** What no other network of the host may have. */
function tunnelNames({ vni, device, bridge, containerBridge }: NonNullable<ClusterNetwork['vxlan']>) {
  return { vni, device, bridge: bridge ?? containerBridge };
}

/** What of a network is another network's of this host; undefined where nothing is. */
export function clashWithAnother(
  network: ClusterNetwork,
  others: readonly ClusterNetwork[],
): string | undefined {
  return poolOfAnother(network, others) ?? tunnelOfAnother(network, others);
}

export function refusedChange(file: string, changes: readonly string[], held: number): string {
  return (
    `${file} changes ${changes.join(' and ')}: not done while containers here hold ${many(held)} of the network, which it would cut off: ` +
    'remove them, or change it back'
  );
}

export function stillHeld(network: string, held: number): string {
  return `containers here hold ${many(held)} of network ${network}: remove them first; --force leaves them without the network`;
}

/** A registration under the old name may be another machine's by now, of which this one is a copy: it is left alone. */
export function renamed(before: string, now: string, held: number): string {
  if (held === 0) {
    return `this host was ${before} and is ${now} now: where ${before} is nobody else, remove it with "weft network leave --node ${before}"`;
  }
  return (
    `this host was ${before} and shall be ${now}, but containers here hold ${many(held)} of ${before}'s subnets: ` +
    `it stays ${before} until they are gone; start the agent with --node ${before}`
  );
}

/** Subnets that this host had, and another has now, though containers here have addresses of them. */
export function lostSubnets(
  before: readonly string[],
  { subnets }: Member,
  leased: readonly string[],
): string | undefined {
  const lost = before.filter(
    (subnet) => !subnets.includes(subnet) && leased.some((address) => overlap(address, subnet)),
  );
  if (lost.length === 0) return undefined;
  return (
    `${lost.join(', ')} went to another host while this one was not heard of, and containers here have addresses of it: ` +
    'make them anew'
  );
}

/** Another host that holds what this one holds; a registry never says so unless somebody wrote it there. */
export function takenSubnet(
  state: NetworkState,
  host: string,
  subnets: readonly string[],
): string | undefined {
  for (const other of state.members) {
    if (other.host === host) continue;
    const taken = other.subnets.find((subnet) => subnets.some((own) => overlap(own, subnet)));
    if (taken !== undefined) {
      return (
        `the registry says that host ${other.host} has ${taken}, of which containers here have addresses: ` +
        'remove them, then "weft network leave"'
      );
    }
  }
  return undefined;
}
