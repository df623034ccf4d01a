/** What every watch does about a server that goes away: tries again, later and later, and tells people once. */
import type { WatchHooks } from '../registry.ts';

/** Milliseconds between attempts: from, to. */
const RETRY = { first: 100, longest: 5000 };

export class Attempts {
  readonly #hooks: Pick<WatchHooks, 'lost' | 'found'>;
  readonly #ended: AbortSignal;
  #isLost = false;
  /** The stream was open: that it ends now is no outage yet. */
  #wasOpen = false;
  #failures = 0;

  /** `ended`: nothing is told, and nobody waits, after that. */
  constructor(hooks: Pick<WatchHooks, 'lost' | 'found'>, ended: AbortSignal) {
    this.#hooks = hooks;
    this.#ended = ended;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** The server answered. */
  succeeded(): void {
    this.#failures = 0;
    if (!this.#isLost) return;
    this.#isLost = false;
    this.#hooks.found();
  }

  /** It answered, and goes on answering. */
  opened(): void {
    this.succeeded();
    this.#wasOpen = true;
  }

  /** Makes one attempt after the other until the end; what `explain` makes of a failure is what people are told. */
  async repeat(attempt: () => Promise<void>, explain: (error: unknown) => Error): Promise<void> {
    while (!this.#ended.aborted) {
      try {
        await attempt();
      } catch (error) {
        if (this.#ended.aborted) return;
        await this.#failed(explain(error));
      }
    }
  }

  /** Resolves when it is time for another attempt. An outage is what the next attempt cannot mend: servers restart, and history is forgotten. */
  async #failed(error: Error): Promise<void> {
    const wasOpen = this.#wasOpen;
    this.#wasOpen = false;
    if (!this.#isLost && !wasOpen) {
      this.#isLost = true;
      this.#hooks.lost(error);
    }
    const most = Math.min(RETRY.longest, RETRY.first * 2 ** Math.min(this.#failures, 8));
    this.#failures += 1;
    await this.#pause(most * (0.5 + Math.random() / 2));
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#ended.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#ended.addEventListener('abort', done);
    });
  }
}
