import { CniError, ErrorCode } from '../../cni/errors.ts';
import { formatPrefix, parsePrefix } from '../../cni/prefix.ts';
import type { Ipam } from '../ipam.ts';
import { readStatic } from './config.ts';

/** Addresses that stand in the configuration, or come from the runtime. Nothing is reserved. */
export const staticIpam: Ipam = {
  type: 'static',
  validate: (config) => void readStatic(config, {}),
  add: async ({ config, args }) => readStatic(config, args),

  /** The previous result still has every address of the configuration. */
  async check({ config, args, prevResult }) {
    const { ips } = readStatic(config, args);
    if (prevResult === undefined) return;
    const found = prevResult.ips.map(({ address }) => {
      const prefix = parsePrefix(address);
      return prefix === undefined ? address : formatPrefix(prefix);
    });
    for (const { address } of ips) {
      if (found.includes(address)) continue;
      throw new CniError(
        ErrorCode.checkFailed,
        `address ${address} of the configuration is not in the previous result, which has ${found.join(', ') || 'none'}`,
      );
    }
  },

  del: async () => [],
  gc: async () => [],
  status: async ({ config }) => void readStatic(config, {}),
};
