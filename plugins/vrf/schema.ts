import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { linkName, linkNameOrNone, netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** Every field of the reference's vrf plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired, 'vrfname'],
  properties: {
    ...netConfProperties,
    vrfname: linkName,
    /** 0: the first that nobody uses. */
    table: { type: 'integer', minimum: 0, maximum: 4294967295 },
    args: {
      type: 'object',
      properties: { cni: { type: 'object', properties: { vrfname: linkNameOrNone } } },
    },
  },
} as const satisfies JSONSchema;

export type VrfConf = FromSchema<typeof schema>;
