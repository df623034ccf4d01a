import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import {
  addressesAsked,
  masqueradeProperties,
  mtu,
  netConfProperties,
  netConfRequired,
} from '../../cni/schema.ts';

/** Every field of the reference's ptp plugin (1.9). */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    ...masqueradeProperties,
    mtu,
    runtimeConfig: addressesAsked,
  },
} as const satisfies JSONSchema;

export type PtpConf = FromSchema<typeof schema>;
