/** The network namespaces of this machine, as far as files lead to them: pins (nsfs mounts) and processes. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';

export interface FoundNamespace {
  /** `dev:inode`, as netlink/door.ts has it. */
  identity: string;
  /** All by which it can be opened: pins first, then processes. */
  paths: readonly string[];
  /** Of processes that live in it, the lowest first. */
  pids: readonly number[];
}

/**
 * Every network namespace that this process can see, by its pins in this mount namespace and by all processes, this process' own
 * among them. Throws nothing: what is forbidden or gone meanwhile is left out.
 */
export function findNamespaces(more: readonly string[] = []): Map<string, FoundNamespace> {
  const found = new Map<string, { identity: string; paths: string[]; pids: number[] }>();
  const add = (path: string, pid?: number): void => {
    const identity = identityOf(path);
    if (identity === undefined) return;
    const one = found.get(identity) ?? { identity, paths: [], pids: [] };
    found.set(identity, one);
    if (pid !== undefined) one.pids.push(pid);
    if ((pid === undefined || one.paths.length === 0) && !one.paths.includes(path)) one.paths.push(path);
  };
  for (const path of [...more, ...pins()]) add(path);
  for (const pid of processes()) add(`/proc/${pid}/ns/net`, pid);
  return found;
}

/** `dev:inode` of what a path leads to; undefined where it leads nowhere. */
export function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** Mount points of network namespaces (proc(5), mountinfo: root `net:[4026531840]`, type nsfs). */
function pins(): string[] {
  try {
    return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
  } catch {
    return [];
  }
}

export function parseMountInfo(text: string): string[] {
  const paths = text.split('\n').flatMap((line) => {
    const [, , , root = '', point = ''] = line.split(' ');
    return root.startsWith('net:[')
      ? [point.replace(/\\(\d{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8)))]
      : [];
  });
  // One pin is often seen twice: /run/netns below /var/run.
  return [...new Set(paths)].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
}

/** Those whose namespace may be looked at. */
function processes(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b)
      .filter(mayBeSeen);
  } catch {
    return [];
  }
}

function mayBeSeen(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) !== '';
  } catch {
    return false;
  }
}
