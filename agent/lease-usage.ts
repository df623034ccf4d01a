/** How full the networks of a host are: lists the lease folders, reads no lease and takes no lock. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Paths } from '../cni/ambient.ts';
import type { RangeView } from '../ipam/ranges-view.ts';
import { listNetworks } from '../runtime/conf-dir.ts';
import type { NetworkList, PluginConf } from '../runtime/conflist.ts';

export interface LeaseUsage {
  network: string;
  family: 4 | 6;
  /** Addresses with a lease. */
  used: number;
  /** Addresses that can still be handed out; undefined where no configuration of the network with ranges is there. */
  free: number | undefined;
}

/** One folder of leases, and the ranges that are handed out of it. */
interface Pool {
  network: string;
  folder: string;
  size: { 4: number; 6: number } | undefined;
}

/** Every network that has a configuration with ranges or a lease folder, each family that it has of either. */
export async function leaseUsage(
  paths: Pick<Paths, 'dataDir' | 'confDir' | 'cacheDir'>,
): Promise<LeaseUsage[]> {
  const loaded = await listNetworks(paths.confDir);
  const pools = new Map<string, Pool>();
  for (const network of folders(paths.dataDir)) {
    const folder = join(paths.dataDir, network);
    pools.set(folder, { network, folder, size: undefined });
  }
  for (const entry of loaded) {
    for (const pool of 'list' in entry ? await poolsOf(entry.list, paths) : []) {
      // libcni takes the first list of a name.
      if (pools.get(pool.folder)?.size === undefined) pools.set(pool.folder, pool);
    }
  }
  return [...pools.values()].flatMap(usageOf);
}

function usageOf({ network, folder, size }: Pool): LeaseUsage[] {
  const used = { 4: 0, 6: 0 };
  for (const name of names(folder)) {
    if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) used[4]++;
    else if (/^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(name)) used[6]++;
  }
  return ([4, 6] as const).flatMap((family) => {
    const total = size?.[family] ?? 0;
    if (total === 0 && used[family] === 0) return [];
    const free = size && total > 0 ? Math.max(0, total - used[family]) : undefined;
    return [{ network, family, used: used[family], free }];
  });
}

/** Where a list's addresses come from; nothing where that is not our IPAM or cannot be read: ADD says what is wrong with it. */
async function poolsOf(
  list: NetworkList,
  { dataDir, cacheDir }: Pick<Paths, 'dataDir' | 'cacheDir'>,
): Promise<Pool[]> {
  const pools: Pool[] = [];
  for (const plugin of list.plugins) {
    const held = await heldOf(list, plugin, cacheDir);
    if (held) pools.push({ network: list.name, folder: join(dataDir, list.name), size: held });
    const ranges = await rangesOf(list, plugin);
    if (ranges.length === 0) continue;
    const size = { 4: 0, 6: 0 };
    for (const range of ranges) size[range.subnet.includes(':') ? 6 : 4] += Number(range.size);
    const own = (plugin.ipam as { dataDir?: unknown }).dataDir;
    const folder = join(typeof own === 'string' && own !== '' ? own : dataDir, list.name);
    pools.push({ network: list.name, folder, size });
  }
  return pools;
}

/** What this host holds of a network between hosts. */
async function heldOf(
  { name }: NetworkList,
  plugin: PluginConf,
  cacheDir: string,
): Promise<{ 4: number; 6: number } | undefined> {
  const type = (plugin.ipam as { type?: unknown } | undefined)?.type ?? 'cluster';
  if (type !== 'cluster') return undefined;
  const [{ clusterNetworkOf, LAYOUTS }, { capacityOf }] = await Promise.all([
    import('../plugins/cluster-network.ts'),
    import('../ipam/cluster/capacity.ts'),
  ]);
  try {
    const network = clusterNetworkOf({ ...plugin, name });
    return network && capacityOf(cacheDir, name, LAYOUTS[network.backend]);
  } catch {
    return undefined;
  }
}

async function rangesOf(list: NetworkList, plugin: PluginConf): Promise<RangeView[]> {
  const ipam = plugin.ipam as { type?: unknown } | undefined;
  if (typeof ipam !== 'object' || ipam === null || ipam.type !== 'host-local') return [];
  const { describeRanges } = await import('../ipam/ranges-view.ts');
  try {
    return await describeRanges({
      ...plugin,
      cniVersion: list.cniVersion,
      name: list.name,
      ipam: { ...ipam, type: 'host-local' },
    });
  } catch {
    return [];
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function folders(dataDir: string): string[] {
  try {
    return readdirSync(dataDir, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    return [];
  }
}
