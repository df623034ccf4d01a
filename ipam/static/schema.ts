import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { cidr, dns, netConfProperties, netConfRequired, route } from '../../cni/schema.ts';

/** A network configuration whose `ipam` is static's: the whole of it, because that is what an IPAM is given. */
export const schema = {
  type: 'object',
  required: [...netConfRequired, 'ipam'],
  properties: {
    ...netConfProperties,
    args: {
      type: 'object',
      properties: { cni: { type: 'object', properties: { ips: { type: 'array', items: cidr } } } },
    },
    runtimeConfig: { type: 'object', properties: { ips: { type: 'array', items: cidr } } },
    ipam: {
      type: 'object',
      required: ['type'],
      properties: {
        type: { type: 'string' },
        addresses: {
          type: 'array',
          items: {
            type: 'object',
            required: ['address'],
            properties: {
              address: cidr,
              // Go's net.IP reads an empty string as no address.
              gateway: {
                type: 'string',
                pattern: '^[0-9A-Fa-f:.]*$',
                title: 'an IPv4 or IPv6 address without prefix length',
              },
            },
          },
        },
        routes: { type: 'array', items: route },
        dns,
      },
    },
  },
} as const satisfies JSONSchema;

export type StaticConf = FromSchema<typeof schema>;
