import { describeFaults } from '../cni/config.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { fold } from '../cni/fold.ts';
import type { ConfigSchema } from '../cni/plugin.ts';
import type { IpamNetConf } from './ipam.ts';

/**
 * A network configuration as one IPAM declares it: the plugin that calls has folded and checked its own part only.
 * Throws CniError(invalidConfig) that names every field at fault.
 */
export function readConfig<C>(schema: ConfigSchema<C>, config: IpamNetConf): C {
  const folded = fold(schema.schema, config);
  const faults = schema.faults(folded);
  if (faults.length > 0) throw new CniError(ErrorCode.invalidConfig, describeFaults(faults));
  return folded as C;
}

/** CNI versions that know one address per family only. */
const SINGLE_ADDRESS = new Set(['', '0.1.0', '0.2.0']);

/**
 * Refuses more addresses of one family than the configuration's version can express (SPEC 0.2.0, "Result").
 * Throws CniError(invalidConfig).
 */
export function checkAddressCount(cniVersion: string, families: readonly number[]): void {
  if (!SINGLE_ADDRESS.has(cniVersion) || new Set(families).size === families.length) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    `cniVersion ${cniVersion || '0.1.0'} knows one IPv4 and one IPv6 address, the configuration makes ` +
      `${families.length}: wanted 0.3.0 or newer`,
  );
}
