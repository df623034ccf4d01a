/** Who is where on this machine: a sketch of every network namespace, and which links of theirs are two ends of one. */
import { closeSync, openSync } from 'node:fs';
import { listAddresses } from '../../netlink/address.ts';
import type { Door, Namespace } from '../../netlink/door.ts';
import { type Link, listLinks } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
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
  const peers = await allPeers(door, sketches);
  for (const [identity, one] of sketches)
    sketches.set(identity, { ...one, peers: peers.get(identity) ?? new Map() });
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

type Peers = Map<string, Map<number, string>>;

/**
 * The other ends of all links. A link tells the index and a number for the namespace: the kernel says which of the candidates that number
 * is. Both ends of a veth are known by either: the namespaces with the most links are asked first, which leaves nothing to ask of others.
 */
async function allPeers(door: Door, sketches: ReadonlyMap<string, Surveyed>): Promise<Peers> {
  const owners = ownersByIndex(sketches);
  const peers: Peers = new Map([...sketches.keys()].map((identity) => [identity, new Map()]));
  const apart = new Map(
    [...sketches.values()].map((one) => [
      one,
      one.links.filter(({ link, linkNetnsId }) => link !== undefined && linkNetnsId !== undefined),
    ]),
  );
  for (const [one, links] of [...apart].sort(([, a], [, b]) => b.length - a.length)) {
    const unknown = links.filter(({ index }) => !peers.get(one.identity)?.has(index));
    const candidates = new Set(unknown.flatMap((link) => candidatesFor(link, sketches, owners)));
    const numbers = await numbersOf(door, one, [...candidates], sketches);
    for (const { index, link = -1, linkNetnsId = -1, kind } of unknown) {
      const there = numbers.get(linkNetnsId);
      if (there === undefined) continue;
      peers.get(one.identity)?.set(index, there);
      if (kind === 'veth') peers.get(there)?.set(link, one.identity);
    }
  }
  return peers;
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

/** Namespaces at once: each is an open file. */
const AT_ONCE = 256;

/** By which numbers a namespace knows others. Those that are gone, or that it knows by none, are left out. */
async function numbersOf(
  door: Door,
  { path }: Surveyed,
  candidates: readonly string[],
  sketches: ReadonlyMap<string, Surveyed>,
): Promise<Map<number, string>> {
  const numbers = new Map<number, string>();
  if (candidates.length === 0) return numbers;
  await within(door, path, async (ns) => {
    for (let at = 0; at < candidates.length; at += AT_ONCE) {
      const opened = candidates.slice(at, at + AT_ONCE).flatMap((identity) => {
        const fd = openOrNone(sketches.get(identity)?.path);
        return fd === undefined ? [] : [{ identity, fd }];
      });
      try {
        const replies = await ns.send(...opened.map(({ fd }) => tolerating(namespaceId(fd), 'EINVAL')));
        replies.forEach((reply, i) => {
          const identity = opened[i]?.identity;
          if (reply.ok && reply.value !== undefined && identity !== undefined)
            numbers.set(reply.value, identity);
        });
      } finally {
        for (const { fd } of opened) closeSync(fd);
      }
    }
  });
  return numbers;
}

function openOrNone(path: string | undefined): number | undefined {
  try {
    return path === undefined ? undefined : openSync(path, 'r');
  } catch {
    return undefined;
  }
}
