/**
 * A bundle as the list of steps that makes its container (docs/decisions/0018-bundles-for-other-runtimes.md). Pure. The monitor goes once
 * all is made; the container's first process then waits at a gate for `start`, a child of whoever gathers orphans.
 */

import { resolve } from 'node:path';
import type { Taken } from '../container/devices.ts';
import { DEVICE_LINKS, DEVICE_NODES } from '../container/devices.ts';
import { BY_CLONE } from '../container/spec.ts';
import type { Step } from '../container/steps.ts';
import {
  type OciConfig,
  type OciDevice,
  OciError,
  type OciHook,
  type OciIdMapping,
  type OciProcess,
} from './bundle.ts';
import { type MountGround, mountSteps, show } from './mounts.ts';
import { type Namespaces, namespacesOf, sysctlsOf } from './namespaces.ts';
import { limitSteps, lookSteps, type ProcessGround, processSteps, terminalSteps } from './process-steps.ts';

/** The socket at which the first process waits, in the container's state folder. */
export const GATE = 'start';

/** What was made ready on the host, and what it has. */
export interface Ground extends MountGround, ProcessGround {
  /** All hierarchies' folders of the container. */
  cgroupFolders: readonly string[];
  /** Takes the terminal's other end. */
  consoleSocket?: string;
  /** Open files from 3 on that the command gets. */
  preserved: number;
  /** The container's state, for hooks. */
  state: string;
}

/** Seconds that a hook has which says nothing of it: longer than anybody waits for a container. */
const HOOK_SECONDS = 3600;

/** config-linux.md, "Default Devices". */
const DEFAULT_DEVICES: readonly OciDevice[] = DEVICE_NODES.map(([name, major, minor]) => ({
  ...{ path: `/dev/${name}`, type: 'c', major, minor },
}));

/** Throws OciError for what cannot be kept. */
export function bundleSteps(config: OciConfig, ground: Ground): Step[] {
  const namespaces = namespacesOf(config);
  const process = config.process ?? {};
  const { cwd = '/' } = process;
  const files = fileSteps(config, namespaces, ground);
  const hooks = (list: readonly OciHook[] | null | undefined) =>
    (list ?? []).map((hook) => hookStep(hook, ground.state));
  return [
    ...streamSteps(process, ground),
    ...ground.cgroupFolders.map((path): Step => ['cgroup', path]),
    ...mapSteps(config, namespaces),
    ...files.taken.map(({ source, options }, slot): Step => ['take', slot, source, options]),
    ...namespaces.joined.map(({ kind, path }): Step => ['join', kind, path]),
    ...(namespaces.made.includes('time') ? [['unshare', 'time'] satisfies Step] : []),
    ['clone', ...BY_CLONE.filter((kind) => namespaces.made.includes(kind))],
    ...(ground.preserved > 0 ? [['keep', ground.preserved] satisfies Step] : []),
    ...scoreSteps(process),
    // prestart and createRuntime hooks, outside.
    ['await'],
    ['propagation', '/', 'slave'],
    ...hooks(config.hooks?.createContainer),
    ...(namespaces.made.includes('cgroup') ? [['unshare', 'cgroup'] satisfies Step] : []),
    ...nameSteps(config, namespaces),
    ...(namespaces.made.includes('net') ? [['link-up', 'lo'] satisfies Step] : []),
    ...files.steps,
    ...sysctlsOf(config, namespaces).map(([path, value]): Step => ['write', path, value]),
    ['folder', cwd, 0o755],
    ...(process.terminal ? [] : [['session'] satisfies Step]),
    ...terminalSteps(process, !bindsDev(config)),
    ...hideSteps(config, files.last),
    ...limitSteps(process),
    ...lookSteps(process),
    ['at-gate'],
    ...hooks(config.hooks?.startContainer),
    ...processSteps(process, ground),
  ];
}

/** A further process of a container that runs; `enter` brings it in. */
export function furtherSteps(
  process: OciProcess,
  enter: readonly Step[],
  ground: ProcessGround &
    Pick<Ground, 'cgroupFolders' | 'consoleSocket' | 'preserved'> & { detached: boolean },
): Step[] {
  const { cwd = '/' } = process;
  return [
    ...streamSteps(process, ground).filter(
      ([name]) => name !== 'gate' && (ground.detached || name !== 'alone'),
    ),
    ...ground.cgroupFolders.map((path): Step => ['cgroup', path]),
    ...enter,
    ...(ground.preserved > 0 ? [['keep', ground.preserved] satisfies Step] : []),
    ...scoreSteps(process),
    ['await'],
    ...(process.terminal ? [] : [['session'] satisfies Step]),
    ...terminalSteps(process, false),
    ...limitSteps(process),
    ['chdir', cwd],
    ...processSteps(process, ground),
  ];
}

function streamSteps({ terminal }: OciProcess, { consoleSocket }: Pick<Ground, 'consoleSocket'>): Step[] {
  if (terminal && consoleSocket === undefined)
    throw new OciError('process.terminal wants somebody who takes the terminal: give --console-socket');
  if (!terminal && consoleSocket !== undefined)
    throw new OciError('--console-socket is given, but process.terminal is not set');
  return [
    ...(consoleSocket === undefined
      ? [['inherit'] satisfies Step]
      : ([['on-terminal'], ['console', consoleSocket]] satisfies Step[])),
    ['alone'],
    ['gate', GATE],
  ];
}

