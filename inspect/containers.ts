/** The containers of this machine: from libcni's cache, from what weft wrote down, and from the namespaces that live. */

import { basename } from 'node:path';
import { CniError, ErrorCode } from '../cni/errors.ts';
import { addressOf } from '../cni/prefix.ts';
import { readRecord, recordFolder, recordNames } from '../plugins/record.ts';
import { listCached, resultAddresses } from '../runtime/cache.ts';
import { identityOf } from './host/namespaces.ts';
import type { Surveyed } from './host/survey.ts';

export interface Container {
  /** As the runtime gave it; for a namespace that nobody wrote down, the name of its pin, or `pid-4711`. */
  id: string;
  /** What people call it: `<namespace>/<pod>` of Kubernetes, Podman's name. */
  name?: string;
  /** `dev:inode`; absent where it does not live any more, or cannot be seen from here. */
  namespace?: string;
  /** By which its namespace can be opened. */
  path?: string;
  /** The first process in it. */
  pid?: number;
  /** Those it was attached to, as far as written down. */
  networks: readonly string[];
  /** Without prefix length, of all its links but loopback. */
  addresses: readonly string[];
}

/** What is written down of one attachment, wherever. */
interface Note {
  id: string;
  network: string;
  netns: string | undefined;
  args: readonly (readonly [string, string])[];
  addresses: readonly string[];
}

/**
 * All that is known, sorted by id. Containers that have ended and were not detached are among them, without namespace.
 * @param cacheDir of libcni's results and weft's records
 * @param namespaces those that live; but for the machine's own, those that nobody wrote down count as containers, too
 */
export function listContainers(cacheDir: string, namespaces: ReadonlyMap<string, Surveyed>): Container[] {
  const known = new Map<string, Container>();
  for (const note of notes(cacheDir)) {
    const found = known.get(note.id);
    known.set(note.id, withNote(found ?? { id: note.id, networks: [], addresses: [] }, note, namespaces));
  }
  const taken = new Set([...known.values()].map(({ namespace }) => namespace));
  const others = [...namespaces.values()].filter(
    ({ identity, pids }) => !taken.has(identity) && !pids.includes(1),
  );
  return [...known.values(), ...others.map(unrecorded)].sort((a, b) => (a.id < b.id ? -1 : 1));
}

function notes(cacheDir: string): Note[] {
  const folder = recordFolder(cacheDir);
  const records = recordNames(folder).flatMap((name) => {
    const record = readRecord(`${folder}/${name}`);
    return record === undefined ? [] : [record];
  });
  return [
    ...listCached(cacheDir).map((cached) => ({
      ...{ id: cached.containerId, network: cached.network, netns: cached.netns },
      ...{ args: cached.cniArgs, addresses: resultAddresses(cached.result).map(addressOf) },
    })),
    ...records.map(({ containerId, network, netns, env }) => ({
      ...{ id: containerId, network, netns, addresses: [] },
      args: argsOf(env.CNI_ARGS),
    })),
  ];
}

function argsOf(text = ''): [string, string][] {
  return text.split(';').map((pair) => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}

function withNote(
  container: Container,
  { network, netns, args, addresses }: Note,
  namespaces: ReadonlyMap<string, Surveyed>,
): Container {
  const name = container.name ?? nameIn(args);
  const identity =
    container.namespace ?? (netns === undefined || netns === '' ? undefined : identityOf(netns));
  const living = identity === undefined ? undefined : namespaces.get(identity);
  return {
    ...container,
    ...(name === undefined ? {} : { name }),
    ...(living === undefined ? {} : placed(living, netns)),
    networks: unique([...container.networks, network]),
    addresses: unique([
      ...container.addresses,
      ...addresses,
      ...(living === undefined ? [] : addressesIn(living)),
    ]),
  };
}

function placed({ identity, path, pids }: Surveyed, netns?: string): Partial<Container> {
  const [pid] = pids;
  return { namespace: identity, path: netns ?? path, ...(pid === undefined ? {} : { pid }) };
}

function unrecorded(one: Surveyed): Container {
  const [pid] = one.pids;
  const pin = one.paths.find((path) => !path.startsWith('/proc/'));
  return {
    id: pin === undefined ? `pid-${pid ?? '?'}` : basename(pin),
    ...placed(one),
    networks: [],
    addresses: addressesIn(one),
  };
}

function addressesIn({ links, addresses }: Surveyed): string[] {
  const loopback = new Set(links.filter((link) => link.loopback).map(({ index }) => index));
  return addresses
    .filter(({ link, scope }) => !loopback.has(link) && scope === 0)
    .map(({ address }) => address);
}

function unique(all: readonly string[]): string[] {
  return [...new Set(all)];
}

/** Kubernetes' arguments; Podman gives its containers' names in the same. */
function nameIn(args: readonly (readonly [string, string])[]): string | undefined {
  const { K8S_POD_NAME: pod, K8S_POD_NAMESPACE: namespace } = Object.fromEntries(args) as Record<
    string,
    string
  >;
  if (!pod) return undefined;
  return namespace && namespace !== pod ? `${namespace}/${pod}` : pod;
}

/**
 * The container that a person means: by its id or the beginning of it, by its name (without Kubernetes' namespace, too), by a path of its
 * namespace, its name in `ip netns`, or a process. Undefined: none. Throws CniError where there are several.
 */
export function findContainer(all: readonly Container[], word: string): Container | undefined {
  const path = word.includes('/')
    ? identityOf(word)
    : /^\d+$/.test(word)
      ? identityOf(`/proc/${word}/ns/net`)
      : undefined;
  const ways: readonly ((one: Container) => boolean)[] = [
    ({ id, name }) => id === word || name === word,
    ({ namespace }) => path !== undefined && namespace === path,
    ({ name }) => name?.split('/').at(-1) === word,
    ({ path }) => path !== undefined && basename(path) === word,
    ({ id }) => word.length >= 2 && id.startsWith(word),
  ];
  for (const way of ways) {
    const matching = all.filter(way);
    const recorded = matching.filter(({ networks }) => networks.length > 0);
    const found = recorded.length > 0 ? recorded : matching;
    const places = new Set(found.map(({ namespace, id }) => namespace ?? id));
    if (places.size > 1) {
      const names = found.slice(0, 5).map(({ id, name }) => (name === undefined ? id : `${id} (${name})`));
      throw new CniError(
        ErrorCode.invalidEnvironment,
        `${JSON.stringify(word)} may mean ${found.length} containers: ${names.join(', ')}: give more of the id, or the path of its namespace`,
      );
    }
    // The same namespace under two ids: the one that lives is as good as the other.
    const best = found.find(({ namespace }) => namespace !== undefined) ?? found[0];
    if (best !== undefined) return best;
  }
  return undefined;
}
