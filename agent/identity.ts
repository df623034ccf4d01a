/**
 * Who is who: an agent serves callers of its own build, network namespace, mount namespace and root folder, and nobody else.
 * Both sides look: each compares what the other says with itself, and the agent looks the launcher up by its process id, as the kernel
 * tells it (netlink/native/peer.cc).
 */
import { type BigIntStats, statSync } from 'node:fs';
import { loadNative } from '../netlink/native.ts';

const PROTOCOL = 'weft 2';

const place = ({ dev, ino }: BigIntStats) => `${dev}:${ino} `;

const look = (path: string) => statSync(path, { bigint: true });

/** Where a process stands: its network namespace, mount namespace and root folder. Throws an Error with `code`. */
function standing(proc: string): string {
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

/** `dev:inode ` of what a path is here, as the launcher writes it; empty where nothing can be seen. */
export function placeOf(path: string | undefined): string {
  return path && !path.includes('\0') ? loadNative().placeOf(path) : '';
}

/** The device of a place. */
export const deviceOf = (place: string) => place.slice(0, place.indexOf(':'));
