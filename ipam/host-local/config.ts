import { configSchema } from '../../cni/config.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Route } from '../../cni/types.ts';
import type { IpamNetConf } from '../ipam.ts';
import { checkAddressCount, readConfig } from '../read-config.ts';
import { readRoutes } from '../routes.ts';
import { canonicalSets, type RangeSet, type RawSet } from './ranges.ts';
import { type HostLocalConf, schema } from './schema.ts';
import { validate } from './validate.generated.ts';

export const hostLocalSchema = configSchema(schema, validate);

/** host-local's part of a configuration, checked. */
export interface HostLocal {
  conf: HostLocalConf;
  sets: RangeSet[];
  routes: Route[];
}

/** Pure. Throws CniError(invalidConfig) that names the field. */
export function readHostLocal(config: IpamNetConf): HostLocal {
  const conf = readConfig(hostLocalSchema, config);
  const raw = rawSets(conf);
  if (raw.length === 0) {
    throw new CniError(
      ErrorCode.invalidConfig,
      'ipam: there are no ranges: wanted "ranges": [[{"subnet": "10.1.0.0/16"}]], one list for each address',
    );
  }
  const sets = canonicalSets(raw);
  checkAddressCount(
    conf.cniVersion,
    sets.map((set) => set.family),
  );
  return { conf, sets, routes: readRoutes(conf.ipam.routes ?? []) };
}

/** The runtime's ranges come first, then the old single form, then `ranges`: the numbers of `last_reserved_ip.<n>` depend on it. */
function rawSets({ ipam, runtimeConfig }: HostLocalConf): RawSet[] {
  const asked = runtimeConfig?.ipRanges ?? [];
  const { subnet, rangeStart, rangeEnd, gateway, ranges = [] } = ipam;
  const single =
    subnet === undefined
      ? []
      : [
          {
            subnet,
            ...(rangeStart === undefined ? {} : { rangeStart }),
            ...(rangeEnd === undefined ? {} : { rangeEnd }),
            ...(gateway === undefined ? {} : { gateway }),
          },
        ];
  return [
    ...asked.map((set, n) => ({ field: `runtimeConfig.ipRanges[${n}]`, single: false, ranges: set })),
    ...single.map((range) => ({ field: 'ipam', single: true, ranges: [range] })),
    ...ranges.map((set, n) => ({ field: `ipam.ranges[${n}]`, single: false, ranges: set })),
  ];
}
