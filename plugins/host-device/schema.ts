import type { FromSchema, JSONSchema } from 'json-schema-to-ts';
import {
  capability,
  linkNameOrNone,
  macOrNone,
  netConfProperties,
  netConfRequired,
} from '../../cni/schema.ts';

/** What follows `/sys/bus/pci/devices/`, or `/sys/bus/auxiliary/devices/`. */
const deviceId = {
  type: 'string',
  pattern: '^[A-Za-z0-9_:.-]*$',
  title: 'the id of a device on its bus, such as 0000:00:1f.6',
} as const satisfies JSONSchema;

/** Every field of the reference's host-device plugin (1.9), and nothing else. */
export const schema = {
  type: 'object',
  required: [...netConfRequired],
  properties: {
    ...netConfProperties,
    device: linkNameOrNone,
    hwaddr: macOrNone,
    kernelpath: {
      type: 'string',
      pattern: '^(/sys/devices/.*)?$',
      title: 'a path below /sys/devices/',
    },
    pciBusID: deviceId,
    runtimeConfig: {
      type: 'object',
      properties: { deviceID: deviceId, ips: capability.ips, ipRanges: capability.ipRanges },
    },
  },
} as const satisfies JSONSchema;

export type HostDeviceConf = FromSchema<typeof schema>;
