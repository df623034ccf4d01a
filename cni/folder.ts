import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder and those above it; one that is there stays as it is. Throws Node's error with `code`.
 *
 * Not mkdirSync with `recursive`: that never returns where a folder answers ENOENT to everything (as /proc does), and calls a
 * read-only file system ENOENT.
 */
export function makeFolder(path: string, mode: number): void {
  if (tryMake(path, mode)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent, mode);
  mkdirUnlessThere(path, mode);
}

/** False when the folder above is missing. */
function tryMake(path: string, mode: number): boolean {
  try {
    mkdirUnlessThere(path, mode);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return false;
  }
}

function mkdirUnlessThere(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    const isFolder = () => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isFolder()) throw error;
  }
}
