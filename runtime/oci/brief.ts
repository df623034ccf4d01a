/**
 * What the launcher has to know of a container for what its callers ask again and again (bin/launcher/oci.cc): it then needs no start of Node.
 * All of it stands in state.json, too. Pure.
 */
import type { OciHooks } from './bundle.ts';

export interface BriefGround {
  pid: number;
  /** Field 22 of /proc/PID/stat. */
  started: string;
  hooks: OciHooks;
  /** Folders of its control groups. */
  groups: readonly string[];
  freezer: { file: string; frozen: string } | undefined;
  /** What `state` prints before the process's number and the status. */
  shown: object;
}

/** Lines of a name and a value; the last value, that of `state`, is all that follows. Undefined where a line cannot hold one. */
export function briefText({ pid, started, hooks, groups, freezer, shown }: BriefGround): string | undefined {
  const lines: [name: string, value: string][] = [
    ['pid', String(pid)],
    ['started', started],
    ...groups.map((group): [string, string] => ['group', group]),
    ...(['poststart', 'poststop'] as const)
      .filter((kind) => hooks[kind]?.length)
      .map((kind): [string, string] => ['hooks', kind]),
  ];
  if (freezer) lines.push(['freezer', freezer.file], ['frozen', freezer.frozen]);
  if (lines.some(([, value]) => value.includes('\n'))) return undefined;
  const state = JSON.stringify({ ...shown, pid: 0 }, null, 2).slice(0, -'0\n}'.length);
  return [...lines.map(([name, value]) => `${name} ${value}\n`), `state ${state}`].join('');
}
