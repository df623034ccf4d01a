import { configSchema } from '../../cni/config.ts';
import type { Route } from '../../cni/types.ts';
import type { IpamNetConf } from '../ipam.ts';
import { readConfig } from '../read-config.ts';
import { readRoutes } from '../routes.ts';
import { type ClusterConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

/**
 * How a container's address stands in its network; the plugin says it, not a person. `subnet`: in this host's subnet, whose first
 * address is the gateway. `stretched`: in the pool, which is one link over all hosts; its first address is the gateway on each of them.
 * `single`: alone (/32, /128), without a gateway.
 */
export type Layout = 'subnet' | 'stretched' | 'single';

/** What a plugin adds to `ipam`. */
export interface ClusterAddressing {
  layout: Layout;
}

const clusterSchema = configSchema(schema, validate);

export interface Cluster {
  conf: ClusterConf;
  layout: Layout;
  routes: Route[];
}

/** Pure. Throws CniError(invalidConfig) that names the field. */
export function readCluster(config: IpamNetConf): Cluster {
  const conf = readConfig(clusterSchema, config);
  return { conf, layout: conf.ipam.layout ?? 'subnet', routes: readRoutes(conf.ipam.routes ?? []) };
}
