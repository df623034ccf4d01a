/** What an OCI runtime is asked for (runtime.md, "Operations"), with the words that runc's callers know. */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Created, createContainer, StartError, startContainer } from '../container/start.ts';
import { decodeSteps, type Step } from '../container/steps.ts';
import { accountOf } from '../image/users.ts';
import { assertProfile } from './apparmor.ts';
import { type OciConfig, OciError, readBundle } from './bundle.ts';
import { bundleSteps } from './bundle-steps.ts';
import { compileFilter } from './filter.ts';
import { startAtGate } from './gate.ts';
import { foldersOf, makeBundleGroups, processesOf, removeGroups, setFrozen } from './groups.ts';
import { runHooks } from './hooks.ts';
import { namespacesOf } from './namespaces.ts';
import {
  cgroupPathOf,
  folderOf,
  forget,
  freezerOf,
  type Kept,
  keep,
  load,
  makeFolder,
  processStat,
  type Status,
  stateText,
  statusOf,
} from './state.ts';

/** Where everything is. */
export interface Home {
  /** State of all containers (--root). */
  root: string;
  /** The executables' folder. */
  programs: string;
  /** A warning that is worth no failure. */
  warn(text: string): void;
}

export interface CreateOptions {
  bundle: string;
  pidFile?: string;
  consoleSocket?: string;
  preserved: number;
}

/** Milliseconds until what was killed must be gone. */
const PATIENCE = 10_000;

/** The container is made; its command waits for `start`. Throws OciError, CniError; then nothing is left. */
export async function create(home: Home, id: string, options: CreateOptions): Promise<void> {
  const bundle = resolve(options.bundle);
  const config = readBundle(bundle);
  assertProfile(config.process?.apparmorProfile);
  const cgroup = cgroupPathOf(config, id);
  // What is in them is ended when the container is removed.
  if (processesOf(cgroup).length > 0)
    throw new OciError(`the control group ${cgroup} is somebody else's: there are processes in it`);
  const folder = makeFolder(home.root, id);
  let pid: number | undefined;
  try {
    const kept = await prepare(home, { ...options, bundle }, config, { id, cgroup, folder });
    pid = kept.pid;
    if (options.pidFile !== undefined) writePid(options.pidFile, pid);
    keep(home.root, kept, foldersOf(cgroup));
  } catch (error) {
    if (pid !== undefined) signal(pid, 'SIGKILL');
    await removeGroups(cgroup, PATIENCE);
    forget(home.root, id);
    throw error;
  }
}

async function prepare(
  home: Home,
  options: CreateOptions,
  config: OciConfig,
  { id, cgroup, folder }: { id: string; cgroup: string; folder: string },
): Promise<Kept> {
  const { bundle, consoleSocket, preserved } = options;
  const rootfs = resolve(bundle, config.root?.path ?? '');
  const annotations = config.annotations ?? {};
  const filter = await compileFilter(home, config.linux?.seccomp, folder);
  const groups = makeBundleGroups(config, cgroup);
  const steps = bundleSteps(config, {
    ...{ bundle, preserved, isFolder, cgroups: groups.shown, cgroupFolders: groups.folders },
    ...{ withheld: groups.withheld, home: homeOf(config.process?.user?.uid, rootfs) },
    ...(filter && { filter }),
    ...(consoleSocket !== undefined && { consoleSocket: resolve(consoleSocket) }),
    state: stateText({ id, bundle, annotations }, 'creating'),
  });
  const pid = await bear(home, folder, steps, preserved, async (pid) => {
    const state = stateText({ id, bundle, annotations }, 'creating', pid);
    await runHooks('prestart', config.hooks?.prestart, state, bundle);
    await runHooks('createRuntime', config.hooks?.createRuntime, state, bundle);
  });
  return {
    ...{ id, bundle, rootfs, pid, cgroup, annotations, withheld: groups.withheld },
    created: new Date().toISOString(),
    started: processStat(pid)?.started ?? '',
    namespaces: namespacesOf(config).all,
    hooks: config.hooks ?? {},
  };
}

/**
 * Starts the monitor on the steps; `between` is done while the first process waits for the first time. Returns its number once the
 * monitor goes. Throws OciError.
 */
export async function bear(
  home: Home,
  folder: string,
  steps: readonly Step[],
  preserved: number,
  between?: (pid: number) => Promise<void>,
): Promise<number> {
  let created: Created | undefined;
  const streams = [
    'inherit',
    'inherit',
    'inherit',
    'pipe',
    ...Array.from({ length: preserved }, (_, at) => at + 3),
  ] as const;
  try {
    created = await createContainer(join(home.programs, 'weft-monitor'), folder, steps, {}, [...streams]);
    await between?.(created.pid);
    await startContainer(created, steps);
    return created.pid;
  } catch (error) {
    throw error instanceof StartError ? inTheirWords(error, steps) : error;
  } finally {
    created?.client.close();
  }
}

