/** What a host has in its kernel and its folders, to compare before and after. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterLab } from './lab.ts';

/** Lines of everything that weft makes on a host. What counts (rules, sets without members) stays for the next container. */
export async function stateOf({ lab }: ClusterLab, host: string): Promise<Map<string, string[]>> {
  const ask = async (...command: [string, ...string[]]): Promise<string[]> => {
    const [file, ...args] = command;
    return (await lab.must(host, file, ...args))
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean);
  };
  const links = JSON.parse(await lab.must(host, 'ip', '-json', 'link')) as { ifname: string }[];
  const { leases } = lab.folders(host);
  return new Map([
    ['link', links.map(({ ifname }) => ifname)],
    ['route', [...(await ask('ip', 'route')), ...(await ask('ip', '-6', 'route'))].map(lasting)],
    ['rule', [...(await ask('ip', 'rule')), ...(await ask('ip', '-6', 'rule'))]],
    ['neighbour', await ask('ip', 'neigh', 'show', 'nud', 'permanent')],
    ['FDB entry', await ask('bridge', 'fdb', 'show')],
    ['lease', names(leases).flatMap((network) => names(join(leases, network)).filter(isAddress))],
  ]);
}

/** What is there now and was not before: `route 10.244.1.0/24 via ...`. */
export function added(
  before: ReadonlyMap<string, readonly string[]>,
  after: ReadonlyMap<string, readonly string[]>,
): string[] {
  return [...after].flatMap(([kind, lines]) =>
    lines.filter((line) => !before.get(kind)?.includes(line)).map((line) => `${kind} ${line}`),
  );
}

const isAddress = (name: string) => /^[0-9a-f.:_]+$/i.test(name) && /[.:_]/.test(name);
/** IPv6 routes tell how long they will stay. */
const lasting = (line: string) => line.replace(/ expires \S+/, '');

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
