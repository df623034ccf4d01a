/** The host-device plugin as a plan: a link of the host is the container's until DEL. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import type { DeviceStep, Step } from '../../plan/step.ts';
import type { PlanInput, Verb } from '../definition.ts';
import { insideAddresses, upAtBirth } from '../inside-link.ts';
import type { HostDeviceConf } from './schema.ts';
import { deviceFolder, isForPrograms, linkOf, noDevice } from './sysfs.ts';

/** A configuration with what the device's files say. */
export interface ResolvedConf extends HostDeviceConf {
  /** The device has no link: it is for a program (DPDK). */
  forPrograms?: boolean;
}

/** The driver of a device answers to it (up to 80 ms on real ones), or refuses: its MAC is left alone. */
const ANNOUNCING = { by: 'up' } as const;

/** Throws CniError(invalidConfig). */
export function validateHostDevice(config: HostDeviceConf): void {
  if (config.device || config.hwaddr || config.kernelpath || busIdOf(config)) return;
  throw new CniError(
    ErrorCode.invalidConfig,
    'wanted one of device, hwaddr, kernelpath and pciBusID (or deviceID by runtimeConfig), found none: which link is meant?',
  );
}

/** What the runtime chose wins. */
const busIdOf = ({ pciBusID, runtimeConfig }: HostDeviceConf) => runtimeConfig?.deviceID || pciBusID;

/**
 * The link's name from the device's path or its place on a bus, where the configuration names no link. While the link is in a container
 * the files do not show it: DEL and CHECK go by its alias. Throws CniError(invalidConfig) for ADD and STATUS.
 */
export function resolveHostDevice(config: HostDeviceConf, verb: Verb, root = '/sys'): ResolvedConf {
  if (verb === 'PLAN') return config;
  const id = busIdOf(config);
  const folder = id ? deviceFolder(id, root) : undefined;
  if (folder && isForPrograms(folder)) return { ...config, forPrograms: true };
  if (config.device || config.hwaddr) return config;
  const [field, wanted] = config.kernelpath ? ['kernelpath', config.kernelpath] : ['pciBusID', `${id}`];
  const place = config.kernelpath ? root + config.kernelpath.slice('/sys'.length) : folder;
  const name = place === undefined ? undefined : linkOf(place);
  if (name !== undefined) return { ...config, device: name };
  if (verb === 'ADD' || verb === 'STATUS') {
    const why = place ? 'which has no link on the host: it may be in a container' : 'found no such device';
    throw noDevice(field as string, `${wanted}`, why);
  }
  return config;
}

export function deviceStep(config: HostDeviceConf, name: string, up: boolean): DeviceStep {
  const { device, hwaddr, kernelpath } = config;
  const folder = kernelpath || `/sys/bus/pci/devices/${busIdOf(config)}`;
  return {
    kind: 'device',
    in: 'container',
    name,
    host: device ? { name: device } : hwaddr ? { mac: hwaddr.toLowerCase() } : { folder },
    up,
  };
}

export function hostDeviceLinks(
  { config, attachment }: PlanInput<ResolvedConf>,
  answer?: IpamResult,
): Step[] {
  if (config.forPrograms) return [];
  return [deviceStep(config, attachment.ifname, upAtBirth(ANNOUNCING, answer))];
}

export function hostDeviceAddresses(
  { config, attachment }: PlanInput<ResolvedConf>,
  answer: IpamResult,
): Step[] {
  return config.forPrograms ? [] : insideAddresses(attachment.ifname, answer, ANNOUNCING);
}
