/** A bundle's config.json (OCI runtime-spec 1.0, config.md and config-linux.md): what of it is known here. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface OciUser {
  uid: number;
  gid: number;
  umask?: number;
  additionalGids?: readonly number[] | null;
}

export interface CapabilitySets {
  bounding?: readonly string[] | null;
  effective?: readonly string[] | null;
  inheritable?: readonly string[] | null;
  permitted?: readonly string[] | null;
  ambient?: readonly string[] | null;
}

export interface OciProcess {
  terminal?: boolean;
  consoleSize?: { height: number; width: number };
  user?: OciUser;
  args?: readonly string[];
  env?: readonly string[] | null;
  cwd?: string;
  capabilities?: CapabilitySets;
  rlimits?: readonly { type: string; soft: number; hard: number }[] | null;
  noNewPrivileges?: boolean;
  oomScoreAdj?: number;
  apparmorProfile?: string;
  selinuxLabel?: string;
}

export interface OciMount {
  destination: string;
  type?: string;
  source?: string;
  options?: readonly string[] | null;
  uidMappings?: unknown;
  gidMappings?: unknown;
}

export interface OciHook {
  path: string;
  args?: readonly string[] | null;
  env?: readonly string[] | null;
  /** Seconds. */
  timeout?: number;
}
export const HOOK_KINDS = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;
export type OciHooks = Partial<Record<(typeof HOOK_KINDS)[number], readonly OciHook[] | null>>;

export interface OciDevice {
  path: string;
  type: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface OciIdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface OciSeccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[] | null;
  flags?: readonly string[] | null;
  listenerPath?: string;
  syscalls?:
    | readonly {
        names: readonly string[];
        action: string;
        errnoRet?: number;
        args?: readonly { index: number; value: number; valueTwo?: number; op: string }[] | null;
      }[]
    | null;
}

type Throttle = readonly { major: number; minor: number; rate: number }[] | null;

export interface OciResources {
  devices?:
    | readonly { allow: boolean; type?: string; major?: number; minor?: number; access?: string }[]
    | null;
  memory?: {
    limit?: number;
    reservation?: number;
    swap?: number;
    swappiness?: number;
    disableOOMKiller?: boolean;
  };
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
  pids?: { limit?: number } | null;
  blockIO?: {
    weight?: number;
    throttleReadBpsDevice?: Throttle;
    throttleWriteBpsDevice?: Throttle;
    throttleReadIOPSDevice?: Throttle;
    throttleWriteIOPSDevice?: Throttle;
  };
  hugepageLimits?: readonly unknown[] | null;
  network?: { classID?: number; priorities?: readonly unknown[] | null };
  rdma?: object;
  unified?: Readonly<Record<string, string>> | null;
}

export interface OciLinux {
  namespaces?: readonly { type: string; path?: string }[] | null;
  uidMappings?: readonly OciIdMapping[] | null;
  gidMappings?: readonly OciIdMapping[] | null;
  devices?: readonly OciDevice[] | null;
  cgroupsPath?: string;
  resources?: OciResources;
  rootfsPropagation?: string;
  seccomp?: OciSeccomp | null;
  sysctl?: Readonly<Record<string, string>> | null;
  maskedPaths?: readonly string[] | null;
  readonlyPaths?: readonly string[] | null;
  mountLabel?: string;
  intelRdt?: object;
  personality?: object;
}

export interface OciConfig {
  ociVersion: string;
  process?: OciProcess;
  root?: { path: string; readonly?: boolean };
  hostname?: string;
  domainname?: string;
  mounts?: readonly OciMount[] | null;
  hooks?: OciHooks;
  annotations?: Readonly<Record<string, string>> | null;
  linux?: OciLinux;
}

/** What a caller can mend: said on standard error and in the log, without a stack. */
export class OciError extends Error {
  override readonly name = 'OciError';
}

/** Throws OciError. */
export function readJson<T>(file: string, what: string): T {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch (cause) {
    throw new OciError(`cannot read ${what} ${file}: ${(cause as Error).message}`, { cause });
  }
}

/** A bundle's configuration, looked through for what cannot be done here. Throws OciError. */
export function readBundle(bundle: string): OciConfig {
  const config = readJson<OciConfig>(join(bundle, 'config.json'), "the bundle's configuration");
  const faults = faultsOf(config);
  if (faults.length > 0) throw new OciError(`${join(bundle, 'config.json')}: ${faults.join('; ')}`);
  return config;
}

/** What of a configuration is wrong, or is not done here and cannot safely be left out. */
export function faultsOf(config: OciConfig): string[] {
  const { ociVersion, root, process, linux = {}, mounts } = config;
  const faults: string[] = [];
  const refuse = (present: unknown, words: string) => {
    if (present) faults.push(words);
  };
  refuse(!/^1\./.test(String(ociVersion)), `ociVersion is ${JSON.stringify(ociVersion)}, known is 1.x`);
  refuse(typeof root?.path !== 'string', 'root.path is missing');
  refuse(!process, 'process is missing');
  if (process) faults.push(...processFaults(process));
  refuse(linux.mountLabel, 'linux.mountLabel (SELinux) is not supported');
  refuse(linux.intelRdt, 'linux.intelRdt is not supported');
  refuse(linux.personality, 'linux.personality is not supported');
  refuse(
    linux.resources?.rdma && Object.keys(linux.resources.rdma).length > 0,
    'linux.resources.rdma is not supported',
  );
  refuse(linux.resources?.hugepageLimits?.length, 'linux.resources.hugepageLimits is not supported');
  refuse(linux.resources?.network?.classID, 'linux.resources.network.classID is not supported');
  refuse(linux.resources?.network?.priorities?.length, 'linux.resources.network.priorities is not supported');
  refuse(linux.seccomp?.listenerPath, 'linux.seccomp.listenerPath is not supported');
  for (const mount of mounts ?? []) {
    refuse(
      !mount.destination?.startsWith('/'),
      `the mount at ${JSON.stringify(mount.destination)} wants an absolute destination`,
    );
    refuse(
      mount.uidMappings || mount.gidMappings,
      `the mount at ${mount.destination} has an id mapping of its own: not supported`,
    );
  }
  return faults;
}

/** Of a process, the first or a further one. */
export function processFaults({ args, cwd, selinuxLabel }: OciProcess): string[] {
  const faults: string[] = [];
  if (!args || args.length === 0) faults.push('process.args is empty');
  if (!cwd?.startsWith('/'))
    faults.push(`the process's cwd is ${JSON.stringify(cwd)}, wanted is an absolute path`);
  if (selinuxLabel) faults.push('process.selinuxLabel is not supported');
  return faults;
}
