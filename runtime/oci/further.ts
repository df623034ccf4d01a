/** A further process in a container that runs (runc's `exec`). */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { enterSteps } from '../container/container-steps.ts';
import { createContainer, StartError, startContainer } from '../container/start.ts';
import { assertProfile } from './apparmor.ts';
import { OciError, type OciProcess, processFaults } from './bundle.ts';
import { furtherSteps } from './bundle-steps.ts';
import { keptFilter } from './filter.ts';
import { foldersOf } from './groups.ts';
import { bear, type Home, homeOf, inTheirWords, writePid } from './operations.ts';
import { folderOf, load, statusOf } from './state.ts';

export interface ExecOptions {
  pidFile?: string;
  consoleSocket?: string;
  preserved: number;
  /** The caller's caller is its parent; else its end is waited for. */
  detached: boolean;
}

/** Its exit status; 0 when it is detached. Throws OciError. */
export async function exec(
  home: Home,
  id: string,
  process: OciProcess,
  options: ExecOptions,
): Promise<number> {
  const kept = load(home.root, id);
  const status = statusOf(home.root, kept);
  if (status !== 'running' && status !== 'created')
    throw new OciError(`cannot exec in a container that is ${status}`);
  const faults = processFaults(process);
  if (faults.length > 0) throw new OciError(faults.join('; '));
  assertProfile(process.apparmorProfile);
  const container = folderOf(home.root, id);
  const own = join(container, 'exec', randomBytes(6).toString('hex'));
  const filter = keptFilter(container);
  const { detached, preserved, pidFile, consoleSocket } = options;
  const steps = furtherSteps(process, enterSteps(kept.pid, kept.namespaces), {
    ...{ detached, preserved, cgroupFolders: foldersOf(kept.cgroup), withheld: kept.withheld },
    home: homeOf(process.user?.uid, `/proc/${kept.pid}/root`),
    ...(filter && { filter }),
    ...(consoleSocket !== undefined && { consoleSocket: resolve(consoleSocket) }),
  });
  mkdirSync(own, { recursive: true, mode: 0o700 });
  try {
    if (!detached) return await attached(home, own, steps, pidFile);
    const pid = await bear(home, own, steps, preserved);
    if (pidFile !== undefined) writePid(pidFile, pid);
    return 0;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

async function attached(
  home: Home,
  folder: string,
  steps: ReturnType<typeof furtherSteps>,
  pidFile: string | undefined,
): Promise<number> {
  try {
    const monitor = join(home.programs, 'weft-monitor');
    const created = await createContainer(monitor, folder, steps, {}, [
      'inherit',
      'inherit',
      'inherit',
      'pipe',
    ]);
    if (pidFile !== undefined) writePid(pidFile, created.pid);
    await startContainer(created, steps);
    for await (const told of created.told) if (told.kind === 'ended') return told.status;
    throw new OciError('the monitor of the command went away');
  } catch (error) {
    throw error instanceof StartError ? inTheirWords(error, steps) : error;
  }
}
