import type { FromSchema } from 'json-schema-to-ts';
import {
  capability,
  ip,
  mac,
  masqueradeProperties,
  mtu,
  netConfProperties,
  netConfRequired,
} from '../../cni/schema.ts';
import { poolProperties } from '../pools.ts';

/** README.md says what each is. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    ...poolProperties,
    backend: { type: 'string', enum: ['direct', 'bgp'] },
    bgp: {
      type: 'object',
      required: ['asn'],
      properties: {
        daemon: { type: 'string', enum: ['bird', 'frr'] },
        /** Neither 0 (RFC 7607) nor the last one (RFC 7300). */
        asn: { type: 'integer', minimum: 1, maximum: 4294967294 },
        reflectors: { type: 'array', items: ip },
      },
    },
    mtu,
    isDefaultGateway: { type: 'boolean' },
    ...masqueradeProperties,
    args: { type: 'object', properties: { cni: { type: 'object', properties: { mac } } } },
    runtimeConfig: { type: 'object', properties: { mac: capability.mac, ips: capability.ips } },
  },
} as const;

export type RoutedConf = FromSchema<typeof schema>;
