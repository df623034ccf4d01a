/** Which networks between hosts a host's configurations name. Loads two plugins' schemas: for the agent and the command line. */
import type { Backend, ClusterNetwork } from '../cluster/network.ts';
import { describeFaults } from '../cni/config.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { fold } from '../cni/fold.ts';
import type { ConfigSchema, NetConf } from '../cni/plugin.ts';
import type { Layout } from '../ipam/cluster/config.ts';
import { clusterNetwork as routedNetwork } from './routed/network.ts';
import { routed } from './routed/routed.ts';
import { clusterNetwork as vxlanNetwork } from './vxlan/network.ts';
import { vxlan } from './vxlan/vxlan.ts';

/** One plugin of a conflist, with the list's name. */
export type NamedConf = Readonly<Record<string, unknown>> & Pick<NetConf, 'name' | 'type'>;

/**
 * The network between hosts that a plugin's configuration asks for; undefined where the plugin is of another kind. Pure.
 * Throws CniError(invalidConfig) with every fault, in the words in which the plugin would refuse it.
 */
export function clusterNetworkOf(conf: NamedConf): ClusterNetwork | undefined {
  if (conf.type === 'vxlan') return vxlanNetwork(checked(vxlan.config, conf));
  if (conf.type === 'routed') return routedNetwork(checked(routed.config, conf));
  return undefined;
}

/** How the plugins ask for addresses of a network. */
export const LAYOUTS: Readonly<Record<Backend, Layout>> = {
  vxlan: 'subnet',
  'vxlan-l2': 'stretched',
  routed: 'single',
  bgp: 'single',
};

function checked<C>(schema: ConfigSchema<C>, conf: NamedConf): C {
  const folded = fold(schema.schema, { cniVersion: '1.1.0', ...conf });
  const faults = schema.faults(folded);
  if (faults.length > 0) throw new CniError(ErrorCode.invalidConfig, describeFaults(faults));
  return folded as C;
}
