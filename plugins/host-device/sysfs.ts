/** What the kernel tells of devices and their links as files (Documentation/ABI/testing/sysfs-bus-pci, sysfs-class-net). */
import fs from 'node:fs';
import { basename, join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';

/** Drivers that leave a device to a program (DPDK): it has no link then. */
const FOR_PROGRAMS = ['vfio-pci', 'uio_pci_generic', 'igb_uio'];

const BUSES = ['pci', 'auxiliary'];

/** `root` is /sys. Undefined when there is no device of that id. */
export function deviceFolder(id: string, root: string): string | undefined {
  return BUSES.map((bus) => join(root, 'bus', bus, 'devices', id)).find((folder) => fs.existsSync(folder));
}

export function isForPrograms(folder: string): boolean {
  try {
    return FOR_PROGRAMS.includes(basename(fs.readlinkSync(join(folder, 'driver'))));
  } catch {
    // It has no driver at all.
    return false;
  }
}

/** The name of the first link of a device; a virtio device stands one folder below its PCI device. Undefined: it has none here. */
export function linkOf(folder: string): string | undefined {
  const below = list(folder)
    .filter((name) => name.startsWith('virtio'))
    .map((name) => join(folder, name));
  for (const place of [folder, ...below]) {
    const [name] = list(join(place, 'net')).sort();
    if (name !== undefined) return name;
  }
  return undefined;
}

function list(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

export function noDevice(field: string, wanted: string, why: string): CniError {
  return new CniError(ErrorCode.invalidConfig, `${field}: wanted ${wanted}, ${why}`);
}
