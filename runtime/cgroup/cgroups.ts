/** A container's control groups: `<hierarchy>/<parent>/<container id>` in each hierarchy. Found again by the id alone. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Limits } from '../container/spec.ts';
import { type Controller, type Hierarchy, hierarchies } from './hierarchy.ts';
import { type Setting, settings } from './settings.ts';

/** Below the root of every hierarchy; WEFT_CGROUP moves it, so that several simulated hosts live on one machine. */
export const CGROUP_PARENT = 'weft';

/** What `weft stats` tells, and what ends processes goes by. */
const MEASURED: readonly Controller[] = ['cpuacct', 'memory', 'pids'];

export interface Cgroups {
  /** One for each hierarchy. */
  folders: readonly string[];
  /** Counts what was ended for want of memory; absent without the memory controller. */
  oomFile?: string;
}

const code = (error: unknown) => (error as NodeJS.ErrnoException).code;

/** Throws CniError(io). */
export function hostHierarchies(): Hierarchy[] {
  return hierarchies(readFileSync('/proc/self/mountinfo', 'utf8'), (mount) => {
    try {
      return readFileSync(join(mount, 'cgroup.controllers'), 'utf8');
    } catch {
      // No v2 root that may be read has controllers for us.
      return '';
    }
  });
}

/**
 * Makes the groups and writes the limits. Throws CniError(unsupportedField) for a limit that this kernel cannot keep, (io) for one that it
 * refuses; what was made is removed then.
 */
export function makeCgroups(id: string, limits: Limits, parent: string, all = hostHierarchies()): Cgroups {
  return makeGroups(join(parent, id), (version) => settings(limits, version), all);
}

/** The folders that makeCgroups makes. */
export function cgroupFolders(id: string, limits: Limits, parent: string, all = hostHierarchies()): string[] {
  const needed = ([1, 2] as const).flatMap((version) => settings(limits, version));
  return used(
    all,
    needed.map(({ controller }) => controller),
  ).map(({ mount }) => join(mount, parent, id));
}

/** Hierarchies without any use are left out: each group costs two milliseconds when it goes (an RCU grace period). */
function used(all: readonly Hierarchy[], needed: readonly Controller[]): Hierarchy[] {
  const some = new Set([...MEASURED, ...needed]);
  return all.filter(
    ({ version, controllers }) => version === 2 || controllers.some((controller) => some.has(controller)),
  );
}

/**
 * The same for a group anywhere and any settings.
 * @param path below the root of every hierarchy
 * @param also controllers in which it is a group of its own without a setting, too
 */
export function makeGroups(
  path: string,
  settingsOf: (version: 1 | 2) => Setting[],
  all = hostHierarchies(),
  also: readonly Controller[] = [],
): Cgroups {
  const wanted = [...settingsOf(1), ...settingsOf(2)];
  assertPossible(wanted, all);
  const needed = new Set(settingsOf(2).flatMap((one) => (one.optional ? [] : [one.controller])));
  const folders: string[] = [];
  try {
    for (const hierarchy of used(all, [...also, ...wanted.map(({ controller }) => controller)])) {
      const folder = join(hierarchy.mount, path);
      if (hierarchy.version === 2) delegate(hierarchy, dirname(path), needed);
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      folders.push(folder);
      if (hierarchy.version === 1 && hierarchy.controllers.includes('cpuset')) inheritCpuset(hierarchy, path);
      const own = settingsOf(hierarchy.version).filter(({ controller }) =>
        hierarchy.controllers.includes(controller),
      );
      writeSettings(folder, own);
    }
  } catch (error) {
    removeFolders(folders);
    throw error;
  }
  const oomFile = folders
    .flatMap((folder) => [join(folder, 'memory.oom_control'), join(folder, 'memory.events')])
    .find((file) => existsSync(file));
  return { folders, ...(oomFile !== undefined && { oomFile }) };
}

const MEANING: Partial<Record<Controller, string>> = {
  cpu: 'share of CPU time (--cpus)',
  memory: 'memory (--memory)',
  pids: 'number of processes (--pids)',
  cpuset: 'choice of CPUs (--cpuset)',
  blkio: 'input and output (--io)',
  io: 'input and output (--io)',
};

function assertPossible(wanted: readonly Setting[], all: readonly Hierarchy[]): void {
  const has = (version: 1 | 2, controller: Controller) =>
    all.some((one) => one.version === version && one.controllers.includes(controller));
  for (const { controller, optional } of wanted) {
    const other = controller === 'blkio' ? 'io' : controller === 'io' ? 'blkio' : controller;
    if (optional || has(1, controller) || has(2, controller) || has(1, other) || has(2, other)) continue;
    const there = [...new Set(all.flatMap(({ controllers }) => controllers))].join(', ') || 'none';
    throw new CniError(
      ErrorCode.unsupportedField,
      `the ${MEANING[controller] ?? controller} cannot be limited here: no cgroup hierarchy with the controller "${controller}" is mounted (there: ${there})`,
    );
  }
}

