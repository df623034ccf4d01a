/**
 * What a demonstration leaves that was killed: a folder with pinned namespaces, programs in them, control groups. Its lock tells: the kernel
 * lets go of it when the process ends, however that ends. A folder without a lock was left standing on purpose (--keep).
 */
import { readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { tryLock } from '../../netlink/lock.ts';
import { removeNamespace } from '../../netlink/namespace.ts';
import { names } from './leftovers.ts';

export const PREFIX = 'weft-demo-';
const CGROUPS = '/sys/fs/cgroup';
/** Milliseconds for processes to end that were killed. */
const PATIENCE = 10_000;
const STEP = 20;

/** Marks a folder as that of a demonstration which runs; the returned function ends that, and leaves the folder to its maker. */
export function claim(folder: string): () => void {
  const lock = join(folder, 'lock');
  const release = tryLock(lock);
  // Who looks before this sees an empty file, and leaves it alone.
  writeFileSync(lock, `${process.pid}\n`);
  return () => {
    rmSync(lock, { force: true });
    release?.();
  };
}

/** Takes away what demonstrations left that have ended without doing so. Returns their folders. Throws CniError. */
export async function collectAbandoned(): Promise<string[]> {
  const gone: string[] = [];
  for (const name of names(tmpdir())) {
    const folder = join(tmpdir(), name);
    if (!name.startsWith(PREFIX) || !isClaimed(folder)) continue;
    const release = tryLock(join(folder, 'lock'));
    if (release === undefined) continue;
    try {
      await takeAway(folder);
      gone.push(folder);
    } finally {
      release();
    }
  }
  return gone;
}

/** Whether a demonstration of this user's said that the folder is its own. */
function isClaimed(folder: string): boolean {
  const own = statSync(folder, { throwIfNoEntry: false });
  if (own?.uid !== process.geteuid?.()) return false;
  return (statSync(join(folder, 'lock'), { throwIfNoEntry: false })?.size ?? 0) > 0;
}

async function takeAway(folder: string): Promise<void> {
  const pins = names(join(folder, 'ns')).map((name) => join(folder, 'ns', name));
  const namespaces = new Set(pins.flatMap((pin) => identity(pin) ?? []));
  const groups = cgroupsOf(basename(folder));
  await endAll(() => [...processesOf(folder, namespaces), ...groups.flatMap(members)]);
  // The deepest first.
  for (const group of groups) rmdirSync(group);
  for (const pin of pins) await removeNamespace(pin);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Kills whom `look` finds, until it finds nobody twice: who was killed may have started somebody before. */
async function endAll(look: () => number[]): Promise<void> {
  for (let waited = 0, empty = 0; waited < PATIENCE; waited += STEP) {
    const found = look();
    empty = found.length === 0 ? empty + 1 : 0;
    if (empty === 2) return;
    for (const pid of found) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, STEP));
  }
  throw new CniError(ErrorCode.io, `processes of a demonstration do not end: ${look().join(' ')}`);
}

/** Processes whose network namespace is one of these, or that are about to enter one; dead ones that nobody waited for have none. */
function processesOf(folder: string, namespaces: ReadonlySet<string>): number[] {
  return names('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter(
      (pid) =>
        namespaces.has(identity(`/proc/${pid}/ns/net`) ?? '') ||
        commandOf(pid).startsWith(`nsenter\0--net=${folder}/`),
    )
    .map(Number);
}

/** Its words, each with a NUL behind it; empty when it is gone. */
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

function identity(file: string): string | undefined {
  try {
    const { dev, ino } = statSync(file);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** Control groups of that name and below, of each hierarchy; the deepest first. */
function cgroupsOf(name: string): string[] {
  const below = (folder: string): string[] => [
    ...folders(folder).flatMap((child) => below(join(folder, child))),
    folder,
  ];
  return ['.', ...folders(CGROUPS)]
    .map((hierarchy) => join(CGROUPS, hierarchy, name))
    .filter((folder) => statSync(folder, { throwIfNoEntry: false }) !== undefined)
    .flatMap(below);
}

function folders(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
}

function members(group: string): number[] {
  try {
    return readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
