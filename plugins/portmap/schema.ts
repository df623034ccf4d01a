import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { capability, netConfProperties, netConfRequired } from '../../cni/schema.ts';

const words = { type: 'array', items: { type: 'string' } } as const satisfies JSONSchema;

/** Every field of the reference's portmap plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    /** Empty, as runtimes write it, stands for what fits this host. */
    backend: { type: 'string', enum: ['iptables', 'nftables', ''] },
    snat: { type: 'boolean' },
    masqAll: { type: 'boolean' },
    markMasqBit: { type: 'integer', minimum: 0, maximum: 31 },
    externalSetMarkChain: { type: 'string', pattern: '^[A-Za-z0-9_.-]{0,28}$', title: 'the name of a chain' },
    conditionsV4: words,
    conditionsV6: words,
    runtimeConfig: { type: 'object', properties: { portMappings: capability.portMappings } },
  },
} as const satisfies JSONSchema;

export type PortmapConf = FromSchema<typeof schema>;
