import type { JSONSchema } from 'json-schema-to-ts';

/**
 * Pieces that plugins' configuration schemas are made of. A schema is a `const` object, so that FromSchema derives
 * the TypeScript type from it; scripts/generate-validators.ts turns it into code. `title` is what an error says was
 * wanted, so it reads after "wanted": "a MAC address ...". Patterns only refuse what cannot be meant; whether an
 * address or a prefix is one is for the plugin's `validate`, which parses it anyway.
 */

export const mac = {
  type: 'string',
  // is_valid_ether_addr in the kernel's linux/etherdevice.h: neither multicast nor zero.
  pattern: '^(?!(00:){5}00$)[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$',
  title: 'a MAC address such as 0a:58:0a:01:00:02 (unicast)',
} as const satisfies JSONSchema;

/** Empty texts, as templates and runtimes leave them behind, ask for nothing. */
export const macOrNone = { ...mac, pattern: `^$|${mac.pattern}` } as const satisfies JSONSchema;

/** An address without prefix length, either family. */
export const ip = {
  type: 'string',
  pattern: '^[0-9A-Fa-f:.]+$',
  title: 'an IPv4 or IPv6 address without prefix length',
} as const satisfies JSONSchema;

export const cidr = {
  type: 'string',
  pattern: '^[0-9A-Fa-f:.]+/[0-9]{1,3}$',
  title: 'an address with prefix length such as 10.1.0.0/16 or fd00:1::/64',
} as const satisfies JSONSchema;

/** An address, with or without prefix length: what runtimes send as `ips`. */
export const ipOrCidr = {
  type: 'string',
  pattern: '^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$',
  title: 'an IPv4 or IPv6 address, with or without prefix length',
} as const satisfies JSONSchema;

/** dev_valid_name in the kernel's net/core/dev.c; `%` would be a template there. It counts bytes: see linkNameFault. */
export const linkName = {
  type: 'string',
  pattern: '^(?!\\.{1,2}$)[^/:%\\s\\u0000-\\u001f\\u007f]{1,15}$',
  title: 'the name of a link: 1 to 15 characters, no "/", ":", "%", white space or control character',
} as const satisfies JSONSchema;

export const linkNameOrNone = {
  ...linkName,
  pattern: `^$|${linkName.pattern}`,
} as const satisfies JSONSchema;

/** Bytes. Go programs write 0 for what is not set. */
export const mtu = {
  type: 'integer',
  minimum: 0,
  maximum: 65535,
  not: { minimum: 1, maximum: 67 },
  title: 'an integer from 68 to 65535, or 0 for the default',
} as const satisfies JSONSchema;

export const vlanId = { type: 'integer', minimum: 0, maximum: 4094 } as const satisfies JSONSchema;

export const port = { type: 'integer', minimum: 0, maximum: 65535 } as const satisfies JSONSchema;

const uint32 = { type: 'integer', minimum: 0, maximum: 4294967295 } as const satisfies JSONSchema;

const strings = { type: 'array', items: { type: 'string' } } as const satisfies JSONSchema;

/** SPEC 1.1, "Success": DNS information. */
export const dns = {
  type: 'object',
  properties: {
    nameservers: { type: 'array', items: { type: 'string' } },
    domain: { type: 'string' },
    search: { type: 'array', items: { type: 'string' } },
    options: { type: 'array', items: { type: 'string' } },
  },
} as const satisfies JSONSchema;

/** SPEC 1.1, "Success": a route. */
export const route = {
  type: 'object',
  required: ['dst'],
  properties: {
    dst: cidr,
    gw: ip,
    mtu: uint32,
    advmss: uint32,
    priority: uint32,
    table: uint32,
    scope: { type: 'integer', minimum: 0, maximum: 255 },
  },
} as const satisfies JSONSchema;

/** The address management's own part; without a type there is none (a pure layer 2 network). */
export const ipam = {
  type: 'object',
  properties: { type: { type: 'string' } },
} as const satisfies JSONSchema;

/** What is the same in every network configuration, whatever the plugin. */
export const netConfBase = {
  cniVersion: { type: 'string' },
  name: { type: 'string' },
  type: { type: 'string' },
  dns,
  capabilities: { type: 'object', additionalProperties: { type: 'boolean' } },
  prevResult: { type: 'object' },
} as const satisfies Record<string, JSONSchema>;

