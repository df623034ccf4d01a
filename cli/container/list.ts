/** `weft ps` and `weft inspect` */

import { addressOf } from '../../cni/prefix.ts';
import { listCached, resultAddresses } from '../../runtime/cache.ts';
import type { ContainerState } from '../../runtime/container/state.ts';
import {
  findContainer,
  listContainers,
  type StoredContainer,
  stateOf,
} from '../../runtime/container/store.ts';
import type { WeftContext } from '../context.ts';
import { lines, table } from '../table.ts';

/** `3 minutes`, whole units, the largest that fits. */
function since(milliseconds: number): string {
  const units = [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1000],
  ] as const;
  const [name, length] = units.find(([, length]) => milliseconds >= length) ?? ['second', 1000];
  const count = Math.floor(milliseconds / length);
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

/** As people say it: `up 3 minutes`, `exit 137 (out of memory) 5 seconds ago`. */
function words(state: ContainerState, now: number): string {
  if (state.phase === 'running') return `up ${since(now - (state.started ?? now))}`;
  if (state.phase === 'broken') return 'broken: its monitor is gone ("weft gc" removes it)';
  if (state.phase === 'created') return 'created, not started';
  const why = state.outOfMemory ? ' (out of memory)' : '';
  return `exit ${state.status}${why} ${since(now - (state.ended ?? now))} ago`;
}

/** Addresses that the networks gave it, by the result cache. */
function addressesOf(cacheDir: string): Map<string, string[]> {
  const all = new Map<string, string[]>();
  for (const { containerId, result } of listCached(cacheDir)) {
    const ips = resultAddresses(result).map(addressOf);
    all.set(containerId, [...(all.get(containerId) ?? []), ...ips]);
  }
  return all;
}

/** As `-p` has them: `8080:80`, `127.0.0.1:53:53/udp`. */
const portWords = ({ ports }: StoredContainer['spec']): string[] =>
  ports.map(({ hostIP, hostPort, containerPort, protocol }) => {
    const address = hostIP === undefined ? '' : hostIP.includes(':') ? `[${hostIP}]:` : `${hostIP}:`;
    return `${address}${hostPort}:${containerPort}${protocol === 'tcp' ? '' : `/${protocol}`}`;
  });

export async function ps(
  this: WeftContext,
  flags: { all?: boolean; json?: boolean; quiet?: boolean },
): Promise<void> {
  const { ambient, terminal } = this;
  const all = listContainers(ambient)
    .map((container) => ({ ...container, state: stateOf(container) }))
    .filter(({ state }) => flags.all || state.phase === 'running' || state.phase === 'broken');
  const addresses = addressesOf(ambient.paths.cacheDir);
  if (flags.json) {
    const rows = all.map(({ spec, state }) => ({
      ...described(spec),
      ...state,
      addresses: addresses.get(spec.id) ?? [],
    }));
    terminal.out(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  if (flags.quiet) {
    terminal.out(lines(...all.map(({ spec }) => spec.id)));
    return;
  }
  const rows = all.map(({ spec, state }) => [
    spec.id.slice(0, 12),
    spec.name,
    spec.command.join(' ').replaceAll(/\s+/g, ' ').trim().slice(0, 30),
    state.pid === undefined ? '-' : String(state.pid),
    words(state, ambient.now()),
    (addresses.get(spec.id) ?? []).join(' ') || '-',
    portWords(spec).join(' ') || '-',
  ]);
  const heading = ['ID', 'NAME', 'COMMAND', 'PID', 'STATE', 'ADDRESSES', 'PORTS'];
  terminal.out(lines(...table([heading, ...rows])));
}

const described = ({ id, name, command, networks, ports, created }: StoredContainer['spec']) => ({
  ...{ id, name, command, networks, ports, created },
});

export async function inspect(this: WeftContext, _: object, name: string): Promise<void> {
  const container = findContainer(this.ambient, name);
  const { cgroupsOf } = await import('../../runtime/cgroup/cgroups.ts');
  const { usageOf } = await import('../../runtime/cgroup/usage.ts');
  const { cgroupParent } = await import('../../runtime/container/store.ts');
  const cgroups = cgroupsOf(container.spec.id, cgroupParent(this.ambient));
  const attachments = listCached(this.ambient.paths.cacheDir)
    .filter(({ containerId }) => containerId === container.spec.id)
    .map(({ network, ifname, result }) => ({ network, ifname, result }));
  const all = {
    ...container.spec,
    state: stateOf(container),
    folder: container.folder,
    cgroups,
    usage: usageOf(cgroups),
    attachments,
  };
  this.terminal.out(`${JSON.stringify(all, null, 2)}\n`);
}
