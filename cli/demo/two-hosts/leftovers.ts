/** What a host has in its kernel and its folders, to compare before and after. */
import { join } from 'node:path';
import { linksOf, names } from '../leftovers.ts';
import type { ClusterLab } from './lab.ts';

/** Kinds of things, and a line for each that is there. */
export type HostState = ReadonlyMap<string, readonly string[]>;

/** Lines of everything that weft makes on a host. What counts (rules, sets without members) stays for the next container. */
export async function stateOf({ lab }: ClusterLab, host: string): Promise<HostState> {
  const ask = async (...command: [string, ...string[]]): Promise<string[]> => {
    const [file, ...args] = command;
    return (await lab.must(host, file, ...args))
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean);
  };
  const { leases, cache } = lab.folders(host);
  return new Map([
    ['link', (await linksOf(lab, host)).others],
    ['route', [...(await ask('ip', 'route')), ...(await ask('ip', '-6', 'route'))].map(lasting)],
    ['rule', [...(await ask('ip', 'rule')), ...(await ask('ip', '-6', 'rule'))]],
    ['neighbour', await ask('ip', 'neigh', 'show', 'nud', 'permanent')],
    ['FDB entry', (await ask('bridge', 'fdb', 'show')).filter((line) => !isMulticast(line))],
    ['cached result', names(join(cache, 'results'))],
    ['lease', names(leases).flatMap((network) => names(join(leases, network)).filter(isAddress))],
  ]);
}

/** What is there now and was not before: `route 10.244.1.0/24 via ...`. What has to do with a bridge stays with it. */
export function added(before: HostState, after: HostState, bridges: readonly string[]): string[] {
  return [...after].flatMap(([kind, lines]) =>
    lines
      .filter((line) => !before.get(kind)?.includes(line))
      .filter((line) => !line.split(' ').some((word) => bridges.includes(word)))
      .map((line) => `${kind} ${line}`),
  );
}

const isAddress = (name: string) => /^[0-9a-f.:_]+$/i.test(name) && /[.:_]/.test(name);
/** Groups that the kernel joins by itself as soon as a host forwards. */
const isMulticast = (line: string) => /^(33:33|01:00:5e):/.test(line);
/** IPv6 routes tell how long they will stay. */
const lasting = (line: string) => line.replace(/ expires \S+/, '');
