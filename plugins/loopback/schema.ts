import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** loopback has no field of its own. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: { ...netConfProperties },
} as const satisfies JSONSchema;

export type LoopbackConf = FromSchema<typeof schema>;
