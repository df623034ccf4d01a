import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { ipOrCidr, netConfProperties, netConfRequired, route } from '../../cni/schema.ts';

/** A network configuration whose `ipam` is cluster's: the whole of it, because that is what an IPAM is given. */
export const schema = {
  type: 'object',
  required: [...netConfRequired, 'ipam'],
  properties: {
    ...netConfProperties,
    args: {
      type: 'object',
      properties: { cni: { type: 'object', properties: { ips: { type: 'array', items: ipOrCidr } } } },
    },
    runtimeConfig: { type: 'object', properties: { ips: { type: 'array', items: ipOrCidr } } },
    ipam: {
      type: 'object',
      required: ['type'],
      properties: {
        type: { type: 'string' },
        layout: { type: 'string', enum: ['subnet', 'stretched', 'single'] },
        routes: { type: 'array', items: route },
        resolvConf: {
          type: 'string',
          pattern: '^[^\\u0000]*$',
          title: 'a path without zero byte',
        },
      },
    },
  },
} as const satisfies JSONSchema;

export type ClusterConf = FromSchema<typeof schema>;
