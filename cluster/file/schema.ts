import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { cidr, ip, mac } from '../../cni/schema.ts';

const member = {
  type: 'object',
  required: ['addresses'],
  additionalProperties: false,
  properties: {
    addresses: { type: 'array', items: ip, minItems: 1, maxItems: 2 },
    subnets: { type: 'array', items: cidr },
    borrowed: { type: 'array', items: ip },
    mac,
  },
} as const satisfies JSONSchema;

const endpoint = {
  type: 'object',
  required: ['mac', 'host'],
  additionalProperties: false,
  properties: { mac, host: { type: 'string', minLength: 1 } },
} as const satisfies JSONSchema;

const network = {
  type: 'object',
  additionalProperties: false,
  properties: {
    hosts: { type: 'object', additionalProperties: member },
    endpoints: { type: 'object', additionalProperties: endpoint },
  },
} as const satisfies JSONSchema;

/** A registry of hosts as a file: written by people, by agents, or both. A misspelt key would be a host that is not reached: it is refused. */
export const schema = {
  type: 'object',
  additionalProperties: false,
  properties: { networks: { type: 'object', additionalProperties: network } },
} as const satisfies JSONSchema;

export type RegistryFile = FromSchema<typeof schema>;
export type FileMember = FromSchema<typeof member>;
