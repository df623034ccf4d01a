/** A container's specification as the list of steps that makes it. Pure: what a container is can be read here, and by `weft run --dry-run`. */
import { capabilityMask, DEFAULT_CAPABILITIES } from './capabilities.ts';
import {
  devices,
  hideKernelFiles,
  hostDevices,
  hostKernelFiles,
  kernelFiles,
  messageQueues,
  type Taken,
} from './devices.ts';
import { BY_CLONE, type ContainerSpec, type IdRange, type NamespaceKind } from './spec.ts';
import type { Step } from './steps.ts';

/** What was made ready on the host for this container. */
export interface Prepared {
  /** Folders of its cgroups, one for each hierarchy. */
  cgroups: readonly string[];
  /** memory.oom_control or memory.events of its cgroup. */
  oomFile?: string;
  /** Makes the root file system: the last step leaves it mounted at `root`. Run by the monitor, in a mount namespace of its own. */
  rootSteps: readonly Step[];
  root: string;
  /** Of the host, shown inside, in this order: mounts that were asked for, files over those of the root file system. */
  taken: readonly Taken[];
  /** Instructions of the filter of system calls (struct sock_filter). */
  filter?: Uint8Array;
  /** What the monitor runs when the container has ended: a program's absolute path and its arguments. */
  ended: readonly string[];
  /** Who makes it has no power over the host: everything is done inside, by the root of its user namespace. */
  unprivileged?: boolean;
  /** Of the terminal, at the start. */
  rows?: number;
  columns?: number;
}

/** Bytes of output after which the log begins anew; one older file is kept. */
const LOG_ROOM = 8 * 1024 * 1024;

