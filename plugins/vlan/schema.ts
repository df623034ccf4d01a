import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import {
  addressesAsked,
  linkName,
  mtu,
  netConfProperties,
  netConfRequired,
  vlanId,
} from '../../cni/schema.ts';

/** Every field of the reference's vlan plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired, 'master', 'vlanId'],
  properties: {
    ...netConfProperties,
    master: linkName,
    vlanId,
    mtu,
    linkInContainer: { type: 'boolean' },
    runtimeConfig: addressesAsked,
  },
} as const satisfies JSONSchema;

export type VlanConf = FromSchema<typeof schema>;