function scoreSteps({ oomScoreAdj }: OciProcess): Step[] {
  return oomScoreAdj === undefined ? [] : [['write', '/proc/self/oom_score_adj', String(oomScoreAdj)]];
}

function mapSteps({ linux = {} }: OciConfig, { made, all }: Namespaces): Step[] {
  const text = (ranges: readonly OciIdMapping[]) =>
    ranges.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}`).join('\n');
  const { uidMappings, gidMappings } = linux;
  if (!made.includes('user')) {
    // One that is joined has its own.
    if (!all.includes('user') && (uidMappings?.length || gidMappings?.length))
      throw new OciError('linux.uidMappings and gidMappings want a user namespace');
    return [];
  }
  if (!uidMappings?.length || !gidMappings?.length)
    throw new OciError('a user namespace wants linux.uidMappings and linux.gidMappings');
  return [
    ['uids', text(uidMappings)],
    ['gids', text(gidMappings)],
  ];
}

function nameSteps({ hostname, domainname }: OciConfig, { all }: Namespaces): Step[] {
  if (domainname) throw new OciError('domainname is not supported');
  if (!hostname) return [];
  if (!all.includes('uts')) throw new OciError('hostname wants a uts namespace: it would change the host');
  return [['hostname', hostname]];
}

function hookStep({ path, args, env, timeout }: OciHook, state: string): Step {
  const words = [path, ...(args?.length ? args : [path])];
  return ['hook', timeout ?? HOOK_SECONDS, state, words.length, ...words, ...(env ?? [])];
}

const bindsDev = ({ mounts }: OciConfig) =>
  (mounts ?? []).some(
    ({ destination, type, options }) =>
      /^\/dev\/?$/.test(destination) && (type === 'bind' || options?.some((one) => /^r?bind$/.test(one))),
  );

/** The kernel shows these only to a user namespace that still sees the host's. */
const KERNELS = ['proc', 'sysfs'];

function fileSteps(config: OciConfig, { all }: Namespaces, ground: Ground) {
  const { root, linux = {}, mounts } = config;
  const inUserNamespace = all.includes('user');
  const files = mountSteps(mounts ?? [], ground);
  const kernels = files.steps.findLastIndex(
    ([name, , , type]) => name === 'mount' && KERNELS.includes(String(type)),
  );
  // The host is left as soon as may be: no name in an image can lead there then.
  const left = inUserNamespace ? kernels + 1 : 0;
  const found = {
    taken: files.taken,
    steps: [
      ['pivot', resolve(ground.bundle, root?.path ?? '')],
      ...(inUserNamespace ? [['user', 0, 0, ''] satisfies Step] : []),
      ...files.steps.slice(0, left),
      ['leave'],
      ...files.steps.slice(left),
    ] as Step[],
    last: files.last,
  };
  if (!bindsDev(config)) deviceSteps([...DEFAULT_DEVICES, ...(linux.devices ?? [])], inUserNamespace, found);
  const { rootfsPropagation } = linux;
  if (rootfsPropagation && !/^r?(private|slave)$/.test(rootfsPropagation)) {
    if (!/^r?shared$/.test(rootfsPropagation))
      throw new OciError(`linux.rootfsPropagation is ${JSON.stringify(rootfsPropagation)}: not supported`);
    found.steps.push(['propagation', '/', 'shared']);
  }
  return found;
}

/** Made where that is allowed, else the host's are shown. */
function deviceSteps(
  devices: readonly OciDevice[],
  inUserNamespace: boolean,
  found: { taken: Taken[]; steps: Step[] },
): void {
  for (const { path, type, major = 0, minor = 0, fileMode, uid, gid } of new Map(
    devices.map((one) => [one.path, one]),
  ).values()) {
    if (!'bcup'.includes(type))
      throw new OciError(`linux.devices: ${path} has the unknown type ${JSON.stringify(type)}`);
    if (inUserNamespace) {
      show(found, { source: path, destination: path, options: 'flat', folder: false });
      continue;
    }
    const parent = path.slice(0, path.lastIndexOf('/'));
    found.steps.push(['folder', parent || '/', 0o755]);
    if (type === 'p') found.steps.push(['pipe', path]);
    else
      found.steps.push([
        'device',
        path,
        type === 'b' ? 'b' : 'c',
        major,
        minor,
        (fileMode ?? 0o666) & 0o7777,
      ]);
    if (uid || gid) found.steps.push(['own', path, uid ?? 0, gid ?? 0]);
  }
  found.steps.push(...DEVICE_LINKS);
}

/** After everything that is written there. */
function hideSteps({ root, linux = {} }: OciConfig, last: readonly Step[]): Step[] {
  return [
    ...last,
    ...(linux.readonlyPaths ?? []).map((path): Step => ['readonly', path]),
    ...(linux.maskedPaths ?? []).map((path): Step => ['mask', path]),
    ...(root?.readonly ? [['remount', '/', 'ro'] satisfies Step] : []),
  ];
}
