/** `weft network list` */
import type { NetworkSummary } from '../../agent/cluster/summary.ts';
import { duration } from '../agent/units.ts';
import type { WeftContext } from '../context.ts';
import { lines, table } from '../table.ts';
import { askNetworks, NO_AGENT_RUNS } from './ask.ts';

const HEAD = ['NETWORK', 'BACKEND', 'SUBNETS HERE', 'HOSTS', 'LEASES', 'REGISTRY', 'STATE'];

export async function list(this: WeftContext, flags: { json?: boolean }): Promise<void> {
  const { terminal, ambient } = this;
  const { running, networks } = await askNetworks(ambient.paths);
  if (flags.json) {
    terminal.out(`${JSON.stringify(networks, null, 2)}\n`);
    return;
  }
  if (networks.length === 0) terminal.err('this host has no network between hosts\n');
  else terminal.out(lines(...table([HEAD, ...networks.map((one) => row(one, ambient.now()))])));
  if (!running) terminal.err(`${noAgent(networks)}\n`);
}

/** @param networks those that were shown */
export function noAgent(networks: readonly NetworkSummary[]): string {
  const known = networks.some(({ seen }) => seen !== undefined) ? ': this is what the last one knew' : '';
  return `no agent looks after networks between hosts (weft agent --registry ...)${known}`;
}

function row(
  { name, backend, subnets, members, leases, registry, problems, joined }: NetworkSummary,
  now: number,
): string[] {
  return [
    name,
    backend,
    subnets.join(' ') || '-',
    String(members.length),
    String(leases),
    contact(registry, now),
    registry.error === NO_AGENT_RUNS
      ? 'not joined: no agent'
      : problems.length > 0
        ? 'PROBLEM'
        : joined
          ? 'member'
          : 'not joined',
  ];
}

/** `answers`, or since when it does not; without an agent nobody asked, and when one knew it last is all that is known. */
export function contact({ reachable, since, error }: NetworkSummary['registry'], now: number): string {
  const ago = duration((now - since) / 1000);
  if (error === NO_AGENT_RUNS) return since === 0 ? 'not asked' : `not asked (last seen ${ago} ago)`;
  return reachable ? 'answers' : `away for ${ago}`;
}
