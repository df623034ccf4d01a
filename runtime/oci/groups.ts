/** Control groups of a bundle's container. */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { hostHierarchies, makeGroups, processesIn, removeFolders, writeSettings } from '../cgroup/cgroups.ts';
import type { OciConfig, OciResources } from './bundle.ts';
import { deviceSettings, limitsDevices, resourceSettings } from './resources.ts';

export interface Groups {
  folders: readonly string[];
  /** For the mounts of control groups inside. */
  shown: readonly { folder: string; name: string; version: 1 | 2 }[];
  /** Without a devices controller a process that makes a device node opens the host's disks by it. */
  withheld: readonly string[];
}

/** Makes them and sets their limits. Throws CniError for a limit that cannot be kept. */
export function makeBundleGroups({ linux = {} }: OciConfig, cgroup: string): Groups {
  const all = hostHierarchies();
  const { resources = {}, devices } = linux;
  const settings = (version: 1 | 2) => [
    ...resourceSettings(resources, version),
    ...(version === 1 ? deviceSettings(resources, devices ?? []) : []),
  ];
  const hasDevices = all.some(({ controllers }) => controllers.includes('devices'));
  const wanted = (version: 1 | 2) =>
    settings(version).filter(({ controller }) => hasDevices || controller !== 'devices');
  const { folders } = makeGroups(cgroup, wanted, all, ['freezer']);
  return {
    folders,
    shown: all
      .map(({ mount, version }) => ({ folder: join(mount, cgroup), name: basename(mount), version }))
      .filter(({ folder }) => folders.includes(folder)),
    withheld: !hasDevices && limitsDevices(resources) ? ['CAP_MKNOD'] : [],
  };
}

export const foldersOf = (cgroup: string): string[] =>
  hostHierarchies()
    .map(({ mount }) => join(mount, cgroup))
    .filter((folder) => existsSync(folder));

/** New limits for a container that is there. Throws CniError. */
export function updateGroups(cgroup: string, resources: OciResources): void {
  for (const { mount, version, controllers } of hostHierarchies())
    writeSettings(
      join(mount, cgroup),
      resourceSettings(resources, version).filter(
        ({ controller }) => controller !== 'devices' && controllers.includes(controller),
      ),
    );
}

export const processesOf = (cgroup: string): number[] => processesIn(foldersOf(cgroup));

/** Ends what is left in them and takes them away; waits for what the kernel has yet to end, `patience` milliseconds. Returns those still in use. */
export async function removeGroups(cgroup: string, patience: number): Promise<string[]> {
  for (let waited = 0; ; waited += 10) {
    const left = removeFolders(foldersOf(cgroup));
    if (left.length === 0 || waited >= patience) return left;
    for (const pid of processesIn(left)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function setFrozen(freezer: { file: string; frozen: string; thawed: string }, frozen: boolean): void {
  writeFileSync(freezer.file, frozen ? freezer.frozen : freezer.thawed);
}
