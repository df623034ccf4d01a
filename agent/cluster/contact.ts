/** Whether the registry answers with what can be understood, and since when. */
import { RegistryError } from '../../cluster/registry.ts';

export interface ContactState {
  reachable: boolean;
  /** Milliseconds since the epoch. */
  since: number;
  error?: string;
  /** It answers, but what is stored there is wrong. */
  invalid?: true;
}

/** A line for the log: what somebody has to mend is an error, what comes back by itself is none. */
export type ContactTold = (
  words: string,
  more: Readonly<Record<string, unknown>>,
  level: 'info' | 'error',
) => void;

export class Contact {
  readonly #now: () => number;
  readonly #told: ContactTold;
  readonly #where: string;
  #state: ContactState;
  #known = false;
  /** Errors of this outage that were told: attempts of several kinds may fail in turns, each with its own. */
  readonly #said = new Set<string>();

  /** @param where the registry, as messages name it */
  constructor(now: () => number, where: string, told: ContactTold) {
    this.#now = now;
    this.#where = where;
    this.#told = told;
    this.#state = { reachable: false, since: now() };
  }

  get state(): ContactState {
    return this.#state;
  }

  reached(): void {
    if (this.#known && this.#state.reachable) return;
    this.#set({ reachable: true, since: this.#now() });
  }

  /** Another error of the same outage is told as well; the outage began when it began. */
  lost(error: Error): void {
    const { message } = error;
    const { reachable, since, error: before } = this.#state;
    const isOut = this.#known && !reachable;
    if (isOut && before === message) return;
    const invalid = error instanceof RegistryError && error.problem === 'invalid';
    this.#set({
      ...{ reachable: false, since: isOut ? since : this.#now(), error: message },
      ...(invalid && { invalid }),
    });
  }

  #set(state: ContactState): void {
    this.#known = true;
    this.#state = state;
    const { reachable, error, invalid } = state;
    if (reachable) this.#said.clear();
    else if (error !== undefined) {
      if (this.#said.has(error)) return;
      this.#said.add(error);
    }
    const lost = `the registry cannot be ${invalid ? 'understood: what it said before stays' : 'reached'}`;
    this.#told(
      reachable ? 'the registry answers' : lost,
      { registry: this.#where, ...(error !== undefined && { error }) },
      invalid ? 'error' : 'info',
    );
  }
}
