/** What is kept of a container between one call and the next: `<root>/<id>/state.json`, as runtime.md, "State", and what else is needed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostHierarchies } from '../cgroup/cgroups.ts';
import type { NamespaceKind } from '../container/spec.ts';
import { briefText } from './brief.ts';
import { type OciConfig, OciError, type OciHooks, readJson } from './bundle.ts';
import { GATE } from './bundle-steps.ts';

export interface Kept {
  id: string;
  bundle: string;
  rootfs: string;
  /** RFC 3339. */
  created: string;
  pid: number;
  /** Field 22 of /proc/PID/stat: tells it from another process of the same number. */
  started: string;
  /** Below every hierarchy's root. */
  cgroup: string;
  namespaces: readonly NamespaceKind[];
  /** Capabilities that none of its processes gets. */
  withheld: readonly string[];
  hooks: OciHooks;
  annotations: Readonly<Record<string, string>>;
}

export type Status = 'creating' | 'created' | 'running' | 'paused' | 'stopped';

const STATE = 'state.json';
const BRIEF = 'brief';
/** The version of the specification whose words are used here. */
export const OCI_VERSION = '1.0.2';

/** Throws OciError for an id that is none. */
export function folderOf(root: string, id: string): string {
  if (/^[\w+-][\w+.-]*$/.test(id) && id.length <= 1024) return join(root, id);
  throw new OciError(`${JSON.stringify(id)} is no container id: letters, digits and "_+-." are allowed`);
}

/** Throws OciError when there is one already. */
export function makeFolder(root: string, id: string): string {
  const folder = folderOf(root, id);
  mkdirSync(root, { recursive: true, mode: 0o711 });
  try {
    mkdirSync(folder, { mode: 0o711 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new OciError(`container with id exists: ${id}`, { cause });
  }
  return folder;
}

/** @param groups folders of its control groups */
export function keep(root: string, kept: Kept, groups: readonly string[]): void {
  const folder = folderOf(root, kept.id);
  const replace = (name: string, text: string) => {
    writeFileSync(join(folder, `${name}.new`), text, { mode: 0o600 });
    renameSync(join(folder, `${name}.new`), join(folder, name));
  };
  replace(STATE, JSON.stringify(kept));
  const { pid, started, hooks, cgroup } = kept;
  const brief = briefText({ pid, started, hooks, groups, freezer: freezerOf(cgroup), shown: shownOf(kept) });
  if (brief !== undefined) replace(BRIEF, brief);
}

/** Throws OciError when there is none of this id. */
export function load(root: string, id: string): Kept {
  const folder = folderOf(root, id);
  if (!existsSync(folder)) throw new OciError(`container "${id}" does not exist`);
  // Its creation was cut off, or goes on: only `delete --force` takes it away.
  if (!existsSync(join(folder, STATE)))
    throw new OciError(`container "${id}" is not made: its creation has not ended`);
  return readJson<Kept>(join(folder, STATE), 'the state of the container');
}

export function listKept(root: string): Kept[] {
  const entries = existsSync(root) ? readdirSync(root) : [];
  return entries.filter((id) => existsSync(join(root, id, STATE))).map((id) => load(root, id));
}

export function forget(root: string, id: string): void {
  rmSync(folderOf(root, id), { recursive: true, force: true });
}

/** Of a process that is there: its state's letter and when it was started (proc(5)). */
export function processStat(pid: number): { state: string; started: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const words = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: words[0] ?? '', started: words[19] ?? '' };
  } catch {
    return undefined;
  }
}

/** Looked up anew at every call: nobody tells us of an end. */
export function statusOf(root: string, { id, pid, started, cgroup }: Kept): Status {
  const found = processStat(pid);
  if (!found || found.started !== started || found.state === 'Z' || found.state === 'X') return 'stopped';
  if (existsSync(join(folderOf(root, id), GATE))) return 'created';
  return isFrozen(cgroup) ? 'paused' : 'running';
}

/** The freezer's file of a group and its words (cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst). */
export function freezerOf(cgroup: string): { file: string; frozen: string; thawed: string } | undefined {
  for (const { mount, version, controllers } of hostHierarchies()) {
    const folder = join(mount, cgroup);
    if (version === 1 && controllers.includes('freezer'))
      return { file: join(folder, 'freezer.state'), frozen: 'FROZEN', thawed: 'THAWED' };
    if (version === 2 && existsSync(join(folder, 'cgroup.freeze')))
      return { file: join(folder, 'cgroup.freeze'), frozen: '1', thawed: '0' };
  }
  return undefined;
}

function isFrozen(cgroup: string): boolean {
  const freezer = freezerOf(cgroup);
  if (!freezer || !existsSync(freezer.file)) return false;
  return readFileSync(freezer.file, 'utf8').trim() === freezer.frozen;
}

/** As the specification has it. */
export function stateText(
  kept: Pick<Kept, 'id' | 'bundle' | 'annotations'>,
  status: string,
  pid?: number,
): string {
  const { id, bundle, annotations } = kept;
  return JSON.stringify({
    ociVersion: OCI_VERSION,
    id,
    status,
    ...(pid !== undefined && { pid }),
    bundle,
    annotations,
  });
}

const shownOf = ({ id, bundle, rootfs, created, annotations }: Kept) => ({
  ...{ ociVersion: OCI_VERSION, id, bundle, rootfs, created, annotations, owner: '' },
});

/** What `state` and `list` print: the specification's, and what runc's callers read beside. */
export function publicState(root: string, kept: Kept) {
  const status = statusOf(root, kept);
  return { ...shownOf(kept), pid: status === 'stopped' ? 0 : kept.pid, status };
}

/** Where the groups of a container are, below the root of every hierarchy. Throws OciError for those of systemd. */
export function cgroupPathOf({ linux = {} }: OciConfig, id: string): string {
  const { cgroupsPath } = linux;
  if (!cgroupsPath) return `weft-oci/${id}`;
  if (/^[^/]*:[^/]*:[^/]*$/.test(cgroupsPath))
    throw new OciError(
      `linux.cgroupsPath ${cgroupsPath} is one of systemd's: tell the caller to use cgroupfs (SystemdCgroup = false, cgroup_manager = "cgroupfs")`,
    );
  const parts = cgroupsPath.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.length === 0 || parts.includes('..'))
    throw new OciError(
      `linux.cgroupsPath is ${JSON.stringify(cgroupsPath)}: wanted is a path below the root`,
    );
  return parts.join('/');
}
