/**
 * How often launchers took the cold path although an agent had been started: nobody else can tell, so the launcher appends one letter to
 * `<runDir>/fallbacks` (bin/launcher/fallback.cc). The agent makes the file, so that none appears where there never was an agent.
 */
import { closeSync, fchmodSync, fstatSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Letter and what it stands for. */
const REASONS: Readonly<Record<string, string>> = {
  /** No agent listens: it has ended, or its queue is full. */
  a: 'absent',
  /** It did not greet in time. */
  s: 'silent',
  /** It is of another build, or stands in another namespace or root folder. */
  o: 'other',
  /** It did not take the request over, or left it to the cold path. */
  r: 'refused',
  /** It went away before it answered. */
  b: 'broken',
};
/** Bytes; a file that has grown over this starts anew with the agent. */
const LONGEST = 1 << 20;

const fileIn = (runDir: string) => join(runDir, 'fallbacks');

/** Makes the file, or keeps what is in it: those between two agents count. Throws an Error with `code`. */
export function openFallbacks(runDir: string): void {
  const fd = openSync(fileIn(runDir), 'a', 0o600);
  try {
    fchmodSync(fd, 0o600);
    if (fstatSync(fd).size > LONGEST) ftruncateSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Every reason with its count, zeros included; all zero where the file cannot be read. */
export function fallbackCounts(runDir: string): Map<string, number> {
  const counts = new Map(Object.values(REASONS).map((reason) => [reason, 0]));
  let letters = '';
  try {
    letters = readFileSync(fileIn(runDir), 'latin1');
  } catch {
    // Somebody removed it: launchers count nothing then.
  }
  for (const letter of letters) {
    const reason = REASONS[letter];
    if (reason !== undefined) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return counts;
}
