import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import {
  capability,
  linkName,
  mac,
  masqueradeProperties,
  mtu,
  netConfProperties,
  netConfRequired,
  vlanId,
} from '../../cni/schema.ts';

/** Every field of the reference's bridge plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    bridge: linkName,
    isGateway: { type: 'boolean' },
    isDefaultGateway: { type: 'boolean' },
    forceAddress: { type: 'boolean' },
    ...masqueradeProperties,
    mtu,
    hairpinMode: { type: 'boolean' },
    promiscMode: { type: 'boolean' },
    vlan: vlanId,
    vlanTrunk: {
      type: 'array',
      items: {
        type: 'object',
        properties: { minID: vlanId, maxID: vlanId, id: vlanId },
      },
    },
    preserveDefaultVlan: { type: 'boolean' },
    macspoofchk: { type: 'boolean' },
    enabledad: { type: 'boolean' },
    disableContainerInterface: { type: 'boolean' },
    portIsolation: { type: 'boolean' },
    args: { type: 'object', properties: { cni: { type: 'object', properties: { mac } } } },
    runtimeConfig: {
      type: 'object',
      properties: { mac: capability.mac, ips: capability.ips, ipRanges: capability.ipRanges },
    },
  },
} as const satisfies JSONSchema;

export type BridgeConf = FromSchema<typeof schema>;
