/** Reads what `weft doctor` judges: the host, its containers, what is written down, the programs, the registry. */
import { CniError } from '../../cni/errors.ts';
import { type Container, listContainers } from '../../inspect/containers.ts';
import type { DoctorView, Inside } from '../../inspect/doctor/view.ts';
import type { Surveyed } from '../../inspect/host/survey.ts';
import { gatherNat, type NatView } from '../../inspect/nat/view.ts';
import { type Gathered, gather } from '../../inspect/path/gather.ts';
import { readRuleset } from '../../inspect/ruleset/read.ts';
import type { Door, Namespace } from '../../netlink/door.ts';
import { listNeighbours } from '../../netlink/neighbour.ts';
import { listRoutes } from '../../netlink/route.ts';
import { listCached } from '../../runtime/cache.ts';
import type { WeftContext } from '../context.ts';
import { pluginPath } from '../path.ts';
import { readClocks } from './clocks.ts';
import { readConfigurations } from './configurations.ts';
import { readHeldPorts } from './held-ports.ts';
import { readMemberships } from './memberships.ts';
import { probeMembers } from './probe.ts';
import { readSoftware } from './software.ts';
import { predictWays } from './ways.ts';
import { type Lack, type Left, readWritten, type Written } from './written.ts';

export interface Looked {
  gathered: Gathered;
  view: Omit<DoctorView, 'lacking' | 'remains'> & { lacking: readonly Lack[]; remains: readonly Left[] };
  surroundings: Written['surroundings'];
}

export interface LookOptions {
  door: Door;
  /** The host's namespace, held open. */
  host: Namespace;
  /** A registry to ask, besides what the agent of this host knows. */
  registry?: string;
}

/** Changes nothing. Throws CniError(io) where this process may not look. */
export async function examine(
  context: Pick<WeftContext, 'ambient' | 'home'>,
  { door, host, registry }: LookOptions,
): Promise<Looked> {
  const { ambient } = context;
  const { paths } = ambient;
  const gathered = await gather({
    door,
    ...(host.path === undefined ? {} : { here: host.path }),
    readRuleset: (namespace) => readRuleset(namespace, ambient),
    hosts: new Map(),
    containers: (namespaces) => containersOf(paths.cacheDir, namespaces),
  });
  const nat = await gatherNat(gathered);
  const { surroundings, ...written } = await readWritten(host, ambient);
  const folders = pluginPath(context as WeftContext, undefined);
  const memberships = await readMemberships(ambient, registry);
  const view = {
    ...{ nat, ...written, inside: await insides(door, nat), results: listCached(paths.cacheDir) },
    ways: await predictWays(gathered, { nat }),
    software: await readSoftware(context, folders),
    memberships,
    probes: await probeMembers(memberships, host, nat.host.links, ambient),
    clocks: await readClocks(memberships, host, () => ambient.now()),
    heldPorts: readHeldPorts(nat),
    configurations: await readConfigurations({ ambient, path: folders }),
    ...{ now: ambient.now(), started: await startOfMachine(host) },
  };
  return { gathered, view, surroundings };
}

/** Whoever may not read what is written down may not read rules either, and is told so then. */
function containersOf(cacheDir: string, namespaces: ReadonlyMap<string, Surveyed>): Container[] {
  try {
    return listContainers(cacheDir, namespaces);
  } catch (error) {
    if (error instanceof CniError && error.details?.includes('EACCES')) return [];
    throw error;
  }
}

/** Routes and neighbours of every container; one that goes meanwhile has none. */
async function insides(door: Door, { near, host }: NatView): Promise<Map<string, Inside>> {
  const found = new Map<string, Inside>();
  for (const { identity, path } of near) {
    if (identity === host.identity) continue;
    let namespace: Namespace | undefined;
    try {
      namespace = await door.open(path);
      const [routes, neighbours] = await namespace.send(listRoutes(), listNeighbours());
      if (routes.ok && neighbours.ok)
        found.set(identity, { routes: routes.value, neighbours: neighbours.value });
    } catch {
      // Its checks are left out.
    } finally {
      namespace?.close();
    }
  }
  return found;
}

/** Milliseconds since the epoch (proc(5), /proc/stat: btime). 0 where it cannot be read: then nothing is from before it. */
async function startOfMachine(host: Pick<Namespace, 'readFile'>): Promise<number> {
  try {
    return Number(/^btime (\d+)$/m.exec(await host.readFile('/proc/stat'))?.[1] ?? 0) * 1000;
  } catch {
    return 0;
  }
}