const mapText = (ranges: readonly IdRange[]): string =>
  ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}`).join('\n');

/** Throws nothing: specifications are checked where they are made. */
export function containerSteps(spec: ContainerSpec, prepared: Prepared): Step[] {
  return [...monitorSteps(spec, prepared), ...insideSteps(spec, prepared), ...lastSteps(spec, prepared)];
}

function monitorSteps(spec: ContainerSpec, prepared: Prepared): Step[] {
  const has = (kind: NamespaceKind) => spec.namespaces.includes(kind);
  return [
    ['log', LOG_ROOM],
    ...prepared.cgroups.map((path): Step => ['cgroup', path]),
    ...(prepared.oomFile === undefined ? [] : [['oom', prepared.oomFile] satisfies Step]),
    ...(spec.interactive ? [['input'] satisfies Step] : []),
    ...(spec.terminal ? [['on-terminal'] satisfies Step] : []),
    ...(spec.uids ? [['uids', mapText(spec.uids)] satisfies Step] : []),
    ...(prepared.unprivileged ? [['deny-groups'] satisfies Step] : []),
    ...(spec.gids ? [['gids', mapText(spec.gids)] satisfies Step] : []),
    ...(prepared.ended.length > 0 ? [['ended', ...prepared.ended] satisfies Step] : []),
    ...(has('time') ? [['unshare', 'time'] satisfies Step] : []),
    ...(has('mnt') && !prepared.unprivileged
      ? ([...takes(spec, prepared), ['unshare', 'mnt'], ...ownMounts(prepared)] satisfies Step[])
      : []),
    ['clone', ...BY_CLONE.filter(has)],
  ];
}

const takes = (spec: ContainerSpec, prepared: Prepared) =>
  takenBy(spec, prepared).map(({ source, options }, slot): Step => ['take', slot, source, options]);

const ownMounts = ({ rootSteps }: Prepared): Step[] => [['propagation', '/', 'slave'], ...rootSteps];

function insideSteps(spec: ContainerSpec, prepared: Prepared): Step[] {
  const has = (kind: NamespaceKind) => spec.namespaces.includes(kind);
  return [
    ...(has('cgroup') ? [['unshare', 'cgroup'] satisfies Step] : []),
    ...(has('uts') ? [['hostname', spec.hostname] satisfies Step] : []),
    ...(has('net') ? [['link-up', 'lo'] satisfies Step] : []),
    ...(has('mnt') ? rootSteps(spec, prepared) : []),
    ['await'],
    ...Object.entries(spec.sysctls).map(
      ([key, value]): Step => ['write', `/proc/sys/${key.replaceAll('.', '/')}`, value],
    ),
    ...(has('mnt') ? hideKernelFiles() : []),
    ...(has('mnt') && spec.readOnly ? [['remount', '/', 'ro'] satisfies Step] : []),
  ];
}

/** Namespaces whose kernel files can be shown as the container's own. */
const ownFiles = ({ namespaces }: ContainerSpec) => ({
  proc: namespaces.includes('pid'),
  sys: namespaces.includes('net'),
});

function takenBy(spec: ContainerSpec, { taken }: Prepared): Taken[] {
  const inUserNamespace = spec.namespaces.includes('user');
  return [...hostKernelFiles(ownFiles(spec)), ...(inUserNamespace ? hostDevices : []), ...taken];
}

/** Without power over the host no groups can be chosen: the kernel would let a process leave one that keeps it out of files. */
const becomeRoot = (unprivileged: boolean | undefined): Step => ['user', 0, 0, unprivileged ? 'keep' : ''];

function rootSteps(spec: ContainerSpec, prepared: Prepared): Step[] {
  const has = (kind: NamespaceKind) => spec.namespaces.includes(kind);
  const { unprivileged } = prepared;
  return [
    ...(unprivileged ? [becomeRoot(true), ...takes(spec, prepared), ...ownMounts(prepared)] : []),
    ['pivot', prepared.root],
    // Until now it was nobody: the user namespace has no name for the host's root.
    ...(has('user') && !unprivileged ? [becomeRoot(false)] : []),
    ...kernelFiles(ownFiles(spec)),
    ['leave'],
    ...devices(!has('user'), !has('user')),
    ...(has('ipc') ? messageQueues() : []),
    ...takenBy(spec, prepared).flatMap(({ destination, folder }, slot): Step[] => [
      folder ? ['folder', destination, 0o755] : ['file', destination],
      ['place', slot, destination],
    ]),
    ...workingFolder(spec),
  ];
}

/** Made where it is missing, as others do; but never in the host's own tree. */
const workingFolder = ({ cwd, unprivileged, root }: ContainerSpec): Step[] =>
  cwd === '/' || (unprivileged && root.kind === 'host') ? [] : [['folder', cwd, 0o755]];

function lastSteps(spec: ContainerSpec, prepared: Prepared): Step[] {
  return [
    terminalStep(spec.terminal, prepared),
    ...(spec.init ? [['die-with-parent'] satisfies Step, ['init'] satisfies Step] : []),
    ...commandSteps(spec, prepared),
  ];
}

type Window = Pick<Prepared, 'rows' | 'columns'>;

function terminalStep(terminal: boolean, { rows = 24, columns = 80 }: Window): Step {
  return terminal ? ['terminal', rows, columns] : ['session'];
}

type Command = Pick<ContainerSpec, 'user' | 'command' | 'env' | 'cwd' | 'capabilities'>;

/** What a process of a container gives up before it becomes its command. */
function commandSteps(
  { user, command, env, cwd, capabilities }: Command,
  { filter, unprivileged }: Pick<Prepared, 'filter' | 'unprivileged'>,
): Step[] {
  const mask = capabilityMask(capabilities ?? DEFAULT_CAPABILITIES);
  return [
    ['umask', 0o022],
    ['bound', mask],
    ['user', user.uid, user.gid, unprivileged ? 'keep' : user.groups.join(',')],
    ['hold', user.uid === 0 ? mask : '0x0'],
    ['no-new-privileges'],
    ...(filter ? [['filter', filter] satisfies Step] : []),
    ['die-with-parent'],
    ['chdir', cwd],
    ['exec', command.length, ...command, ...env],
  ];
}

/** Another command in a container that runs. */
export interface Execution
  extends Pick<
    ContainerSpec,
    'command' | 'env' | 'cwd' | 'user' | 'capabilities' | 'terminal' | 'interactive'
  > {
  /** The container's first process. */
  pid: number;
  namespaces: readonly NamespaceKind[];
}

/** The steps that bring a further command into a container: its namespaces, its cgroups, its limits on power. */
export function executionSteps(
  execution: Execution,
  prepared: Pick<Prepared, 'cgroups' | 'filter' | 'unprivileged' | 'rows' | 'columns'>,
): Step[] {
  const { pid, namespaces, terminal, interactive } = execution;
  return [
    ...prepared.cgroups.map((path): Step => ['cgroup', path]),
    ...(interactive ? [['input'] satisfies Step] : []),
    ...(terminal ? [['on-terminal'] satisfies Step] : []),
    ...enterSteps(pid, namespaces, prepared.unprivileged),
    ['await'],
    terminalStep(terminal, prepared),
    ...commandSteps(execution, prepared),
  ];
}

/** Into the namespaces of a container's first process; root of its user namespace where there is one. */
export function enterSteps(
  pid: number,
  namespaces: readonly NamespaceKind[],
  unprivileged?: boolean,
): Step[] {
  return [
    ['process', pid],
    ...(unprivileged ? enterAsOwner(namespaces) : enterAsRoot(namespaces)),
    ...(namespaces.includes('user') ? [becomeRoot(unprivileged)] : []),
  ];
}

function enterAsRoot(namespaces: readonly NamespaceKind[]): Step[] {
  // Who joins a PID or time namespace is not in it himself: his children are.
  const holdsForChildren = (kind: NamespaceKind) => kind === 'pid' || kind === 'time';
  const forChildren = namespaces.filter(holdsForChildren);
  const forItself = namespaces.filter((kind) => !holdsForChildren(kind));
  return [
    ...(forChildren.length > 0 ? [['enter', ...forChildren] satisfies Step] : []),
    ['clone'],
    ...(forItself.length > 0 ? [['enter', ...forItself] satisfies Step] : []),
  ];
}

/** The owner of a user namespace has power in it only once it is joined: all at once, and then a child for the PID namespace. */
const enterAsOwner = (namespaces: readonly NamespaceKind[]): Step[] => [
  ['clone'],
  ['enter', ...namespaces],
  ['init'],
];
