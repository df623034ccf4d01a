import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { cidr, ipOrCidr, netConfProperties, netConfRequired, route } from '../../cni/schema.ts';

/** Go's net.IP reads an empty string as no address; templates leave such fields behind. */
const optionalIp = {
  type: 'string',
  pattern: '^[0-9A-Fa-f:.]*$',
  title: 'an IPv4 or IPv6 address without prefix length',
} as const satisfies JSONSchema;

const filePath = {
  type: 'string',
  pattern: '^[^\\u0000]*$',
  title: 'a path without zero byte',
} as const satisfies JSONSchema;

const rangeProperties = {
  subnet: cidr,
  rangeStart: optionalIp,
  rangeEnd: optionalIp,
  gateway: optionalIp,
} as const satisfies Record<string, JSONSchema>;

const ranges = {
  type: 'array',
  items: {
    type: 'array',
    items: { type: 'object', required: ['subnet'], properties: rangeProperties },
  },
} as const satisfies JSONSchema;

/** A network configuration whose `ipam` is host-local's: the whole of it, because that is what an IPAM is given. */
export const schema = {
  type: 'object',
  required: [...netConfRequired, 'ipam'],
  properties: {
    ...netConfProperties,
    args: {
      type: 'object',
      properties: { cni: { type: 'object', properties: { ips: { type: 'array', items: ipOrCidr } } } },
    },
    runtimeConfig: {
      type: 'object',
      properties: { ips: { type: 'array', items: ipOrCidr }, ipRanges: ranges },
    },
    ipam: {
      type: 'object',
      required: ['type'],
      properties: {
        type: { type: 'string' },
        ranges,
        ...rangeProperties,
        routes: { type: 'array', items: route },
        resolvConf: filePath,
        dataDir: filePath,
      },
    },
  },
} as const satisfies JSONSchema;

export type HostLocalConf = FromSchema<typeof schema>;
export type RangeConf = NonNullable<HostLocalConf['ipam']['ranges']>[number][number];
