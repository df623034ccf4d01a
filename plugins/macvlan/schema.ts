import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import { capability, linkName, mac, mtu, netConfProperties, netConfRequired } from '../../cni/schema.ts';

/** Empty texts, as templates and Podman leave them behind, ask for nothing. */
const linkOrNone = { ...linkName, pattern: `^$|${linkName.pattern}` } as const satisfies JSONSchema;
const macOrNone = { ...mac, pattern: `^$|${mac.pattern}` } as const satisfies JSONSchema;

/** Every field of the reference's macvlan plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    master: linkOrNone,
    mode: { type: 'string', enum: ['', 'bridge', 'private', 'vepa', 'passthru'] },
    mtu,
    mac: macOrNone,
    linkInContainer: { type: 'boolean' },
    bcqueuelen: { type: 'integer', minimum: 0, maximum: 4294967295 },
    args: { type: 'object', properties: { cni: { type: 'object', properties: { mac: macOrNone } } } },
    runtimeConfig: {
      type: 'object',
      properties: { mac: macOrNone, ips: capability.ips, ipRanges: capability.ipRanges },
    },
  },
} as const satisfies JSONSchema;

export type MacvlanConf = FromSchema<typeof schema>;
