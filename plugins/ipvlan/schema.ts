import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { addressesAsked, linkNameOrNone, mtu, netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** Every field of the reference's ipvlan plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    master: linkNameOrNone,
    mode: { type: 'string', enum: ['', 'l2', 'l3', 'l3s'] },
    mtu,
    linkInContainer: { type: 'boolean' },
    runtimeConfig: addressesAsked,
  },
} as const satisfies JSONSchema;

export type IpvlanConf = FromSchema<typeof schema>;
