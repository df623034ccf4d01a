/** How vxlan and routed complete their configuration by what this host holds of the network (ipam/cluster/membership.ts). */
import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { ClusterAddressing } from '../ipam/cluster/config.ts';
import type { Membership } from '../ipam/cluster/membership.ts';
import { requireGoodStanding, requireMembership } from '../ipam/cluster/standing.ts';
import type { PluginConf, Verb } from './definition.ts';

interface Completed extends PluginConf {
  mtu?: number;
  ipMasq?: boolean;
}

/** The configuration may be newer than what the agent has done for it. Throws CniError(tryAgain). */
function requireSamePools(network: string, wanted: readonly string[], { pools }: Membership): void {
  if ([...wanted].sort().join() === [...pools].sort().join()) return;
  throw new CniError(
    ErrorCode.tryAgain,
    `network ${network} has pool ${wanted.join(', ')} in the configuration, and this host is a member with ${pools.join(', ')}: ` +
      '`weft agent` follows when no container of the network is left here; `weft status` says what keeps it',
  );
}

/**
 * Addresses come from the cluster's IPAM unless another is asked for, traffic to the world is masqueraded, and the MTU is what is asked for as far
 * as it fits through the underlay. Only ADD and STATUS need the membership; CHECK compares with the MTU that ADD answered. Throws CniError(tryAgain, notAvailable, limitedConnectivity or io).
 */
export function withMembership<C extends Completed>(
  config: C,
  addressing: ClusterAddressing,
  pools: () => readonly string[],
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
  const membership = requireMembership(cacheDir, config.name, ambient.now());
  requireSamePools(config.name, pools(), membership);
  const { mtu } = membership;
  return { ...completed, mtu: Math.min(config.mtu || mtu, mtu) };
}
