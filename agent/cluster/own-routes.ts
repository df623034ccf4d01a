/** Whether the host's own routes, and its other networks, leave a network's pools and tunnel alone; asked now and then. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Parts } from './parts.ts';
import { clashWithAnother, overlapWords } from './words.ts';

/** Milliseconds between two looks. */
const LASTS = 30_000;

export class OwnRoutes {
  readonly #parts: Parts;
  readonly #rivals: () => readonly ClusterNetwork[];
  #looked = Number.NEGATIVE_INFINITY;
  #found: string | undefined;

  /** @param rivals other networks of this host that were there before */
  constructor(parts: Parts, rivals: () => readonly ClusterNetwork[]) {
    this.#parts = parts;
    this.#rivals = rivals;
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
    const rival = held.length === 0 ? clashWithAnother(network, this.#rivals()) : undefined;
    if (rival !== undefined) return rival;
    if (!anew && performance.now() - this.#looked < LASTS) return this.#found;
    const routes = await this.#parts.overlaps(network, held);
    this.#found = routes.length > 0 ? overlapWords(network, routes) : undefined;
    this.#looked = performance.now();
    return this.#found;
  }
}
