import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { netConfProperties, netConfRequired } from '../../cni/schema.ts';

const names = { type: 'array', items: { type: 'string' } } as const satisfies JSONSchema;

/** Every field of Podman's dnsname plugin (1.3). */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    domainName: { type: 'string' },
    runtimeConfig: {
      type: 'object',
      properties: {
        // A list (CONVENTIONS.md, "aliases"), or one for each network: Podman's way.
        aliases: { anyOf: [names, { type: 'object', additionalProperties: names }] },
      },
    },
  },
} as const satisfies JSONSchema;

export type DnsnameConf = FromSchema<typeof schema>;
