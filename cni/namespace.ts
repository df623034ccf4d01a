import { type BigIntStats, statSync } from 'node:fs';

/** What stands at a network namespace's path. */
export interface NamespaceLook {
  /** `foreign`: there is something, but no namespace (a runtime unmounted it and left the file). */
  state: 'own' | 'other' | 'gone' | 'foreign';
  /** The system's words for `gone`. */
  details?: string;
}

export type LookAtNamespace = (path: string) => NamespaceLook;

/** This process's own network namespace; undefined without /proc. */
export function ownNamespace(): BigIntStats | undefined {
  return statSync('/proc/self/ns/net', { bigint: true, throwIfNoEntry: false });
}

/**
 * Compares a path with this process's own network namespace: device and inode number identify a namespace
 * (namespaces(7)), and every namespace's file is on one device, that of nsfs. Opens and changes nothing.
 * @param own ownNamespace(), where that is known
 */
export function lookAtNamespace(path: string, own = ownNamespace()): NamespaceLook {
  let there: BigIntStats;
  try {
    there = statSync(path, { bigint: true });
  } catch (error) {
    return { state: 'gone', details: error instanceof Error ? error.message : String(error) };
  }
  // Without /proc there is nothing to compare with; the kernel will refuse what is no namespace.
  if (own === undefined) return { state: 'other' };
  if (there.dev !== own.dev) return { state: 'foreign' };
  return { state: there.ino === own.ino ? 'own' : 'other' };
}
