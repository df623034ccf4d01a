/** What is wrong with a network on this host, one thing of each kind at a time; each is told once. */

export type ProblemKind =
  /** This host is no member, or cannot say who it is. */
  | 'member'
  /** Containers have addresses of a subnet that went to another host. */
  | 'lost'
  /** It was given another name while containers hold addresses. */
  | 'name'
  /** Another host holds what this one holds. */
  | 'conflict'
  /** The conflist wants what cannot be done now. */
  | 'configuration'
  /** Pools overlap the host's routes, or pools or tunnel are another network's. */
  | 'overlap'
  | 'kernel'
  /** Blocks and endpoints of an L2 network. */
  | 'endpoints';

export class Problems {
  readonly #found = new Map<ProblemKind, string>();
  readonly #told: (kind: ProblemKind, words: string | undefined) => void;

  /** @param told called when a problem of a kind appears, changes or ends (undefined) */
  constructor(told: (kind: ProblemKind, words: string | undefined) => void) {
    this.#told = told;
  }

  set(kind: ProblemKind, words: string | undefined): void {
    if (this.#found.get(kind) === words) return;
    if (words === undefined) this.#found.delete(kind);
    else this.#found.set(kind, words);
    this.#told(kind, words);
  }

  has(kind: ProblemKind): boolean {
    return this.#found.has(kind);
  }

  all(): string[] {
    return [...this.#found.values()];
  }
}
