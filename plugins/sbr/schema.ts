import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { ip, netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** Every field of the reference's sbr plugin (1.9, and addSourceHints of the one after), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    table: { type: 'integer', minimum: 1, maximum: 4294967295 },
    gateways: { type: 'array', items: ip },
    addSourceHints: { type: 'boolean' },
  },
} as const satisfies JSONSchema;

export type SbrConf = FromSchema<typeof schema>;
