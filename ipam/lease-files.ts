import fs from 'node:fs';
import { type Holder, parseLease } from './leases.ts';

/** After so many taken addresses in a row the folder is listed instead. */
const PROBES = 32;

/**
 * The candidates that `take` takes, one by one; after PROBES that it did not take, the folder is listed once and only
 * names that are not in it are tried.
 */
export function* free(
  dir: string,
  candidates: Iterable<string>,
  take: (name: string) => boolean,
): Generator<string, void> {
  let probes = 0;
  let taken: ReadonlySet<string> | undefined;
  for (const name of candidates) {
    if (probes++ === PROBES) taken = new Set(fs.existsSync(dir) ? fs.readdirSync(dir) : []);
    if (taken?.has(name)) continue;
    if (take(name)) yield name;
  }
}

/** What a crash left there may be another name of a good lease: it is removed, never written to. */
export function writeNew(file: string, text: string): void {
  try {
    fs.writeFileSync(file, text, { flag: 'wx', mode: 0o644 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    unlink(file);
    fs.writeFileSync(file, text, { flag: 'wx', mode: 0o644 });
  }
}

/** Removes a file; it may be gone. (rmSync would load a module for it.) */
export function unlink(file: string): void {
  try {
    fs.unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

export function statOrNone(file: string): fs.BigIntStats | undefined {
  return fs.statSync(file, { bigint: true, throwIfNoEntry: false });
}

export function isThere(file: string): boolean {
  return fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

export function readHolder(file: string): Holder | undefined {
  const text = readLease(file);
  return text === undefined ? undefined : parseLease(text);
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_NONBLOCK, O_NOFOLLOW } = fs.constants;
/** Numbers, though the types know flags by their letters only. A pipe or a link in a lease's place neither blocks nor leads astray. */
const READING = (O_RDONLY | O_NONBLOCK | O_NOFOLLOW) as unknown as string;
const WRITING = (O_WRONLY | O_CREAT | O_NONBLOCK | O_NOFOLLOW) as unknown as string;

/** Undefined when there is none, or something else of that name (a folder, a link). */
export function readLease(file: string): string | undefined {
  try {
    return fs.readFileSync(file, { encoding: 'utf8', flag: READING });
  } catch {
    return undefined;
  }
}

/**
 * Writes over what is there, in place: it is no more than a hint. Made shorter only where it must be: a file that is emptied and
 * written again gets new blocks at once (ext4(5), auto_da_alloc), and that costs more than all the rest of an allocation.
 */
export function overwrite(file: string, text: string): void {
  const fd = fs.openSync(file, WRITING, 0o644);
  try {
    const bytes = Buffer.from(text);
    if (fs.fstatSync(fd).size > bytes.length) fs.ftruncateSync(fd, bytes.length);
    fs.writeSync(fd, bytes, 0, bytes.length, 0);
  } finally {
    fs.closeSync(fd);
  }
}
