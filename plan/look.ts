/** What CHECK sees: each thing asked for once, however many steps want to know. */
import { type Address, listAddresses } from '../netlink/address.ts';
import { getLink, type Link } from '../netlink/link.ts';
import { tolerating } from '../netlink/message.ts';
import { listNeighbours, type Neighbour } from '../netlink/neighbour.ts';
import { listRoutes, type Route } from '../netlink/route.ts';
import type { Where } from './step.ts';
import { namespaceOf, type Surroundings } from './surroundings.ts';

export class Look {
  readonly surroundings: Surroundings;
  #links = new Map<string, Promise<Link | undefined>>();
  #addresses = new Map<string, Promise<Address[]>>();
  #routes = new Map<string, Promise<Route[]>>();
  #neighbours = new Map<string, Promise<Neighbour[]>>();

  constructor(surroundings: Surroundings) {
    this.surroundings = surroundings;
  }

  /** Undefined when there is no such link. */
  link(where: Where, name: string): Promise<Link | undefined> {
    return once(this.#links, `${where}/${name}`, () => lookForLink(this.surroundings, where, name));
  }

  /** The addresses of a link; none when there is no such link. */
  addresses(where: Where, dev: string): Promise<Address[]> {
    return once(this.#addresses, `${where}/${dev}`, async () => {
      const link = await this.link(where, dev);
      if (!link) return [];
      const [reply] = await namespaceOf(this.surroundings, where).send(listAddresses({ link: link.index }));
      return reply.ok ? reply.value : [];
    });
  }

  /** The routes out of a link, of all tables. */
  routes(where: Where, dev: string): Promise<Route[]> {
    return once(this.#routes, `${where}/${dev}`, async () => {
      const link = await this.link(where, dev);
      if (!link) return [];
      const [reply] = await namespaceOf(this.surroundings, where).send(listRoutes({ link: link.index }));
      return reply.ok ? reply.value : [];
    });
  }

  /** The neighbours on a link. */
  neighbours(where: Where, dev: string): Promise<Neighbour[]> {
    return once(this.#neighbours, `${where}/${dev}`, async () => {
      const link = await this.link(where, dev);
      if (!link) return [];
      const [reply] = await namespaceOf(this.surroundings, where).send(listNeighbours({ link: link.index }));
      return reply.ok ? reply.value : [];
    });
  }
}

function once<T>(answers: Map<string, Promise<T>>, key: string, ask: () => Promise<T>): Promise<T> {
  const known = answers.get(key);
  if (known) return known;
  const asked = ask();
  answers.set(key, asked);
  return asked;
}

/** Undefined when there is no such link. */
export async function lookForLink(
  surroundings: Surroundings,
  where: Where,
  name: string,
): Promise<Link | undefined> {
  const [reply] = await namespaceOf(surroundings, where).send(tolerating(getLink(name), 'ENODEV'));
  return reply.ok ? reply.value : undefined;
}
