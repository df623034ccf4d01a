import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { capability, mtu, netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** Every field of the reference's ptp plugin (1.9). */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    ipMasq: { type: 'boolean' },
    ipMasqBackend: { type: 'string', enum: ['iptables', 'nftables'] },
    mtu,
    runtimeConfig: {
      type: 'object',
      properties: { ips: capability.ips, ipRanges: capability.ipRanges },
    },
  },
} as const satisfies JSONSchema;

export type PtpConf = FromSchema<typeof schema>;
