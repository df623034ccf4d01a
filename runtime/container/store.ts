/** The containers of this host on disk: a folder each below `<runDir>/containers`, made first and removed last. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { makeFolder } from '../../cni/folder.ts';
import { tryLock } from '../../netlink/lock.ts';
import { CGROUP_PARENT } from '../cgroup/cgroups.ts';
import type { ContainerSpec } from './spec.ts';
import type { ContainerState } from './state.ts';

export interface StoredContainer {
  spec: ContainerSpec;
  folder: string;
}

export const containersFolder = ({ paths }: Ambient) => join(paths.runDir, 'containers');
export const folderOf = (ambient: Ambient, id: string) => join(containersFolder(ambient), id);

/** What is kept over a reboot, and what containers write: layers of images and of containers. */
export function storeFolder({ env, paths }: Ambient): string {
  if (env.WEFT_STORE_DIR) return env.WEFT_STORE_DIR;
  return process.geteuid?.() === 0 ? '/var/lib/weft' : join(paths.cacheDir, 'store');
}

/** The cgroup that all containers of this host are in. */
export const cgroupParent = ({ env }: Ambient) => env.WEFT_CGROUP || CGROUP_PARENT;

/** What Docker and others allow; it becomes a host name and an argument of programs. */
export const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

export interface Claimed {
  folder: string;
  /** Until it is called, or its process ends, nobody takes the container for abandoned. */
  release(): void;
}

/** Makes the folder of a new container. Throws CniError(invalidConfig) when its name is taken, (io). */
export async function claim(ambient: Ambient, spec: ContainerSpec): Promise<Claimed> {
  const all = containersFolder(ambient);
  makeFolder(all, 0o700);
  const releaseAll = await ambient.lock(join(all, 'lock'));
  try {
    const taken = listContainers(ambient).find((one) => one.spec.name === spec.name);
    if (taken) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `a container is called ${spec.name} already (${taken.spec.id.slice(0, 12)}): choose another --name, or remove it by "weft rm ${spec.name}"`,
      );
    }
    const folder = folderOf(ambient, spec.id);
    mkdirSync(folder, { mode: 0o700 });
    const release = await ambient.lock(join(folder, MAKING));
    try {
      writeSpec(folder, spec);
    } catch (error) {
      release();
      rmSync(folder, { recursive: true, force: true });
      throw placed(error, folder);
    }
    return { folder, release };
  } finally {
    releaseAll();
  }
}

/** Held by whoever makes the container. */
const MAKING = 'making';

/** Whether somebody makes it now: a look from outside. */
function isBeingMade(folder: string): boolean {
  if (!existsSync(join(folder, MAKING))) return false;
  const release = tryLock(join(folder, MAKING));
  release?.();
  return release === undefined;
}

/**
 * Ids of containers whose monitor is gone without a word, or whose command never began, and those of folders, and of what else bears an id (`others`), without a
 * container.
 */
export async function abandoned(ambient: Ambient, others: () => readonly string[]): Promise<string[]> {
  if (!existsSync(containersFolder(ambient))) return [...others()];
  // Nobody comes or goes between the looks.
  const release = await ambient.lock(join(containersFolder(ambient), 'lock'));
  try {
    const known = listContainers(ambient);
    const broken = known.filter((one) => {
      // Asked first: the state of one that was made in the meantime would be what it was before.
      if (isBeingMade(one.folder)) return false;
      const { phase, started } = stateOf(one);
      return phase === 'broken' || (phase === 'stopped' && !started);
    });
    const ids = new Set(known.map(({ spec }) => spec.id));
    const lost = [...containerIds(ambient), ...others()].filter((id) => !ids.has(id));
    return [...new Set([...broken.map(({ spec }) => spec.id), ...lost])];
  } finally {
    release();
  }
}

/** An error of writing names no file (write(2)): what is meant then is a file in `folder`. */
export function placed(error: unknown, folder: string): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall !== 'write' || code === undefined) return error;
  return new CniError(ErrorCode.io, `cannot write below ${folder}: ${message}`, undefined, { cause: error });
}

function writeSpec(folder: string, spec: ContainerSpec): void {
  writeFileSync(join(folder, 'spec.new'), `${JSON.stringify(spec, null, 2)}\n`, { mode: 0o600 });
  renameSync(join(folder, 'spec.new'), join(folder, 'spec.json'));
}

/** Every container, the oldest first. A folder without a specification is one that is being made, or what a crash left. */
export function listContainers(ambient: Ambient): StoredContainer[] {
  return containerIds(ambient)
    .flatMap((id): StoredContainer[] => {
      const folder = folderOf(ambient, id);
      try {
        return [
          { folder, spec: JSON.parse(readFileSync(join(folder, 'spec.json'), 'utf8')) as ContainerSpec },
        ];
      } catch {
        return [];
      }
    })
    .sort((a, b) => a.spec.created - b.spec.created);
}

/** Ids of all folders, those without a specification too. */
export function containerIds(ambient: Ambient): string[] {
  const folder = containersFolder(ambient);
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
}

/** By name, id, or the beginning of an id. Throws CniError(unknownContainer) when there is none, or more than one. */
export function findContainer(ambient: Ambient, given: string): StoredContainer {
  const all = listContainers(ambient);
  const exact = all.find(({ spec }) => spec.name === given || spec.id === given);
  if (exact) return exact;
  const found = given === '' ? [] : all.filter(({ spec }) => spec.id.startsWith(given));
  const [first] = found;
  if (first && found.length === 1) return first;
  const names = (some: readonly StoredContainer[]) => some.map(({ spec }) => spec.name).join(', ');
  throw new CniError(
    ErrorCode.unknownContainer,
    first
      ? `${JSON.stringify(given)} may mean ${found.length} containers (${names(found)}): give more of the id, or the name`
      : `there is no container ${JSON.stringify(given)}: ${all.length === 0 ? 'there is none at all' : `there are ${names(all)}`}`,
  );
}

/** What its monitor wrote last, held against whether that monitor still runs. */
export function stateOf({ folder }: Pick<StoredContainer, 'folder'>): ContainerState {
  const status = readStatus(folder);
  if (status === undefined) return { phase: 'broken' };
  const { pid, monitor, ...rest } = status;
  if (status.phase !== 'stopped' && monitor !== undefined && isMonitor(monitor, folder))
    return { ...rest, monitor, ...(pid !== undefined && { pid }) };
  // It may have ended between the two looks; what it wrote last stays.
  const { pid: _, monitor: __, ...last } = readStatus(folder) ?? status;
  if (last.phase !== 'stopped') return { ...last, phase: 'broken' };
  return { ...last, ...(last.started === 0 && { started: undefined }) } as ContainerState;
}

function readStatus(folder: string): ContainerState | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'status'), 'utf8')) as ContainerState;
  } catch {
    return undefined;
  }
}

/** Process ids are given again: it must be a monitor, and this container's. */
function isMonitor(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === folder;
  } catch {
    return false;
  }
}

/** The last of a container: after this nothing tells of it. Who looks for what is abandoned sees all of its folder, or nothing. */
export async function forget(ambient: Ambient, id: string): Promise<void> {
  if (!existsSync(folderOf(ambient, id))) return;
  const release = await ambient.lock(join(containersFolder(ambient), 'lock'));
  try {
    rmSync(folderOf(ambient, id), { recursive: true, force: true });
  } finally {
    release();
  }
}