/** Podman reads from these words whether a command is missing (127) or cannot be run (126). */
export function inTheirWords(error: StartError, steps: readonly Step[]): OciError {
  const { errno } = error;
  const step = steps[error.index];
  if (step?.[0] !== 'look' && step?.[0] !== 'exec') return new OciError(error.message, { cause: error });
  const name = String(step[0] === 'look' ? step[1] : step[2]);
  const words =
    errno === 'ENOENT'
      ? name.includes('/')
        ? `stat ${name}: no such file or directory`
        : 'executable file not found in $PATH'
      : errno === 'EACCES'
        ? 'permission denied'
        : errno;
  return new OciError(`exec: ${JSON.stringify(name)}: ${words}`, { cause: error });
}

/** A user's home as the container's own /etc/passwd has it. */
export function homeOf(uid = 0, rootfs: string): string {
  return accountOf(String(uid), [rootfs]).home;
}

const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** The reader may look at any moment. */
export function writePid(file: string, pid: number): void {
  writeFileSync(`${file}.new`, String(pid));
  renameSync(`${file}.new`, file);
}

/** Throws OciError for what was told at the gate: its command cannot be run. */
export function startFailed(home: Home, id: string, fault: { step: number; errno: number }): never {
  const steps = decodeSteps(readFileSync(join(folderOf(home.root, id), 'steps')));
  throw inTheirWords(new StartError(steps, fault.step, fault.errno), steps);
}

/** Throws OciError when it is not `created`, or its command cannot be run. */
export async function start(home: Home, id: string): Promise<void> {
  const kept = load(home.root, id);
  const status = statusOf(home.root, kept);
  if (status !== 'created')
    throw new OciError(`cannot start a container that is not created: it is ${status}`);
  const fault = await startAtGate(folderOf(home.root, id));
  if (fault) startFailed(home, id, fault);
  try {
    const state = stateText(kept, 'running', kept.pid);
    await runHooks('poststart', kept.hooks.poststart, state, kept.bundle);
  } catch (error) {
    home.warn((error as Error).message);
  }
}

/** Throws OciError when it does not run. */
export function kill(home: Home, id: string, name: string, all: boolean): void {
  const kept = load(home.root, id);
  const which = signalOf(name);
  if (all) {
    for (const pid of processesOf(kept.cgroup)) signal(pid, which);
    return;
  }
  const status = statusOf(home.root, kept);
  if (status === 'stopped') throw new OciError('container not running');
  signal(kept.pid, which);
}

/** Throws OciError for a word that names none. */
function signalOf(name: string): NodeJS.Signals | number {
  if (/^\d+$/.test(name)) return Number(name);
  const upper = name.toUpperCase();
  return (upper.startsWith('SIG') ? upper : `SIG${upper}`) as NodeJS.Signals;
}

function signal(pid: number, which: NodeJS.Signals | number): void {
  try {
    process.kill(pid, which);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') return;
    if (code === 'ERR_UNKNOWN_SIGNAL' || code === 'EINVAL')
      throw new OciError(`unknown signal ${JSON.stringify(which)}`);
    throw error;
  }
}

/** Takes away what is left of a container that has ended; with `force`, of any. Throws OciError. */
export async function remove(home: Home, id: string, force: boolean): Promise<void> {
  let kept: Kept | undefined;
  try {
    kept = load(home.root, id);
  } catch (error) {
    if (!force) throw error;
    forget(home.root, id);
    return;
  }
  const status = statusOf(home.root, kept);
  if (status !== 'stopped' && status !== 'created' && !force)
    throw new OciError(`cannot delete container ${id} that is not stopped: ${status}`);
  if (status === 'paused') freeze(home, id, false);
  if (status !== 'stopped') {
    signal(kept.pid, 'SIGKILL');
    await ended(home, kept);
  }
  const left = await removeGroups(kept.cgroup, PATIENCE);
  if (left.length > 0)
    throw new OciError(`the control groups of container ${id} are still in use: ${left.join(', ')}`);
  forget(home.root, id);
  try {
    await runHooks('poststop', kept.hooks.poststop, stateText(kept, 'stopped'), kept.bundle);
  } catch (error) {
    home.warn((error as Error).message);
  }
}

async function ended(home: Home, kept: Kept): Promise<void> {
  for (let waited = 0; statusOf(home.root, kept) !== 'stopped' && waited < PATIENCE; waited += 5)
    await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Throws OciError where it does not run, or the kernel cannot. */
export function freeze(home: Home, id: string, frozen: boolean): void {
  const kept = load(home.root, id);
  const status: Status = statusOf(home.root, kept);
  if (status !== (frozen ? 'running' : 'paused'))
    throw new OciError(`container ${id} is ${status}: it cannot be ${frozen ? 'paused' : 'resumed'}`);
  const freezer = freezerOf(kept.cgroup);
  if (!freezer) throw new OciError('this kernel has no freezer: containers cannot be paused');
  setFrozen(freezer, frozen);
}
