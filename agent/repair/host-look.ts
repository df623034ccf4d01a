/** The host as it is, dumped once: comparing any number of attachments with it costs no further question. */
import { type Address, listAddresses } from '../../netlink/address.ts';
import { type Link, listLinks } from '../../netlink/link.ts';
import { listNeighbours, type Neighbour } from '../../netlink/neighbour.ts';
import { listRoutes, type Route } from '../../netlink/route.ts';
import { Look } from '../../plan/look.ts';
import type { Where } from '../../plan/step.ts';
import type { Surroundings } from '../../plan/surroundings.ts';

export class HostLook extends Look {
  readonly links: ReadonlyMap<string, Link>;
  readonly #addresses: ReadonlyMap<number | undefined, Address[]>;
  readonly #routes: ReadonlyMap<number | undefined, Route[]>;
  /** Few plugins have neighbours of their own: dumped when the first is asked for. */
  #neighbours: Promise<ReadonlyMap<number | undefined, Neighbour[]>> | undefined;

  private constructor(
    surroundings: Surroundings,
    links: readonly Link[],
    addresses: Address[],
    routes: Route[],
  ) {
    super(surroundings);
    this.links = new Map(links.map((link) => [link.name, link]));
    this.#addresses = groupByLink(addresses);
    this.#routes = groupByLink(routes);
  }

  /** Throws NetlinkError. */
  static async take(surroundings: Surroundings): Promise<HostLook> {
    const [links, addresses, routes] = await surroundings.host.send(
      listLinks(),
      listAddresses(),
      listRoutes(),
    );
    return new HostLook(
      surroundings,
      links.ok ? links.value : [],
      addresses.ok ? addresses.value : [],
      routes.ok ? routes.value : [],
    );
  }

  override async link(_: Where, name: string): Promise<Link | undefined> {
    return this.links.get(name);
  }

  override async addresses(_: Where, dev: string): Promise<Address[]> {
    return this.#addresses.get(this.links.get(dev)?.index ?? -1) ?? [];
  }

  override async routes(_: Where, dev: string): Promise<Route[]> {
    return this.#routes.get(this.links.get(dev)?.index ?? -1) ?? [];
  }

  override async neighbours(_: Where, dev: string): Promise<Neighbour[]> {
    this.#neighbours ??= this.#dumpNeighbours();
    return (await this.#neighbours).get(this.links.get(dev)?.index ?? -1) ?? [];
  }

  async #dumpNeighbours(): Promise<ReadonlyMap<number | undefined, Neighbour[]>> {
    const [reply] = await this.surroundings.host.send(listNeighbours());
    return groupByLink(reply.ok ? reply.value : []);
  }
}

function groupByLink<T extends { link: number | undefined }>(
  things: readonly T[],
): Map<number | undefined, T[]> {
  const groups = new Map<number | undefined, T[]>();
  for (const thing of things) {
    const group = groups.get(thing.link);
    if (group) group.push(thing);
    else groups.set(thing.link, [thing]);
  }
  return groups;
}
