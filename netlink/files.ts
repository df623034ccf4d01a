/** Changes to small files, each of them one native call: by node:fs the ways there and back cost several times what the kernel takes. */
import { type FolderLook, loadNative, withCode } from './native.ts';

/** Undefined where there is none. Throws an Error with `code` (ENOTDIR, EACCES). */
export function lookAtFolder(folder: string): FolderLook | undefined {
  return attempt(`look at ${folder}`, () => loadNative().lookAtFolder(folder));
}

/** Sets when a folder was read and changed, in milliseconds since the epoch; returns what it looks like then. Throws an Error with `code`. */
export function dateFolder(folder: string, accessed: number, modified: number): FolderLook {
  return attempt(`set the times of ${folder}`, () => loadNative().dateFolder(folder, accessed, modified));
}

/**
 * Writes over what is there, in place; makes the file where there is none. A pipe or a link in its place neither blocks nor leads astray.
 * Throws an Error with `code`.
 */
export function overwrite(file: string, text: string, mode: number): void {
  attempt(`write ${file}`, () => loadNative().overwriteFile(file, text, mode));
}

/**
 * Makes a file of this text under the first of the names that is free: of the file `spare` where that is there. No name ever shows half
 * of it. Returns which name it is, or -1 when all are taken; then there is no spare either. For those who hold the folder's lock.
 * Throws an Error with `code`.
 */
export function claim(spare: string, folder: string, names: readonly string[], text: string): number {
  return attempt(`make a file in ${folder}`, () => loadNative().claimName(spare, folder, names, text));
}

/**
 * Takes a file away, which may be gone; it becomes the spare where there is none, with a zero byte for its first. To make and to free inodes
 * is what costs most: ext4 without a journal passes over each one that was freed within minutes. Throws an Error with `code`.
 */
export function retire(file: string, spare: string): void {
  attempt(`remove ${file}`, () => loadNative().retireFile(file, spare));
}

/**
 * Puts a file of this text, of mode 0600, in the place of whatever is there, by way of `temporary`: of the file `spare` where that is there,
 * which any number of processes may want. Throws an Error with `code`.
 */
export function replace(file: string, temporary: string, spare: string, text: string): void {
  attempt(`write ${file}`, () => loadNative().replaceFile(file, temporary, spare, text));
}

function attempt<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw withCode(error, what);
  }
}
