/** What `weft run` was asked for, as a specification. */
import { randomBytes } from 'node:crypto';
import type { Ambient } from '../../cni/ambient.ts';
import { DEFAULT_CAPABILITIES } from '../../runtime/container/capabilities.ts';
import type {
  ContainerSpec,
  IdRange,
  NamespaceKind,
  RootSource,
  User,
} from '../../runtime/container/spec.ts';
import { USERSPACE_NETWORKS } from '../../runtime/container/userspace-network.ts';
import { UsageError } from '../context.ts';
import type { RunFlags } from './flags.ts';
import { givenVariables, laterWin } from './variables.ts';

/** Without --ns: all but the user namespace, in which files of the host would belong to nobody, and time. */
const DEFAULT_NAMESPACES: readonly NamespaceKind[] = ['net', 'pid', 'mnt', 'uts', 'ipc', 'cgroup'];
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Where ids of a user namespace begin on the host; enough for every id that images use. */
const MAPPED: readonly IdRange[] = [{ inside: 0, outside: 100_000, count: 65_536 }];

export function makeId(): string {
  return randomBytes(32).toString('hex');
}

/** Without root: only its own id can be mapped, and a user namespace is what gives any power. */
function own(id: number): readonly IdRange[] {
  return [{ inside: 0, outside: id, count: 1 }];
}

/** Who makes the container. */
export interface Person {
  uid: number;
  gid: number;
}

/** What an image or the user's own words say of the command. */
export interface Defaults {
  root: RootSource;
  /** Stands before the command's words. */
  entrypoint: readonly string[];
  /** When none is given. */
  command: readonly string[];
  env: readonly string[];
  cwd: string;
  user: User;
}

/** Throws UsageError when there is no command. */
export function specification(
  ambient: Ambient,
  flags: RunFlags,
  words: readonly string[],
  defaults: Defaults,
  person: Person,
  id = makeId(),
): ContainerSpec {
  const [first, ...rest] = commandOf(flags.entrypoint, words, defaults);
  if (first === undefined) throw new UsageError('which command? give one after the options, such as "sh"');
  const unprivileged = person.uid !== 0;
  const asked = flags.ns ?? DEFAULT_NAMESPACES;
  const namespaces = unprivileged
    ? [...new Set<NamespaceKind>([...asked, 'user', 'mnt', 'pid'])].filter(
        (kind) => kind !== 'cgroup' && kind !== 'time',
      )
    : asked;
  assertFits(flags, namespaces);
  if (unprivileged) assertPossible(flags, defaults);
  else if (flags.net?.includes('pasta'))
    throw new UsageError(
      "--net pasta: started by root it gives up root, and reaches no container of root's; --net slirp4netns does, --net demo is a network of the host",
    );
  const name = flags.name ?? id.slice(0, 12);
  const { cpus, memory, pids, cpuset } = flags;
  return {
    id,
    name,
    created: ambient.now(),
    command: [first, ...rest],
    env: laterWin([
      DEFAULT_PATH,
      ...(flags.tty ? ['TERM=xterm'] : []),
      ...defaults.env,
      ...givenVariables(flags.env, ambient.env),
    ]),
    cwd: flags.workdir ?? defaults.cwd,
    user: defaults.user,
    hostname: flags.hostname ?? name.replaceAll(/[^a-zA-Z0-9.-]/g, '-'),
    ...capabilitiesOf(flags),
    namespaces,
    ...(namespaces.includes('user') &&
      (unprivileged ? { uids: own(person.uid), gids: own(person.gid) } : { uids: MAPPED, gids: MAPPED })),
    unprivileged,
    root: defaults.root,
    // The host's own tree is shown then, not a layer above it.
    readOnly: flags.readOnly ?? (unprivileged && defaults.root.kind === 'host'),
    mounts: flags.volume ?? [],
    limits: {
      ...(cpus !== undefined && { cpus }),
      ...(memory !== undefined && { memory }),
      ...(pids !== undefined && { pids }),
      ...(cpuset !== undefined && { cpuset }),
      ...(flags.io !== undefined && { io: flags.io }),
    },
    sysctls: Object.fromEntries(flags.sysctl ?? []),
    networks: (flags.net ?? []).filter((name) => !isUserspace(name)),
    ...userspaceOf(flags),
    ports: flags.publish ?? [],
    dns: flags.dns ?? [],
    terminal: flags.tty ?? false,
    interactive: flags.interactive ?? false,
    init: flags.init ?? false,
    remove: flags.rm ?? false,
  };
}

