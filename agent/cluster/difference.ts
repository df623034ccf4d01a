/** What a changed conflist means for a network that is in use. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import { prefixesOf } from './parts.ts';

/** What the containers' addresses and the way between hosts hang on, in words of the configuration. */
function essence({ backend, pools, vxlan, bgp }: ClusterNetwork): [string, string][] {
  return [
    ['backend', backend],
    ['network', prefixesOf(pools).join(', ')],
    ['subnet length', pools.map(({ blockLength }) => blockLength).join(', ')],
    ['vni', String(vxlan?.vni ?? 'none')],
    ['port', String(vxlan?.port ?? 'none')],
    ['device', vxlan?.device ?? 'none'],
    ['bridge', vxlan?.bridge ?? vxlan?.containerBridge ?? 'none'],
    ['asn', String(bgp?.asn ?? 'none')],
  ];
}

/** One phrase for each thing that cannot change below running containers: `vni from 1 to 2`. */
export function essentialChanges(before: ClusterNetwork, after: ClusterNetwork): string[] {
  const wanted = new Map(essence(after));
  return essence(before).flatMap(([what, was]) =>
    wanted.get(what) === was ? [] : [`${what} from ${was} to ${wanted.get(what)}`],
  );
}

/** Whether nothing at all differs. */
export function sameNetwork(a: ClusterNetwork, b: ClusterNetwork): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  );
}
