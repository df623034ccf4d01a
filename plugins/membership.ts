/** How vxlan and routed complete their configuration by what this host holds of the network (ipam/cluster/membership.ts). */
import type { Ambient } from '../cni/ambient.ts';
import type { ClusterAddressing } from '../ipam/cluster/config.ts';
import { requireGoodStanding, requireMembership } from '../ipam/cluster/standing.ts';
import type { PluginConf, Verb } from './definition.ts';

interface Completed extends PluginConf {
  mtu?: number;
  ipMasq?: boolean;
}

/**
 * Addresses come from the cluster's IPAM unless another is asked for, traffic to the world is masqueraded, and the MTU is what is asked for as far
 * as it fits through the underlay. Only ADD and STATUS need the membership; CHECK compares with the MTU that ADD answered. Throws CniError(tryAgain, notAvailable, limitedConnectivity or io).
 */
export function withMembership<C extends Completed>(
  config: C,
  addressing: ClusterAddressing,
  ambient: Ambient,
  verb: Verb,
): C {
  const ipam = config.ipam?.type ? config.ipam : { ...config.ipam, type: 'cluster' };
  const completed = {
    ...config,
    ipMasq: config.ipMasq ?? true,
    ipam: ipam.type === 'cluster' ? { ...ipam, ...addressing } : ipam,
  };
  if (verb === 'PLAN') return completed;
  const { cacheDir } = ambient.paths;
  if (verb === 'STATUS') requireGoodStanding(cacheDir, config.name, ambient.now());
  if (verb !== 'ADD') return { ...completed, mtu: 0 };
  const { mtu } = requireMembership(cacheDir, config.name, ambient.now());
  return { ...completed, mtu: Math.min(config.mtu || mtu, mtu) };
}
