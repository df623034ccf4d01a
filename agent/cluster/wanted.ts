/** The networks between hosts that a folder of conflists names. */
import { clusterNetworkOf } from '../../plugins/cluster-network.ts';
import { listNetworks } from '../../runtime/conf-dir.ts';
import type { Wanted } from './network-options.ts';
import { wordsOf } from './words.ts';

export interface WantedNetworks {
  networks: Map<string, Wanted>;
  /** Conflists that cannot be understood, and why. */
  faults: { file: string; name: string | undefined; error: string }[];
}

/** The first list of a name counts, as for libcni. */
export async function wantedNetworks(confDir: string): Promise<WantedNetworks> {
  const found: WantedNetworks = { networks: new Map(), faults: [] };
  const seen = new Set<string>();
  for (const entry of await listNetworks(confDir)) {
    const { file } = entry;
    if ('error' in entry) {
      found.faults.push({ file, name: undefined, error: entry.error.message });
      continue;
    }
    const { name, plugins } = entry.list;
    if (seen.has(name)) continue;
    seen.add(name);
    try {
      for (const plugin of plugins) {
        const network = clusterNetworkOf({ ...plugin, name });
        if (network) found.networks.set(name, { network, file });
      }
    } catch (error) {
      found.faults.push({ file, name, error: wordsOf(error) });
    }
  }
  return found;
}
