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

/** The kernel's kuid_t; its highest stands for nobody. */
const id = { type: 'integer', minimum: 0, maximum: 4294967294 } as const satisfies JSONSchema;

/** Every field of the reference's tap plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    multiQueue: { type: 'boolean' },
    mtu,
    mac: macOrNone,
    owner: id,
    group: id,
    selinuxContext: { type: 'string' },
    bridge: linkNameOrNone,
    args: macArgs,
    runtimeConfig: linkAsked,
  },
} as const satisfies JSONSchema;

export type TapConf = FromSchema<typeof schema>;
