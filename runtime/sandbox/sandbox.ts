/**
 * Namespaces without a command: pinned by bind mounts in a folder of their own, to be wired by `weft net add` or by hand. A PID
 * namespace lives only as long as its first process: then a tiny init stays in it.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { makeFolder } from '../../cni/folder.ts';
import { BY_CLONE, NAMESPACE_KINDS, type NamespaceKind } from '../container/spec.ts';
import { createContainer, startContainer } from '../container/start.ts';
import type { Step } from '../container/steps.ts';
import { stateOf } from '../container/store.ts';

export interface Sandbox {
  name: string;
  folder: string;
  /** Each with its identity, `dev:inode`. */
  namespaces: { kind: NamespaceKind; path: string; identity: string }[];
  /** Of the init in its PID namespace. */
  pid?: number;
}

const folderOfAll = ({ paths }: Ambient) => join(paths.runDir, 'sandboxes');
/** Where `ip netns` looks (ip-netns(8)). */
const NETNS_FOLDER = '/run/netns';

function stepsFor(kinds: readonly NamespaceKind[]): Step[] {
  return [
    ...(kinds.includes('time') ? [['unshare', 'time'] satisfies Step] : []),
    ...(kinds.includes('user')
      ? ([
          ['uids', '0 0 4294967295'],
          ['gids', '0 0 4294967295'],
        ] satisfies Step[])
      : []),
    ['clone', ...BY_CLONE.filter((kind) => kinds.includes(kind))],
    ...(kinds.includes('cgroup') ? [['unshare', 'cgroup'] satisfies Step] : []),
    ...(kinds.includes('net') ? [['link-up', 'lo'] satisfies Step] : []),
    ['await'],
    ['session'],
    ['pause'],
  ];
}

/** Throws CniError(invalidConfig) when the name is taken, StartError for a namespace that this kernel refuses; nothing is left then. */
export async function createSandbox(
  ambient: Ambient,
  monitor: string,
  name: string,
  kinds: readonly NamespaceKind[],
): Promise<Sandbox> {
  makeFolder(folderOfAll(ambient), 0o700);
  const folder = join(folderOfAll(ambient), name);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new CniError(
      ErrorCode.invalidConfig,
      `a sandbox is called ${name} already: choose another name, or remove it by "weft sandbox remove ${name}"`,
    );
  }
  try {
    // A mount namespace can only be pinned where mounts are not passed on to others.
    await mount(ambient, '--bind', folder, folder);
    await mount(ambient, '--make-private', folder);
    await makeAndPin(ambient, monitor, folder, kinds);
    if (kinds.includes('net')) nameForIp(name, join(folder, 'net'));
  } catch (error) {
    await removeSandbox(ambient, name);
    throw error;
  }
  return readSandbox(folder, name);
}

/** How often namespaces are made anew for one that cannot be pinned. */
const ATTEMPTS = 20;

/**
 * A mount namespace can be pinned only in one that was numbered before it (fs/namespace.c, mnt_ns_loop), and the kernel numbers them in
 * batches for each CPU: below a mount namespace that is not the first, a new one may have the smaller number. The next may not.
 */
async function makeAndPin(
  ambient: Ambient,
  monitor: string,
  folder: string,
  kinds: readonly NamespaceKind[],
): Promise<void> {
  const steps = stepsFor(kinds);
  // The one that may have to be made again comes first: then nothing else is pinned.
  const order = [...kinds].sort((a, b) => Number(b === 'mnt') - Number(a === 'mnt'));
  for (let attempt = 1; ; attempt++) {
    const created = await createContainer(monitor, folder, steps, ambient.env);
    try {
      for (const kind of order) await pin(ambient, folder, created.pid, kind);
    } catch (error) {
      created.client.close();
      if (attempt === ATTEMPTS || order[0] !== 'mnt' || isPinned(folder, order[1])) throw error;
      continue;
    }
    if (kinds.includes('pid')) {
      created.client.letStay();
      await startContainer(created, steps);
    }
    created.client.close();
    return;
  }
}

const isPinned = (folder: string, kind: NamespaceKind | undefined) =>
  kind !== undefined && existsSync(join(folder, kind));

async function pin(ambient: Ambient, folder: string, pid: number, kind: NamespaceKind): Promise<void> {
  const file = join(folder, kind);
  writeFileSync(file, '', { mode: 0o600 });
  const own = `/proc/${pid}/ns/${kind === 'time' ? 'time_for_children' : kind}`;
  await mount(ambient, '--bind', own, file);
}

/** `ip netns` shows it by a link, unless that name is somebody else's. */
function nameForIp(name: string, pin: string): void {
  mkdirSync(NETNS_FOLDER, { recursive: true });
  const link = join(NETNS_FOLDER, name);
  if (!lstatSync(link, { throwIfNoEntry: false })) symlinkSync(pin, link);
}

async function mount(ambient: Ambient, ...args: string[]): Promise<void> {
  const { status, stderr } = await ambient.run('mount', args);
  if (status !== 0)
    throw new CniError(ErrorCode.io, `cannot pin a namespace: mount ${args.join(' ')}: ${stderr.trim()}`);
}

/** Every sandbox, by name. */
export function listSandboxes(ambient: Ambient): Sandbox[] {
  const all = folderOfAll(ambient);
  if (!existsSync(all)) return [];
  return readdirSync(all)
    .sort()
    .map((name) => readSandbox(join(all, name), name));
}

function readSandbox(folder: string, name: string): Sandbox {
  const namespaces = NAMESPACE_KINDS.flatMap((kind) => {
    const path = join(folder, kind);
    const found = statSync(path, { throwIfNoEntry: false });
    return found ? [{ kind, path, identity: `${found.dev}:${found.ino}` }] : [];
  });
  const pid = pidOf(folder);
  return { name, folder, namespaces, ...(pid !== undefined && { pid }) };
}

/** Of the first process, while the monitor that waits for it is there. */
function pidOf(folder: string): number | undefined {
  const { phase, pid } = stateOf({ folder });
  return phase === 'running' ? pid : undefined;
}

/** Repeatable; takes away what a crash left half made. Returns whether there was one. Throws CniError(io). */
export async function removeSandbox(ambient: Ambient, name: string): Promise<boolean> {
  const folder = join(folderOfAll(ambient), name);
  if (!existsSync(folder)) return false;
  const pid = pidOf(folder);
  if (pid !== undefined) process.kill(pid, 'SIGKILL');
  const link = join(NETNS_FOLDER, name);
  if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() && dirname(readlinkSync(link)) === folder)
    rmSync(link);
  // Pins are below: they go with it.
  for (let times = 0; times < 3 && (await ambient.run('umount', ['-l', folder])).status === 0; times++);
  rmSync(folder, { recursive: true, force: true });
  return true;
}
