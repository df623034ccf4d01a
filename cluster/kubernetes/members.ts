/** From nodes to members: Kubernetes gives a node its subnets, weft writes beside them what others must know. Pure. */
import { canonical, familyOf, parseAddress, parsePrefix } from '../../cni/prefix.ts';
import type { Pool } from '../network.ts';
import { inPool } from '../registry/blocks.ts';
import { type Member, type NetworkState, RegistryError } from '../registry.ts';
import type { Node } from './api.ts';

/** The annotation of one network: JSON with `addresses` and `mac`. A node without it has not joined. */
export const annotationOf = (network: string) => `weft/${network}`;

/** Undefined for a node that has not joined the network. */
export function memberOfNode(network: string, node: Node): Member | undefined {
  const text = node.metadata.annotations?.[annotationOf(network)];
  if (text === undefined) return undefined;
  const { addresses, mac } = read(text);
  return {
    host: node.metadata.name,
    addresses: addresses ?? internalAddresses(node),
    subnets: podPrefixes(node),
    ...(mac === undefined ? {} : { mac }),
  };
}

export function writeAnnotation({ addresses, mac }: Pick<Member, 'addresses' | 'mac'>): string {
  return JSON.stringify({ addresses, ...(mac === undefined ? {} : { mac }) });
}

export function stateOf(members: Iterable<Member>): NetworkState {
  return { members: [...members].sort((a, b) => (a.host < b.host ? -1 : 1)), endpoints: [] };
}

/** What people wrote by hand and cannot be read is as if it said nothing. */
function read(text: string): { addresses: string[] | undefined; mac: string | undefined } {
  let value: { addresses?: unknown; mac?: unknown };
  try {
    value = Object(JSON.parse(text));
  } catch {
    value = {};
  }
  const { addresses, mac } = value;
  const usable =
    Array.isArray(addresses) && addresses.every((one) => typeof one === 'string' && parseAddress(one));
  return {
    addresses: usable ? addresses.map(canonical) : undefined,
    mac: typeof mac === 'string' ? mac : undefined,
  };
}

/** The first InternalIP of each family. */
function internalAddresses({ status }: Node): string[] {
  const internal = (status?.addresses ?? []).flatMap(({ type, address }) =>
    type === 'InternalIP' && parseAddress(address) ? [canonical(address)] : [],
  );
  return internal.filter(
    (one, index) => internal.findIndex((other) => familyOf(other) === familyOf(one)) === index,
  );
}

function podPrefixes({ spec }: Node): string[] {
  const all = spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : []);
  return all.filter((prefix) => parsePrefix(prefix) !== undefined).map(canonical);
}

/** Throws RegistryError when Kubernetes has not given the node a subnet of each pool. */
export function checkPods(node: Node, pools: readonly Pool[]): void {
  const subnets = podPrefixes(node);
  const missing = pools.find((pool) => !subnets.some((subnet) => inPool(pool, subnet)));
  if (missing === undefined) return;
  throw new RegistryError(
    subnets.length === 0 ? 'exhausted' : 'invalid',
    `node ${node.metadata.name} has ${subnets.join(', ') || 'no podCIDRs'}, wanted one of pool ${missing.prefix}: ` +
      'kube-controller-manager allots them (--allocate-node-cidrs, --cluster-cidr)',
  );
}
