/** From a specification to a running container, and from an ended one to nothing. */

import { mkdirSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addressOf } from '../../cni/prefix.ts';
import { resultAddresses } from '../cache.ts';
import {
  type Cgroups,
  cgroupFolders,
  cgroupIds,
  cgroupsOf,
  makeCgroups,
  processesIn,
  removeFolders,
} from '../cgroup/cgroups.ts';
import type { Caller } from '../execution.ts';
import { mountOfRoot, prepareRoot, removeWritten, writtenIds } from '../rootfs/rootfs.ts';
import { containerSteps, type Prepared } from './container-steps.ts';
import type { Taken } from './devices.ts';
import { limitedFiles } from './limited-files.ts';
import { type Attached, attach, detach, detachUnfinished, networksOf } from './networks.ts';
import type { ContainerSpec } from './spec.ts';
import { type Created, createContainer, startContainer } from './start.ts';
import type { Step } from './steps.ts';
import {
  abandoned,
  cgroupParent,
  claim,
  folderOf,
  forget,
  listContainers,
  placed,
  stateOf,
  storeFolder,
} from './store.ts';
import { connectUserspace, endUserspace } from './userspace-network.ts';

/** Who makes containers, and by which programs. */
export interface Maker extends Caller {
  /** weft-monitor. */
  monitor: string;
  /** Instructions of the filter of system calls (struct sock_filter). */
  filter: Uint8Array;
  /** The `weft` executable: the monitor runs it when a container has ended. */
  weft: string;
}

/** Of the terminal that it is started from. */
export interface Window {
  rows: number;
  columns: number;
}

/** A container that waits for its start. */
export interface Made {
  spec: ContainerSpec;
  steps: readonly Step[];
  created: Created;
  attached: readonly Attached[];
}

/**
 * Makes everything but the command's run: folder, cgroups, file system, namespaces, networks. Throws StartError or CniError; nothing is
 * left then.
 */
export async function make(maker: Maker, spec: ContainerSpec, window?: Window): Promise<Made> {
  const { ambient } = maker;
  const lists = await networksOf(maker, spec);
  const { folder, release } = await claim(ambient, spec);
  try {
    const steps = containerSteps(spec, prepare(maker, spec, folder, window));
    const created = await createContainer(maker.monitor, folder, steps, ambient.env);
    const attached = await attach(maker, spec, lists, created.pid);
    if (spec.userspaceNetwork) await connectUserspace(maker, spec, folder, created.pid);
    writeHosts(spec, folder, attached);
    return { spec, steps, created, attached };
  } catch (error) {
    await remove(maker, spec.id);
    throw placed(error, folder);
  } finally {
    release();
  }
}

/** The command runs after it. Throws StartError; nothing is left then. */
export async function start(maker: Maker, { created, steps, spec }: Made): Promise<void> {
  try {
    await startContainer(created, steps);
  } catch (error) {
    created.client.close();
    await remove(maker, spec.id);
    throw error;
  }
}

function prepare(maker: Maker, spec: ContainerSpec, folder: string, window: Window | undefined): Prepared {
  const { folders: cgroups, oomFile } = limitsOf(maker, spec);
  const own = spec.namespaces.includes('mnt');
  if (own) prepareRoot(spec, folder, storeFolder(maker.ambient));
  return {
    ...named(maker, spec, folder),
    cgroups,
    ...(oomFile !== undefined && { oomFile }),
    taken: own ? [...limitedFiles(), ...mountsOf(spec), ...filesOf(spec, folder)] : [],
    ...window,
  };
}

/** What depends on nothing that is made. */
function named(maker: Maker, spec: ContainerSpec, folder: string) {
  return {
    ...(spec.namespaces.includes('mnt')
      ? mountOfRoot(spec, folder, storeFolder(maker.ambient))
      : { root: '/', rootSteps: [] }),
    filter: maker.filter,
    ended: [maker.weft, '__ended', spec.id],
    unprivileged: spec.unprivileged,
  };
}

/** The steps of a container's start, for people: nothing is made, and what is made for it is named as it would be. */
export function plannedSteps(maker: Maker, spec: ContainerSpec): Step[] {
  const { ambient } = maker;
  const { id, limits } = spec;
  return containerSteps(spec, {
    ...named(maker, spec, folderOf(ambient, id)),
    cgroups: spec.unprivileged ? [] : cgroupFolders(id, limits, cgroupParent(ambient)),
    taken: spec.namespaces.includes('mnt') ? mountsOf(spec) : [],
  });
}

