import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { addressesAsked, netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** The reference's dummy plugin (1.9) has no fields of its own. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    runtimeConfig: addressesAsked,
  },
} as const satisfies JSONSchema;

export type DummyConf = FromSchema<typeof schema>;
