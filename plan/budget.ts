/** How often the same thing may be put back: whoever removes it again and again may mean it. */

const WINDOW = 60_000;

export type Verdict =
  | 'go'
  /** The last one was used up just now: say so. */
  | 'rest'
  /** Resting, and it was said. */
  | 'resting';

export class Budget {
  readonly #most: number;
  readonly #times = new Map<string, number[]>();
  readonly #resting = new Set<string>();

  /** @param most per thing and minute */
  constructor(most: number) {
    this.#most = most;
  }

  /** Asks for one correction of a thing at a time (milliseconds, monotonic). */
  ask(thing: string, now: number): Verdict {
    const recent = (this.#times.get(thing) ?? []).filter((time) => now - time < WINDOW);
    if (recent.length < this.#most) {
      this.#resting.delete(thing);
      this.#times.set(thing, [...recent, now]);
      return 'go';
    }
    if (this.#resting.has(thing)) return 'resting';
    this.#resting.add(thing);
    return 'rest';
  }

  /** Forgets what is long over: memory does not grow with the attachments of a host's life. */
  sweep(now: number): void {
    for (const [thing, times] of this.#times) {
      if (times.some((time) => now - time < WINDOW)) continue;
      this.#times.delete(thing);
      this.#resting.delete(thing);
    }
  }
}