/** An entry point of one's own takes the image's command away with its entry point, as others do. */
function commandOf(entrypoint: string | undefined, words: readonly string[], defaults: Defaults): string[] {
  if (entrypoint === undefined)
    return [...defaults.entrypoint, ...(words.length > 0 ? words : defaults.command)];
  return [...(entrypoint === '' ? [] : [entrypoint]), ...words];
}

/** What is added counts, whatever is dropped. */
function capabilitiesOf({ capAdd = [], capDrop = [] }: RunFlags): Pick<ContainerSpec, 'capabilities'> {
  if (capAdd.length + capDrop.length === 0) return {};
  const kept = DEFAULT_CAPABILITIES.filter((name) => !capDrop.includes(name) && !capDrop.includes('ALL'));
  return { capabilities: [...new Set([...kept, ...capAdd])] };
}

const isUserspace = (name: string): name is (typeof USERSPACE_NETWORKS)[number] =>
  (USERSPACE_NETWORKS as readonly string[]).includes(name);

function userspaceOf(flags: RunFlags): Pick<ContainerSpec, 'userspaceNetwork'> {
  const [first] = (flags.net ?? []).filter(isUserspace);
  return first === undefined ? {} : { userspaceNetwork: first };
}

/** Throws UsageError for what only root can have. */
function assertPossible(flags: RunFlags, { user, root }: Defaults): void {
  const network = flags.net?.find((name) => !isUserspace(name));
  if (network !== undefined)
    throw new UsageError(
      `--net ${network} is a link of the host, which only root can make: --net pasta or --net slirp4netns connect without root`,
    );
  if (user.uid !== 0 || user.gid !== 0)
    throw new UsageError(
      `the command is to run as user ${user.uid}:${user.gid}: without root only one user can be mapped, which is root inside; give --user 0`,
    );
  if (root.kind === 'image') {
    throw new UsageError(
      'layers of an image belong to several users, whom only root can make: give --rootfs with a folder of your own, or run weft as root',
    );
  }
}

function assertFits(flags: RunFlags, namespaces: readonly NamespaceKind[]): void {
  const wants = (kind: NamespaceKind, what: string) => {
    if (namespaces.includes(kind)) return;
    throw new UsageError(
      `${what} needs the namespace "${kind}", and --ns ${namespaces.join(',')} has it not`,
    );
  };
  if (flags.net?.length) wants('net', '--net');
  if (flags.publish?.length) {
    if (!flags.net?.length)
      throw new UsageError('-p publishes a port through a network: give --net as well, such as --net demo');
    wants('net', '-p');
  }
  if (flags.hostname !== undefined) wants('uts', '--hostname');
  // Without a namespace of its own it would be the host's that is set.
  for (const [key] of flags.sysctl ?? []) wants(key.startsWith('net') ? 'net' : 'ipc', `--sysctl ${key}`);
  for (const [flag, given] of [
    ['-v', flags.volume],
    ['--dns', flags.dns],
  ] as const)
    if (given?.length) wants('mnt', flag);
  if (flags.rootfs !== undefined || flags.image !== undefined) wants('mnt', 'a root file system');
  if (flags.rootfs !== undefined && flags.image !== undefined)
    throw new UsageError('--rootfs and --image are both given: choose one');
}
