/** Whether the registry answers, and since when. */
export interface ContactState {
  reachable: boolean;
  /** Milliseconds since the epoch. */
  since: number;
  error?: string;
}

export class Contact {
  readonly #now: () => number;
  readonly #changed: (state: ContactState) => void;
  #state: ContactState;
  #known = false;

  constructor(now: () => number, changed: (state: ContactState) => void) {
    this.#now = now;
    this.#changed = changed;
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
    this.#changed(state);
  }
}
