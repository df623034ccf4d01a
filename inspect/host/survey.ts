/** Who is where on this machine: a sketch of every network namespace, and which links of theirs are two ends of one. */
import { closeSync, openSync } from 'node:fs';
import { listAddresses } from '../../netlink/address.ts';
import type { Door, Namespace } from '../../netlink/door.ts';
import { type Link, listLinks } from '../../netlink/link.ts';
import { namespaceId } from '../../netlink/namespace-id.ts';
import { type FoundNamespace, findNamespaces } from './namespaces.ts';
import type { Sketch } from './snapshot.ts';

/** One namespace with how it can be reached. */
export interface Surveyed extends Sketch {
  paths: readonly string[];
  pids: readonly number[];
}

/**
 * Looks into every namespace of this machine that can be opened.
 * @param more paths that a person named, in addition to those that are found
 */
export async function survey(door: Door, more: readonly string[] = []): Promise<Map<string, Surveyed>> {
  const found = findNamespaces(more);
  const sketches = new Map<string, Surveyed>();
  for (const one of found.values()) {
    const sketch = await look(door, one);
    if (sketch !== undefined) sketches.set(one.identity, sketch);
  }
  const owners = ownersByIndex(sketches);
  for (const one of sketches.values()) {
    sketches.set(one.identity, { ...one, peers: await peersOf(door, one, sketches, owners) });
  }
  return sketches;
}

/** Runs `act` with an open namespace; undefined where it is gone, or closed to us. */
async function within<T>(
  door: Door,
  path: string,
  act: (ns: Namespace) => Promise<T>,
): Promise<T | undefined> {
  let ns: Namespace | undefined;
  try {
    ns = await door.open(path);
    return await act(ns);
  } catch {
    return undefined;
  } finally {
    ns?.close();
  }
}

async function look(door: Door, { identity, paths, pids }: FoundNamespace): Promise<Surveyed | undefined> {
  const [path] = paths;
  if (path === undefined) return undefined;
  return await within(door, path, async (ns) => {
    const [links, addresses] = await ns.send(listLinks(), listAddresses());
    if (!links.ok || !addresses.ok) return undefined;
    return {
      ...{ identity, path, paths, pids, peers: new Map() },
      links: links.value,
      addresses: addresses.value,
    };
  });
}

/** Which namespaces have a link of an index whose other end has a certain index: candidates for being that end. */
function ownersByIndex(sketches: ReadonlyMap<string, Sketch>): Map<string, string[]> {
  const owners = new Map<string, string[]>();
  for (const { identity, links } of sketches.values()) {
    for (const { index, link } of links) {
      const key = `${index} ${link ?? ''}`;
      owners.set(key, [...(owners.get(key) ?? []), identity]);
    }
  }
  return owners;
}

/**
 * The other ends of a namespace's links. A link tells the index and a number for the namespace: the kernel says which of the
 * candidates that number is.
 */
async function peersOf(
  door: Door,
  one: Surveyed,
  sketches: ReadonlyMap<string, Surveyed>,
  owners: ReadonlyMap<string, readonly string[]>,
): Promise<Map<number, string>> {
  const apart = one.links.filter(({ link, linkNetnsId }) => link !== undefined && linkNetnsId !== undefined);
  if (apart.length === 0) return new Map();
  const candidates = new Set(apart.flatMap((link) => candidatesFor(link, sketches, owners)));
  const numbers = new Map<number, string>();
  await within(door, one.path, async (ns) => {
    for (const identity of candidates) {
      const number = await numberOf(ns, sketches.get(identity)?.path);
      if (number !== undefined) numbers.set(number, identity);
    }
  });
  return new Map(
    apart.flatMap(({ index, linkNetnsId = -1 }) => {
      const identity = numbers.get(linkNetnsId);
      return identity === undefined ? [] : [[index, identity] as const];
    }),
  );
}

function candidatesFor(
  { index, link, kind }: Link,
  sketches: ReadonlyMap<string, Sketch>,
  owners: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  if (kind === 'veth') return owners.get(`${link ?? ''} ${index}`) ?? [];
  // The lower link of a macvlan or VLAN does not know what stands on it.
  return [...sketches.values()]
    .filter(({ links }) => links.some((other) => other.index === link))
    .map(({ identity }) => identity);
}

async function numberOf(ns: Namespace, path: string | undefined): Promise<number | undefined> {
  if (path === undefined) return undefined;
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const [reply] = await ns.send(namespaceId(fd));
    return reply.ok ? reply.value : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
