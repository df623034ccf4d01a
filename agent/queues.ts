/** Work in order where it has one key, side by side where it has not. */
export class Queues {
  readonly #last = new Map<string, Promise<unknown>>();

  /** How many keys have work. */
  get size(): number {
    return this.#last.size;
  }

  /** Runs `work` after all earlier work of the key, whatever became of that. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const mine = before === undefined ? work() : before.then(work, work);
    this.#last.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }

  /** Resolves when no work is left, also none that was added meanwhile. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.allSettled(this.#last.values());
  }
}
