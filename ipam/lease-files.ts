import fs from 'node:fs';
import { type Holder, parseLease } from './leases.ts';

/** After so many taken addresses in a row the folder is listed instead. */
const PROBES = 32;

/**
 * The candidates in lots, the likeliest alone; after PROBES of them the folder is listed once, and only names that are not in it follow.
 */
export function* lots(dir: string, candidates: Iterable<string>): Generator<string[], void> {
  let lot: string[] = [];
  let seen = 0;
  let taken: ReadonlySet<string> | undefined;
  for (const name of candidates) {
    if (seen++ === PROBES) taken = new Set(fs.existsSync(dir) ? fs.readdirSync(dir) : []);
    if (taken?.has(name)) continue;
    lot.push(name);
    if (seen > 1 && seen !== PROBES && taken === undefined) continue;
    yield lot;
    lot = [];
  }
  if (lot.length > 0) yield lot;
}

/** Removes a file; it may be gone. (rmSync would load a module for it.) */
export function unlink(file: string): void {
  try {
    fs.unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

export function isThere(file: string): boolean {
  return fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

export function readHolder(file: string): Holder | undefined {
  const text = readLease(file);
  return text === undefined ? undefined : parseLease(text);
}

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = fs.constants;
/** A number, though the types know flags by their letters only. A pipe or a link in a lease's place neither blocks nor leads astray. */
const READING = (O_RDONLY | O_NONBLOCK | O_NOFOLLOW) as unknown as string;

/** Undefined when there is none, or something else of that name (a folder, a link). */
export function readLease(file: string): string | undefined {
  try {
    return fs.readFileSync(file, { encoding: 'utf8', flag: READING });
  } catch {
    return undefined;
  }
}
