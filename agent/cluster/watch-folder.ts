/** Tells when a folder's files came, went or were replaced; the folder may come later. */
import { type FSWatcher, watch } from 'node:fs';

/** Milliseconds: what comes within is one change; and until an attempt to watch is repeated, or the folder is looked at unasked. */
const SETTLE = 100;
const AGAIN = 5000;

/**
 * Calls `changed` after each change, and now and then without: file systems that tell of nothing exist (NFS).
 * @returns the function that ends it
 */
export function watchFolder(folder: string, changed: () => void, settle = SETTLE): () => void {
  let watcher: FSWatcher | undefined;
  let soon: NodeJS.Timeout | undefined;
  const tell = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      changed();
    }, settle);
  };
  const open = () => {
    if (watcher !== undefined) return;
    try {
      watcher = watch(folder, { persistent: false }, tell);
      watcher.on('error', lose);
    } catch {
      // Not there yet.
    }
  };
  const lose = () => {
    watcher?.close();
    watcher = undefined;
  };
  open();
  const routine = setInterval(() => {
    // A folder that was removed and made again has another inode: a watcher of the old one says nothing.
    lose();
    open();
    tell();
  }, AGAIN);
  return () => {
    lose();
    clearInterval(routine);
    clearTimeout(soon);
  };
}
