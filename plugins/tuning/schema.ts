import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { macOrNone, mtu, netConfProperties, netConfRequired } from '../../cni/schema.ts';

const fields = {
  sysctl: { type: 'object', additionalProperties: { type: 'string' } },
  mac: macOrNone,
  mtu,
  promisc: { type: 'boolean' },
  allmulti: { type: 'boolean' },
  txQLen: { type: 'integer', minimum: 0, maximum: 2147483647 },
} as const satisfies Record<string, JSONSchema>;

/** Every field of the reference's tuning plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    ...fields,
    dataDir: { type: 'string', pattern: '^(/.*)?$', title: 'an absolute path' },
    args: { type: 'object', properties: { cni: { type: 'object', properties: fields } } },
    runtimeConfig: { type: 'object', properties: { mac: macOrNone } },
  },
} as const satisfies JSONSchema;

export type TuningConf = FromSchema<typeof schema>;
