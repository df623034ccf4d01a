import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { capability, netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** A name of options.ts, or a number. Other programs write numbers as text. */
const option = {
  anyOf: [{ type: 'string' }, { type: 'integer' }],
  title: 'a DHCP option: a number from 1 to 254, or a name such as host-name',
} as const satisfies JSONSchema;

/** A network configuration whose `ipam` is dhcp's: the whole of it, because that is what an IPAM is given. */
export const schema = {
  type: 'object',
  required: [...netConfRequired, 'ipam'],
  properties: {
    ...netConfProperties,
    args: {
      type: 'object',
      properties: { cni: { type: 'object', properties: { ips: capability.ips } } },
    },
    runtimeConfig: { type: 'object', properties: { ips: capability.ips } },
    ipam: {
      type: 'object',
      required: ['type'],
      properties: {
        type: { type: 'string' },
        daemonSocketPath: { type: 'string' },
        request: {
          type: 'array',
          items: { type: 'object', properties: { skipDefault: { type: 'boolean' }, option } },
        },
        provide: {
          type: 'array',
          items: {
            type: 'object',
            required: ['option'],
            properties: { option, value: { type: 'string' }, fromArg: { type: 'string' } },
          },
        },
        priority: { type: 'integer', minimum: 0, maximum: 4294967295 },
      },
    },
  },
} as const satisfies JSONSchema;

export type DhcpConf = FromSchema<typeof schema>;
