import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import {
  linkAsked,
  linkNameOrNone,
  macArgs,
  macOrNone,
  mtu,
  netConfProperties,
  netConfRequired,
} from '../../cni/schema.ts';

/** Every field of the reference's macvlan plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    master: linkNameOrNone,
    mode: { type: 'string', enum: ['', 'bridge', 'private', 'vepa', 'passthru'] },
    mtu,
    mac: macOrNone,
    linkInContainer: { type: 'boolean' },
    bcqueuelen: { type: 'integer', minimum: 0, maximum: 4294967295 },
    args: macArgs,
    runtimeConfig: linkAsked,
  },
} as const satisfies JSONSchema;

export type MacvlanConf = FromSchema<typeof schema>;
