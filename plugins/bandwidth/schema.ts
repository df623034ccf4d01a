import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { capability, cidr, netConfProperties, netConfRequired } from '../../cni/schema.ts';

const subnets = { type: 'array', items: cidr } as const satisfies JSONSchema;

/** Bits per second, and bits. */
const fields = {
  ...capability.bandwidth.properties,
  shapedSubnets: subnets,
  unshapedSubnets: subnets,
} as const satisfies Record<string, JSONSchema>;

/** Every field of the reference's bandwidth plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    ...fields,
    runtimeConfig: {
      type: 'object',
      properties: { bandwidth: { type: 'object', properties: fields } },
    },
  },
} as const satisfies JSONSchema;

export type BandwidthConf = FromSchema<typeof schema>;
