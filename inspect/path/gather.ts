/** Reads what a prediction asks for, and no more: namespace by namespace, as the packet comes there. */
import { basename } from 'node:path';
import type { Door } from '../../netlink/door.ts';
import type { Container } from '../containers.ts';
import { identityOf } from '../host/namespaces.ts';
import { type ReadRuleset, type Snapshot, takeSnapshot } from '../host/snapshot.ts';
import { type Surveyed, survey } from '../host/survey.ts';
import type { Place } from './hop.ts';
import { type Prediction, predict } from './predict.ts';
import type { Question, World } from './world.ts';

export interface Sources {
  door: Door;
  readRuleset: ReadRuleset;
  /** The namespace that is this host: a path; absent: that of this process. */
  here?: string;
  /** Other hosts on this machine, by the name they are to have: paths of their namespaces. */
  hosts: ReadonlyMap<string, string>;
  /** Called with what the survey found, for the containers that are known. */
  containers(namespaces: ReadonlyMap<string, Surveyed>): readonly Container[];
}

/** What a command asks about: where everything is, and predictions over it. */
export interface Gathered {
  /** The namespace that this process is in. */
  here: string;
  namespaces: ReadonlyMap<string, Surveyed>;
  containers: readonly Container[];
  /** Namespaces that a link, or several one after the other, leads to from this host: machines have others that look alike. */
  connected: ReadonlySet<string>;
  placeOf(identity: string): Place;
  /** Reads one namespace whole; what was read is not read again. Throws where it cannot be opened. */
  snapshot(identity: string): Promise<Snapshot>;
  predict(question: Question): Promise<Prediction>;
}

/** More namespaces than a packet passes. */
const MOST_ROUNDS = 64;

export async function gather(sources: Sources): Promise<Gathered> {
  const { door, readRuleset, hosts, here: ownPath = '/proc/self/ns/net' } = sources;
  const namespaces = await survey(door, [ownPath, ...hosts.values()]);
  const containers = sources.containers(namespaces);
  const here = identityOf(ownPath) ?? '';
  const placeOf = places(namespaces, containers, hosts, here);
  const snapshots = new Map<string, Snapshot>();
  const snapshot = async (identity: string): Promise<Snapshot> => {
    const known = snapshots.get(identity);
    if (known !== undefined) return known;
    const sketch = namespaces.get(identity);
    if (sketch === undefined) throw new Error(`the network namespace ${identity} is out of view`);
    const ns = await door.open(sketch.path);
    try {
      const taken = await takeSnapshot(ns, sketch, readRuleset);
      snapshots.set(identity, taken);
      return taken;
    } finally {
      ns.close();
    }
  };
  const world: World = { sketches: namespaces, snapshots, placeOf };
  return {
    ...{ here, namespaces, containers, placeOf, snapshot },
    connected: connectedWith(here, namespaces),
    async predict(question) {
      for (let round = 0; round < MOST_ROUNDS; round += 1) {
        const answer = predict(world, question);
        if (!('needs' in answer)) return answer;
        await snapshot(answer.needs);
      }
      throw new Error(`the packet passes more than ${MOST_ROUNDS} network namespaces`);
    },
  };
}

function connectedWith(here: string, namespaces: ReadonlyMap<string, Surveyed>): Set<string> {
  // Both ends of a veth know each other; a macvlan's lower link does not.
  const edges = new Map<string, Set<string>>();
  const join = (a: string, b: string) => edges.set(a, (edges.get(a) ?? new Set()).add(b));
  for (const { identity, peers } of namespaces.values()) {
    for (const peer of peers.values()) {
      join(identity, peer);
      join(peer, identity);
    }
  }
  const found = new Set([here]);
  for (const one of found) for (const next of edges.get(one) ?? []) found.add(next);
  return found;
}

/** Names for namespaces: what a person called it, what it is written down as, the name of its pin, a process. */
function places(
  namespaces: ReadonlyMap<string, Surveyed>,
  containers: readonly Container[],
  hosts: ReadonlyMap<string, string>,
  here: string,
): (identity: string) => Place {
  const named = new Map([...hosts].map(([name, path]) => [identityOf(path) ?? '', name]));
  const written = new Map(
    containers.flatMap(({ id, name, namespace, networks }) =>
      namespace !== undefined && networks.length > 0 ? [[namespace, name ?? id] as const] : [],
    ),
  );
  const hostName = (identity: string): string => {
    const name = named.get(identity);
    if (name !== undefined) return name;
    if (identity === here) return 'this host';
    const { paths = [], pids = [] } = namespaces.get(identity) ?? {};
    const pin = paths.find((path) => !path.startsWith('/proc/'));
    return pin === undefined ? `namespace of process ${pids[0] ?? '?'}` : basename(pin);
  };
  return (identity) => {
    const container = named.has(identity) || identity === here ? undefined : written.get(identity);
    if (container === undefined) return { host: hostName(identity), namespace: identity };
    // Its host is where the other end of its first link is.
    const [peer = here] = namespaces.get(identity)?.peers.values() ?? [];
    return { host: hostName(peer), container, namespace: identity };
  };
}
