/**
 * Who is who: an agent serves callers of its own build, network namespace, mount namespace and root folder, and nobody else.
 * Both sides look: the launcher compares the agent's greeting with itself, the agent looks the launcher up by its process id, as the
 * kernel tells it.
 */
import { type BigIntStats, statSync } from 'node:fs';
import { peerOf } from '../netlink/unix.ts';

const PROTOCOL = 'weft 1';

const place = ({ dev, ino }: BigIntStats) => `${dev}:${ino} `;

const look = (path: string) => statSync(path, { bigint: true });

/** Where a process stands: its network namespace, mount namespace and root folder. Throws an Error with `code`. */
export function standing(proc: string): string {
  return ['ns/net', 'ns/mnt', 'root/'].map((name) => place(look(`${proc}/${name}`))).join('');
}

/**
 * The bundle and where a process stands, as the launcher writes them (own_identity in bin/launcher/ask.cc). Throws an Error with `code`.
 * @param proc its folder in /proc
 */
export function ownIdentity(bundle: string, proc = '/proc/self'): string {
  const file = look(bundle);
  const changed = `${file.mtimeNs / 1_000_000_000n}.${file.mtimeNs % 1_000_000_000n}`;
  return `${PROTOCOL} ${place(file)}${changed} ${file.size} ${standing(proc)}`;
}

/**
 * Why the process at the other end of a socket is not served; undefined when it is.
 * @param own where this process stands: it never leaves
 */
export function objection(fd: number, own: string): string | undefined {
  try {
    const { pid, uid } = peerOf(fd);
    if (uid !== 0) return `its user is ${uid}, not root`;
    if (pid === 0) return 'its process cannot be seen from here';
    if (standing(`/proc/${pid}`) !== own) {
      return 'it stands in another network namespace, mount namespace or root folder';
    }
    return undefined;
  } catch (error) {
    return `it cannot be looked at: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** `dev:inode ` of what a path is here, as the launcher writes it; empty where there is nothing. */
export function placeOf(path: string | undefined): string {
  const there = path ? statSync(path, { bigint: true, throwIfNoEntry: false }) : undefined;
  return there ? place(there) : '';
}
