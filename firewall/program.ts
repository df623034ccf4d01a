/** Other programs (nft, iptables) in the network namespace of the host that a backend works on. */
import { accessSync, constants } from 'node:fs';
import type { Ambient } from '../cni/ambient.ts';
import type { Namespace } from '../netlink/door.ts';

/** Runtimes start plugins with any PATH or none; packet filter tools live in the sbin folders. */
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Folders to look for programs in: those of PATH, then the system's. */
export function programPath(env: Ambient['env']): string[] {
  const folders = (env.PATH ?? '').split(':').filter((folder) => folder.startsWith('/'));
  return [...new Set([...folders, ...SYSTEM_PATH])];
}

/** The environment for a program: ours with a full PATH, and messages in English, since some are read. */
export function programEnv(env: Ambient['env']): Record<string, string | undefined> {
  return { ...env, PATH: programPath(env).join(':'), LC_ALL: 'C' };
}

/** A program's absolute path, or undefined where it is not installed. Starts no process. */
export function findProgram(env: Ambient['env'], name: string): string | undefined {
  return programPath(env)
    .map((folder) => `${folder}/${name}`)
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** The command line that runs a program in the host's network namespace: itself in the caller's own, else through nsenter(1). */
export function onHost(
  host: Pick<Namespace, 'path'>,
  file: string,
  args: readonly string[],
): [string, string[]] {
  return host.path === undefined
    ? [file, [...args]]
    : ['nsenter', [`--net=${host.path}`, '--', file, ...args]];
}

/**
 * Holds weft's firewall lock of this host while `work` runs: base rules (everything that is no element of a set or map) are read,
 * completed, written and removed by one process at a time.
 */
export async function withFirewallLock<T>(ambient: Ambient, work: () => Promise<T>): Promise<T> {
  const release = await ambient.lock(`${ambient.paths.runDir}/firewall.lock`);
  try {
    return await work();
  } finally {
    release();
  }
}
