/** What a network namespace looks like at one moment: everything that decides over a packet there, as plain data. */
import { type Address, listAddresses } from '../../netlink/address.ts';
import { AF_INET, AF_INET6 } from '../../netlink/codec.ts';
import { type Connection, listConnections } from '../../netlink/conntrack.ts';
import type { Namespace } from '../../netlink/door.ts';
import { type Link, listLinks } from '../../netlink/link.ts';
import { type Listener, readListeners } from '../../netlink/listeners.ts';
import {
  type FdbEntry,
  listFdb,
  listNeighbours,
  listProxyNeighbours,
  type Neighbour,
} from '../../netlink/neighbour.ts';
import { listRoutes, type Route } from '../../netlink/route.ts';
import { listRules, type PolicyRule } from '../../netlink/rule.ts';
import type { Ruleset } from '../ruleset/model.ts';

import { type LinkProgram, readPrograms } from './programs.ts';
import { readSysctls, type Sysctls } from './sysctls.ts';
import { readVirtualServices, type VirtualService } from './virtual-services.ts';

/** The part that is cheap, and is read of every namespace: who is where. */
export interface Sketch {
  /** `dev:inode`. */
  identity: string;
  /** By which it can be opened. */
  path: string;
  links: readonly Link[];
  addresses: readonly Address[];
  /** For the links that have their other end (or lower link) in another namespace: which one, by the link's index. */
  peers: ReadonlyMap<number, string>;
}

export interface Snapshot extends Sketch {
  routes: readonly Route[];
  policy: readonly PolicyRule[];
  neighbours: readonly Neighbour[];
  proxies: readonly Neighbour[];
  fdb: readonly FdbEntry[];
  sysctls: Sysctls;
  ruleset: Ruleset;
  connections: readonly Connection[];
  /** What stands on links and decides over packets in ways that nobody can read; absent where there is none, or it was not looked for. */
  programs?: readonly LinkProgram[] | undefined;
  /** Services of IPVS, which sends what is for them elsewhere. */
  services?: readonly VirtualService[] | undefined;
  /** Absent where the sockets could not be read: then nobody knows who listens. */
  listeners?: readonly Listener[] | undefined;
}

/** What reads the rules of a namespace: a part of its own (inspect/ruleset). */
export type ReadRuleset = (ns: Namespace) => Promise<Ruleset>;

/**
 * Reads all of a namespace. The parts are read one after the other: a host that changes meanwhile may look as it never was.
 * Throws NetlinkError or an Error with `code` where the namespace is gone or closed to us.
 */
export async function takeSnapshot(
  ns: Namespace,
  sketch: Sketch,
  readRuleset: ReadRuleset,
): Promise<Snapshot> {
  const [links, addresses, routes, policy, neighbours, proxies, fdb] = await ns.send(
    listLinks(),
    listAddresses(),
    listRoutes(),
    listRules(),
    listNeighbours(),
    listProxyNeighbours(),
    listFdb(),
  );
  const found = valueOr(links, []);
  return {
    ...sketch,
    links: found,
    addresses: valueOr(addresses, []),
    routes: valueOr(routes, []),
    policy: valueOr(policy, []),
    neighbours: valueOr(neighbours, []),
    proxies: valueOr(proxies, []),
    fdb: valueOr(fdb, []),
    sysctls: await readSysctls(
      ns,
      // A port of a bridge has nothing to do with addresses.
      found.filter(({ slaveKind }) => slaveKind !== 'bridge').map(({ name }) => name),
    ),
    ruleset: await readRuleset(ns),
    connections: await readConnections(ns),
    listeners: await readListeners(ns),
    programs: await readPrograms(ns, found),
    services: await readVirtualServices(ns),
  };
}

function valueOr<T>(reply: { ok: true; value: T } | { ok: false }, otherwise: T): T {
  return reply.ok ? reply.value : otherwise;
}

/** None where the kernel tracks none. */
async function readConnections(ns: Namespace): Promise<Connection[]> {
  try {
    const [four, six] = await ns.send(listConnections(AF_INET), listConnections(AF_INET6));
    return [...valueOr(four, []), ...valueOr(six, [])];
  } catch {
    return [];
  }
}
