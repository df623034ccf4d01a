/** Whether the host's own routes leave a network's pools alone; asked now and then. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Parts } from './parts.ts';
import { overlapWords } from './words.ts';

/** Milliseconds between two looks. */
const LASTS = 30_000;

export class OwnRoutes {
  readonly #parts: Parts;
  #looked = Number.NEGATIVE_INFINITY;
  #found: string | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * What overlaps, for people; undefined when nothing does. Throws NetlinkError.
   * @param held subnets that the host has, in which its routes belong
   * @param anew not what was found a moment ago
   */
  async overlap(
    network: ClusterNetwork,
    held: readonly string[],
    anew: boolean,
  ): Promise<string | undefined> {
    if (!anew && performance.now() - this.#looked < LASTS) return this.#found;
    const routes = await this.#parts.overlaps(network, held);
    this.#found = routes.length > 0 ? overlapWords(network, routes) : undefined;
    this.#looked = performance.now();
    return this.#found;
  }
}