/**
 * v2: a group's controllers are those that its parent passes on. What is passed on already is not written again: above the first group of
 * ours the files are somebody else's. Throws CniError(io) where one that is `needed` cannot be passed on; the others only measure.
 */
function delegate({ mount, controllers }: Hierarchy, parent: string, needed: ReadonlySet<Controller>): void {
  let folder = mount;
  for (const part of ['', ...parent.split('/')].filter((one) => one !== '.')) {
    folder = join(folder, part);
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    const file = join(folder, 'cgroup.subtree_control');
    const passed = existsSync(file) ? readFileSync(file, 'utf8').trim().split(' ') : [];
    const missing = controllers.filter((one) => !passed.includes(one));
    if (missing.length === 0) continue;
    try {
      // All at once: those of threads alone the kernel would take where processes are, and then let no process into the groups below.
      writeFileSync(file, missing.map((one) => `+${one}`).join(' '));
    } catch (error) {
      const first = missing.find((one) => needed.has(one));
      if (first !== undefined) throw notPassedOn(first, folder, error);
    }
  }
}

function notPassedOn(controller: Controller, folder: string, cause: unknown): CniError {
  const said = code(cause);
  // Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"
  const help =
    said === 'EBUSY'
      ? `: it has processes of its own. Move them below it first: mkdir ${folder}/own; for p in $(cat ${folder}/cgroup.procs); do echo $p >${folder}/own/cgroup.procs; done`
      : '';
  return new CniError(
    ErrorCode.io,
    `the ${MEANING[controller] ?? controller} cannot be limited: the group ${folder} does not pass "${controller}" on (${said ?? String(cause)})${help}`,
    `${folder}/cgroup.subtree_control`,
    { cause },
  );
}

/** v1: a new group may use no CPU and no memory node until it is told which. */
function inheritCpuset({ mount }: Hierarchy, path: string): void {
  let above = mount;
  for (const part of path.split('/')) {
    const folder = join(above, part);
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (readFileSync(join(folder, file), 'utf8').trim() === '')
        writeFileSync(join(folder, file), readFileSync(join(above, file)));
    }
    above = folder;
  }
}

/** Into the files of a group's folder. Throws CniError(io) for what the kernel refuses. */
export function writeSettings(folder: string, settings: readonly Setting[]): void {
  for (const setting of settings) write(folder, setting);
}

function write(folder: string, { file, value, optional }: Setting): void {
  try {
    writeFileSync(join(folder, file), value);
  } catch (error) {
    if (optional && code(error) === 'ENOENT') return;
    throw new CniError(
      ErrorCode.io,
      `the kernel refuses the limit ${JSON.stringify(value)} in ${file}: ${code(error) ?? String(error)}`,
      `${folder}/${file}`,
      { cause: error },
    );
  }
}

/** The groups of a container that exist. */
export function cgroupsOf(id: string, parent: string, all = hostHierarchies()): string[] {
  return all.map(({ mount }) => join(mount, parent, id)).filter((folder) => existsSync(folder));
}

/** Ids of all containers that have a group. */
export function cgroupIds(parent: string, all = hostHierarchies()): string[] {
  const names = all.flatMap(({ mount }) => {
    try {
      return readdirSync(join(mount, parent), { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [entry.name] : [],
      );
    } catch (error) {
      if (code(error) === 'ENOENT') return [];
      throw error;
    }
  });
  return [...new Set(names)];
}

/** Processes in the groups, in this PID namespace. */
export function processesIn(folders: readonly string[]): number[] {
  const found = folders.flatMap((folder) => {
    try {
      return readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
    } catch (error) {
      if (code(error) === 'ENOENT' || code(error) === 'ENODEV') return [];
      throw error;
    }
  });
  return [...new Set(found)].filter((pid) => pid > 0);
}

/** Removes empty groups, and those that containers made below them. Returns those that are still in use. */
export function removeFolders(folders: readonly string[]): string[] {
  return folders.filter((folder) => {
    try {
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        if (entry.isDirectory()) removeFolders([join(folder, entry.name)]);
      }
      rmdirSync(folder);
      return false;
    } catch (error) {
      if (code(error) === 'ENOENT') return false;
      if (code(error) === 'EBUSY') return true;
      throw error;
    }
  });
}
