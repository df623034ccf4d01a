import type { FromSchema } from 'json-schema-to-ts';
import {
  capability,
  linkName,
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
    mode: { type: 'string', enum: ['l3', 'l2'] },
    /** 24 bits (RFC 7348, section 5). */
    vni: { type: 'integer', minimum: 1, maximum: 16777215 },
    port: { type: 'integer', minimum: 1, maximum: 65535 },
    device: linkName,
    bridge: linkName,
    mtu,
    directRoutes: { type: 'boolean' },
    checksumOffload: { type: 'boolean' },
    isDefaultGateway: { type: 'boolean' },
    ...masqueradeProperties,
    hairpinMode: { type: 'boolean' },
    macspoofchk: { type: 'boolean' },
    args: { type: 'object', properties: { cni: { type: 'object', properties: { mac } } } },
    runtimeConfig: { type: 'object', properties: { mac: capability.mac, ips: capability.ips } },
  },
} as const;

export type VxlanConf = FromSchema<typeof schema>;