/** Without root there is no group to put it in. Throws CniError(unsupportedField) where a limit is asked for. */
function limitsOf({ ambient }: Maker, { id, limits, unprivileged }: ContainerSpec): Cgroups {
  if (!unprivileged) return makeCgroups(id, limits, cgroupParent(ambient));
  if (Object.keys(limits).length === 0) return { folders: [] };
  throw new CniError(
    ErrorCode.unsupportedField,
    `limits (${Object.keys(limits).join(', ')}) are kept by control groups, which only root can make: leave them out, or run weft as root`,
  );
}

/** Throws CniError(invalidConfig) for a source that is not there. */
function mountsOf({ mounts }: ContainerSpec): Taken[] {
  return mounts.map(({ source, destination, readOnly }) => {
    try {
      const real = realpathSync(source);
      const options = readOnly ? 'ro,nosuid,nodev' : 'nosuid,nodev';
      return { source: real, destination, options, folder: statSync(real).isDirectory() };
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new CniError(
        ErrorCode.invalidConfig,
        `cannot mount ${source} at ${destination}: ${code === 'ENOENT' ? 'there is no such file or folder' : code}`,
        undefined,
        { cause },
      );
    }
  });
}

/** Files that every container has of its own, unless something is mounted over them. */
function filesOf(spec: ContainerSpec, folder: string): Taken[] {
  const own = join(folder, 'etc');
  mkdirSync(own, { mode: 0o755 });
  const files: [string, string][] = [
    ['hostname', `${spec.hostname}\n`],
    ['hosts', `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n`],
    ...(spec.dns.length > 0
      ? [['resolv.conf', spec.dns.map((server) => `nameserver ${server}\n`).join('')] as [string, string]]
      : []),
  ];
  return files
    .filter(([name]) => !spec.mounts.some(({ destination }) => destination === `/etc/${name}`))
    .map(([name, text]) => {
      writeFileSync(join(own, name), text, { mode: 0o644 });
      return { source: join(own, name), destination: `/etc/${name}`, options: 'nosuid,nodev', folder: false };
    });
}

/** Its own name, once its addresses are known: written into the same file, which is mounted already. */
function writeHosts(spec: ContainerSpec, folder: string, attached: readonly Attached[]): void {
  if (!spec.namespaces.includes('mnt')) return;
  const addresses = attached.flatMap(({ result }) => resultAddresses(result).map(addressOf));
  const lines = addresses.map(
    (address) => `${address}\t${[...new Set([spec.hostname, spec.name])].join(' ')}\n`,
  );
  writeFileSync(join(folder, 'etc/hosts'), lines.join(''), { flag: 'a' });
}

/** Milliseconds between two looks, and how often, until what was killed is gone. */
const LOOK = 5;
const LOOKS = 2000;

/** Ends whatever is left in its cgroups, and takes them away. Throws CniError(io) when something does not end. */
async function endProcesses(maker: Maker, id: string): Promise<void> {
  const parent = cgroupParent(maker.ambient);
  let left = cgroupsOf(id, parent);
  for (let look = 0; left.length > 0 && look < LOOKS; look++) {
    for (const pid of processesIn(left)) kill(pid);
    left = removeFolders(left);
    if (left.length > 0) await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
  if (left.length === 0) return;
  throw new CniError(
    ErrorCode.io,
    `processes of container ${id} do not end: ${processesIn(left).join(', ')}`,
    left.join(' '),
  );
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It went by itself.
  }
}

/** After its end: networks and cgroups go; its files, output and exit status stay. Repeatable. Returns what could not be done. */
export async function clean(maker: Maker, id: string): Promise<CniError[]> {
  endUserspace(folderOf(maker.ambient, id));
  await endProcesses(maker, id);
  const errors = await detach(maker, id);
  const unfinished = listContainers(maker.ambient).find(
    (one) => one.spec.id === id && !stateOf(one).started && one.spec.networks.length > 0,
  );
  return unfinished ? [...errors, ...(await detachUnfinished(maker, unfinished.spec))] : errors;
}

/** Everything of a container goes. Repeatable; goes by the id alone. Throws CniError with all that could not be done; then it is tried again by the next. */
export async function remove(maker: Maker, id: string): Promise<void> {
  const errors = await clean(maker, id);
  if (errors.length > 0) {
    throw new CniError(
      ErrorCode.io,
      `container ${id.slice(0, 12)} is not wholly removed: ${errors.map(({ message }) => message).join('; ')}`,
    );
  }
  removeWritten(storeFolder(maker.ambient), id);
  await forget(maker.ambient, id);
}

/** What nobody will clean up any more: containers whose monitor died, and what a crash left without a container. Returns their ids. */
export async function collect(maker: Maker): Promise<string[]> {
  const { ambient } = maker;
  const others = () => [...cgroupIds(cgroupParent(ambient)), ...writtenIds(storeFolder(ambient))];
  const gone = await abandoned(ambient, others);
  for (const id of gone) await remove(maker, id);
  return gone;
}
