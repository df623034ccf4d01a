/** Work that is repeated: when asked for, at intervals, and after a failure with longer and longer pauses. One round at a time. */

export interface RoundTimes {
  /** Milliseconds between rounds that nobody asked for. */
  routine: number;
  /** Milliseconds after a failure: the first pause, which doubles, and the longest. */
  first: number;
  longest: number;
}

const TIMES: RoundTimes = { routine: 5000, first: 250, longest: 3000 };

export class Rounds {
  readonly #work: () => Promise<void>;
  readonly #times: RoundTimes;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #pause: number;

  /** @param work tells by itself what goes wrong; that it throws means: soon again */
  constructor(work: () => Promise<void>, times: RoundTimes = TIMES) {
    this.#work = work;
    this.#times = times;
    this.#pause = times.first;
  }

  /** A round begins now, or when the one that runs has ended. */
  soon(): void {
    if (this.#closed) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#schedule(0);
  }

  /** Resolves when the round that runs has ended; no other begins. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  reopen(): void {
    this.#closed = false;
    this.soon();
  }

  #schedule(delay: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#begin(), delay);
  }

  #begin(): void {
    this.#again = false;
    this.#running = this.#round().then((next) => {
      this.#running = undefined;
      if (!this.#closed) this.#schedule(this.#again ? 0 : next);
    });
  }

  /** @returns milliseconds until the next */
  async #round(): Promise<number> {
    const { routine, first, longest } = this.#times;
    try {
      await this.#work();
      this.#pause = first;
      return routine;
    } catch {
      const pause = this.#pause;
      this.#pause = Math.min(longest, pause * 2);
      // Hosts that lost the registry at the same moment must not come back at the same moment.
      return pause * (0.75 + Math.random() / 2);
    }
  }
}
