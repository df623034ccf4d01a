import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** Every field of the reference's firewall plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    /** Empty, as runtimes write it, stands for what fits this host. */
    backend: { type: 'string', enum: ['nftables', 'iptables', 'firewalld', ''] },
    iptablesAdminChainName: {
      type: 'string',
      pattern: '^[A-Za-z0-9_.-]{0,28}$',
      title: 'the name of a chain',
    },
    firewalldZone: { type: 'string' },
    ingressPolicy: { type: 'string', enum: ['open', 'same-bridge', 'isolated', ''] },
  },
} as const satisfies JSONSchema;

export type FirewallConf = FromSchema<typeof schema>;
