/** The mounts of a bundle as steps (config.md, "Mounts"). Pure: what must be looked up on the host is given. */
import { basename, join, resolve } from 'node:path';
import type { Taken } from '../container/devices.ts';
import type { Step } from '../container/steps.ts';
import { OciError, type OciMount } from './bundle.ts';

/** Options that are words for weft-monitor (runtime/native/mounts.cc). */
const FLAGS = [
  'ro',
  'nosuid',
  'nodev',
  'noexec',
  'relatime',
  'strictatime',
  'noatime',
  'nodiratime',
  'sync',
  'dirsync',
  'lazytime',
  'nosymfollow',
];
/** They ask for what is so anyway. `tmpcopyup`: what an image has at the place of a tmpfs is not copied into it. */
const NOTHING_TO_DO = [
  'rw',
  'suid',
  'dev',
  'exec',
  'async',
  'atime',
  'diratime',
  'norelatime',
  'nostrictatime',
  'nolazytime',
  'symfollow',
  'noiversion',
  'nomand',
  'loud',
  'silent',
  'defaults',
  'tmpcopyup',
  'remount',
];
const PROPAGATION: Readonly<Record<string, 'private' | 'slave' | 'shared'>> = {
  private: 'private',
  rprivate: 'private',
  slave: 'slave',
  rslave: 'slave',
  shared: 'shared',
  rshared: 'shared',
};
/** All that is understood. */
export const MOUNT_OPTIONS: readonly string[] = [
  ...['bind', 'rbind'],
  ...FLAGS,
  ...FLAGS.map((flag) => `r${flag}`),
  ...NOTHING_TO_DO,
  ...Object.keys(PROPAGATION),
].sort();

const UNSUPPORTED = [
  ...['unbindable', 'runbindable', 'idmap', 'ridmap', 'mand', 'iversion'],
  ...['rrw', 'rsuid', 'rdev', 'rexec', 'rsymfollow'],
];

interface Options {
  flags: string[];
  /** Of the file system's own. */
  data: string;
  bind: boolean;
  /** With what is mounted below. */
  deep: boolean;
  /** Flags hold for what is mounted below, too. */
  everywhere: boolean;
  propagation?: 'private' | 'slave' | 'shared';
}

/** Throws OciError for an option that cannot be kept. */
export function optionsOf({ destination, type, options }: OciMount): Options {
  const found: Options = { flags: [], data: '', bind: type === 'bind', deep: false, everywhere: false };
  const data: string[] = [];
  for (const option of options ?? []) {
    const propagation = PROPAGATION[option];
    if (UNSUPPORTED.includes(option))
      throw new OciError(`the mount at ${destination} has the option ${option}: not supported`);
    if (option === 'bind' || option === 'rbind') {
      found.bind = true;
      found.deep ||= option === 'rbind';
    } else if (propagation) found.propagation = propagation;
    else if (FLAGS.includes(option)) found.flags.push(option);
    else if (option.startsWith('r') && FLAGS.includes(option.slice(1))) {
      found.flags.push(option.slice(1));
      found.everywhere = true;
    } else if (!NOTHING_TO_DO.includes(option)) data.push(option);
  }
  found.data = data.join(',');
  return found;
}

/** What of the host the mounts depend on. */
export interface MountGround {
  /** The bundle's folder: relative sources are below it. */
  bundle: string;
  isFolder(path: string): boolean;
  /** Folders of the container's cgroups, and the names by which they are known below /sys/fs/cgroup. */
  cgroups: readonly { folder: string; name: string; version: 1 | 2 }[];
}

export interface MountSteps {
  /** What of the host is shown; the number of a `place` is an index here. */
  taken: Taken[];
  /** After `pivot`, in the order of the bundle. */
  steps: Step[];
  /** After everything else: what is read-only only once it is filled. */
  last: Step[];
}

/** Throws OciError. */
export function mountSteps(mounts: readonly OciMount[], ground: MountGround): MountSteps {
  const made: MountSteps = { taken: [], steps: [], last: [] };
  for (const mount of mounts) {
    const options = optionsOf(mount);
    if (options.bind) bindMount(made, mount, options, ground);
    else if (mount.type === 'cgroup' || mount.type === 'cgroup2') cgroupMounts(made, mount, options, ground);
    else fileSystem(made, mount, options);
  }
  return made;
}

/** Takes a folder or a file of the host, and shows it inside. */
export function show(made: Pick<MountSteps, 'taken' | 'steps'>, what: Taken): void {
  made.steps.push(what.folder ? ['folder', what.destination, 0o755] : ['file', what.destination], [
    'place',
    made.taken.length,
    what.destination,
  ]);
  made.taken.push(what);
}

function bindMount(
  made: MountSteps,
  { source = '', destination }: OciMount,
  options: Options,
  ground: MountGround,
): void {
  const { flags, deep, everywhere, propagation } = options;
  const words = [
    ...flags,
    ...(deep ? (everywhere ? [] : ['top']) : ['flat']),
    ...(propagation ? [propagation] : []),
  ];
  const path = resolve(ground.bundle, source);
  show(made, { source: path, destination, options: words.join(','), folder: ground.isFolder(path) });
}

function fileSystem(
  { steps, last }: MountSteps,
  { destination, type = '', source }: OciMount,
  options: Options,
): void {
  const { flags, data, propagation } = options;
  // Below it there may be something to be made still.
  const later = type === 'tmpfs' && flags.includes('ro');
  const now = later ? flags.filter((flag) => flag !== 'ro') : flags;
  steps.push(
    ['folder', destination, 0o755],
    ['mount', source ?? type, destination, type, now.join(','), data],
  );
  if (propagation && propagation !== 'private') steps.push(['propagation', destination, propagation]);
  if (later) last.push(['remount', destination, 'ro']);
}

/**
 * The container's own groups are shown, each where the host has the hierarchy: with a cgroup namespace the kernel would show the same
 * when it is mounted anew.
 */
function cgroupMounts(
  made: MountSteps,
  { destination }: OciMount,
  { flags }: Options,
  { cgroups }: MountGround,
): void {
  const words = ['flat', ...flags.filter((flag) => flag !== 'relatime')].join(',');
  const only = cgroups.length === 1 ? cgroups[0] : undefined;
  if (only?.version === 2) {
    show(made, { source: only.folder, destination, options: words, folder: true });
    return;
  }
  made.steps.push(
    ['folder', destination, 0o755],
    ['mount', 'tmpfs', destination, 'tmpfs', 'nosuid,nodev,noexec', 'mode=755'],
  );
  for (const { folder, name } of cgroups) {
    const place = basename(name);
    show(made, { source: folder, destination: join(destination, place), options: words, folder: true });
    // cpu,cpuacct is known by each of its names.
    const parts = place.split(',');
    if (parts.length > 1)
      made.steps.push(...parts.map((part): Step => ['link', place, join(destination, part)]));
  }
  if (flags.includes('ro')) made.last.push(['remount', destination, 'ro']);
}
