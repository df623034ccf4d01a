/**
 * No two operations at once on one container, and none during GC (SPEC 1.1, section 3, "Lifecycle & ordering").
 * Containers share a fixed number of lock files, so that none has to be cleaned up, and GC can hold them all: nobody else
 * ever holds more than one, so there is no deadlock.
 */
import { join } from 'node:path';
import type { Ambient } from '../cni/ambient.ts';
import { hash64 } from '../plan/hash.ts';

const BUCKETS = 64;

/** Runs `work` while no other operation of any weft process runs on this container. */
export async function withContainer<T>(
  ambient: Ambient,
  containerId: string,
  work: () => Promise<T>,
): Promise<T> {
  const bucket = Number(hash64('container', containerId) % BigInt(BUCKETS));
  const release = await ambient.lock(lockPath(ambient, bucket));
  try {
    return await work();
  } finally {
    release();
  }
}

/** Runs `work` while no operation runs on any container. */
export async function withAllContainers<T>(ambient: Ambient, work: () => Promise<T>): Promise<T> {
  const releases: (() => void)[] = [];
  try {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      releases.push(await ambient.lock(lockPath(ambient, bucket)));
    }
    return await work();
  } finally {
    for (const release of releases) release();
  }
}

function lockPath(ambient: Ambient, bucket: number): string {
  return join(ambient.paths.runDir, 'runtime', `containers-${bucket.toString().padStart(2, '0')}.lock`);
}
