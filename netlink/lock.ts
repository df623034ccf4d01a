/** Exclusive file locks that other programs see too (flock(2)). */
import { closeSync } from 'node:fs';
import { loadNative, withCode } from './native.ts';

/**
 * Locks a file (made with mode 0600 when missing) and resolves to the function that releases it. Waits as long as it takes,
 * on a thread of its own, so any number may wait at once. Two locks of one process exclude each other as well.
 * Throws an Error with `code`: ENOENT (no such folder), EACCES, ELOOP (a symbolic link), EINVAL (not a regular file).
 */
export async function lock(path: string): Promise<() => void> {
  const native = loadNative();
  try {
    const free = native.tryLock(path);
    return releaseOf(free >= 0 ? free : await native.waitLock(path));
  } catch (error) {
    throw withCode(error, `lock ${path}`);
  }
}

/** As lock(), without waiting: undefined when somebody else holds it. */
export function tryLock(path: string): (() => void) | undefined {
  try {
    const fd = loadNative().tryLock(path);
    return fd < 0 ? undefined : releaseOf(fd);
  } catch (error) {
    throw withCode(error, `lock ${path}`);
  }
}

/** Idempotent: a second close might hit somebody else's descriptor. */
function releaseOf(fd: number): () => void {
  let held = true;
  return () => {
    if (held) closeSync(fd);
    held = false;
  };
}
