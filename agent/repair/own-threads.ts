/** Which changes of the ruleset were made by this process: the kernel tells the thread and its name of each. */
import { readdirSync, readFileSync } from 'node:fs';

export class OwnThreads {
  /** Names by number. */
  #names = new Map<number, string>();

  /**
   * Whether a change was made by a thread of ours. The kernel's numbers are those of the first PID namespace: elsewhere, and for a thread
   * that has ended, the answer is no.
   */
  has(name: string, thread: number | undefined): boolean {
    if (thread === undefined) return false;
    // Threads come with work, and stay.
    if (!this.#names.has(thread)) this.#names = readThreads();
    return this.#names.get(thread) === name;
  }

  /** Whether one of ours has that name; so have the threads of a plugin on the cold path. */
  hasName(name: string): boolean {
    return [...this.#names.values()].includes(name);
  }
}

function readThreads(): Map<number, string> {
  const names = new Map<number, string>();
  for (const thread of readdirSync('/proc/self/task')) {
    try {
      names.set(Number(thread), readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim());
    } catch {
      // It has ended meanwhile: it changes nothing any more.
    }
  }
  return names;
}
