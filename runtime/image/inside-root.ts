/** Paths out of an archive, looked up below a folder that they must not leave. */
import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** A path of an archive that points out of it. */
export class EscapeError extends Error {
  override readonly name = 'EscapeError';
}

/** As many as the kernel follows (MAXSYMLINKS). */
const MOST_LINKS = 40;

/** The parts of an entry's name. Throws EscapeError for one that climbs. */
export function partsOf(name: string): string[] {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || name.includes('\0'))
    throw new EscapeError(`${JSON.stringify(name)} points out of the layer`);
  return parts;
}

/**
 * Where a path is below `root` when `root` is taken for `/`: links on its way (not the last part) are followed as the container would. Throws
 * EscapeError for links that go in a circle.
 */
export function insideRoot(root: string, parts: readonly string[]): string {
  const todo = [...parts];
  const done: string[] = [];
  let links = 0;
  for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
    if (part === '..') done.pop();
    else done.push(part);
    if (part === '..' || todo.length === 0) continue;
    const here = join(root, ...done);
    if (!lstatSync(here, { throwIfNoEntry: false })?.isSymbolicLink()) continue;
    if (++links > MOST_LINKS) throw new EscapeError(`${parts.join('/')} leads through links in a circle`);
    const target = readlinkSync(here);
    done.pop();
    if (target.startsWith('/')) done.length = 0;
    todo.unshift(...target.split('/').filter((one) => one !== '' && one !== '.'));
  }
  return join(root, ...done);
}