/**
 * What every network configuration has (SPEC 1.1, section 1, "Plugin configuration objects"). Spread it into a plugin's `properties`;
 * a plugin that declares capabilities replaces `runtimeConfig` by `runtimeConfigOf({...})`.
 */
export const netConfProperties = {
  ...netConfBase,
  ipam,
  args: { type: 'object', properties: { cni: { type: 'object' } } },
  runtimeConfig: { type: 'object' },
} as const satisfies Record<string, JSONSchema>;

/** The keys without which a configuration is none; the protocol skeleton fills in `cniVersion`. */
export const netConfRequired = ['cniVersion', 'name', 'type'] as const;

/** The schemas of the well-known capability arguments (CONVENTIONS.md, "Dynamic Plugin specific fields"). */
export const capability = {
  mac,
  ips: { type: 'array', items: ipOrCidr },
  ipRanges: {
    type: 'array',
    items: {
      type: 'array',
      items: {
        type: 'object',
        required: ['subnet'],
        properties: { subnet: cidr, rangeStart: ip, rangeEnd: ip, gateway: ip },
      },
    },
  },
  portMappings: {
    type: 'array',
    items: {
      type: 'object',
      required: ['hostPort', 'containerPort'],
      properties: {
        hostPort: port,
        containerPort: port,
        protocol: { type: 'string' },
        hostIP: { type: 'string' },
      },
    },
  },
  /** Bits per second, and bits. */
  bandwidth: {
    type: 'object',
    properties: {
      ingressRate: { type: 'integer', minimum: 0 },
      ingressBurst: { type: 'integer', minimum: 0 },
      egressRate: { type: 'integer', minimum: 0 },
      egressBurst: { type: 'integer', minimum: 0 },
    },
  },
  dns: {
    type: 'object',
    properties: {
      servers: { type: 'array', items: { type: 'string' } },
      searches: { type: 'array', items: { type: 'string' } },
      options: { type: 'array', items: { type: 'string' } },
    },
  },
  infinibandGUID: { type: 'string' },
  deviceID: { type: 'string' },
  aliases: { type: 'array', items: { type: 'string' } },
  cgroupPath: { type: 'string' },
} as const satisfies Record<string, JSONSchema>;

/** `runtimeConfig` of a plugin whose container gets addresses. */
export const addressesAsked = {
  type: 'object',
  properties: { ips: capability.ips, ipRanges: capability.ipRanges },
} as const satisfies JSONSchema;

/** `runtimeConfig` of a plugin that makes a link with a MAC of its own besides. */
export const linkAsked = {
  type: 'object',
  properties: { mac: macOrNone, ...addressesAsked.properties },
} as const satisfies JSONSchema;

/** `args` of such a plugin (CONVENTIONS.md, "args"). */
export const macArgs = {
  type: 'object',
  properties: { cni: { type: 'object', properties: { mac: macOrNone } } },
} as const satisfies JSONSchema;

/** Of a plugin whose containers may leave with the host's address. */
export const masqueradeProperties = {
  ipMasq: { type: 'boolean' },
  ipMasqBackend: { type: 'string', enum: ['iptables', 'nftables'] },
} as const satisfies Record<string, JSONSchema>;

const legacyIp = {
  type: 'object',
  properties: { ip: cidr, gateway: ip, routes: { type: 'array', items: route } },
} as const satisfies JSONSchema;

/** Every field of a result in any version; used to fold keys only (cni/versions.ts reads it). */
export const resultSchema = {
  type: 'object',
  properties: {
    cniVersion: { type: 'string' },
    interfaces: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          name: { type: 'string' },
          mac: { type: 'string' },
          mtu: uint32,
          sandbox: { type: 'string' },
          socketPath: { type: 'string' },
          pciID: { type: 'string' },
        },
      },
    },
    ips: {
      type: 'array',
      items: {
        type: 'object',
        properties: { version: { type: 'string' }, address: cidr, gateway: ip, interface: uint32 },
      },
    },
    routes: { type: 'array', items: route },
    dns: {
      type: 'object',
      properties: { nameservers: strings, domain: { type: 'string' }, search: strings, options: strings },
    },
    ip4: legacyIp,
    ip6: legacyIp,
  },
} as const satisfies JSONSchema;
