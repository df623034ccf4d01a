/** Whether the registry answers, and since when. */
export interface ContactState {
  reachable: boolean;
  /** Milliseconds since the epoch. */
  since: number;
  error?: string;
}

export class Contact {
  readonly #now: () => number;
  readonly #told: (words: string, more: Readonly<Record<string, unknown>>) => void;
  readonly #where: string;
  #state: ContactState;
  #known = false;

  /** @param where the registry, as messages name it */
  constructor(
    now: () => number,
    where: string,
    told: (words: string, more: Readonly<Record<string, unknown>>) => void,
  ) {
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

  lost(error: string): void {
    if (this.#known && !this.#state.reachable) return;
    this.#set({ reachable: false, since: this.#now(), error });
  }

  #set(state: ContactState): void {
    this.#known = true;
    this.#state = state;
    const { reachable, error } = state;
    const words = reachable ? 'the registry answers' : 'the registry cannot be reached';
    this.#told(words, { registry: this.#where, ...(error !== undefined && { error }) });
  }
}
