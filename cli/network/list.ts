/** `weft network list` */
import type { NetworkSummary } from '../../agent/cluster/summary.ts';
import { duration } from '../agent/units.ts';
import type { WeftContext } from '../context.ts';
import { lines, table } from '../table.ts';
import { askNetworks } from './ask.ts';

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
  if (!running) terminal.err(`${NO_AGENT}\n`);
}

export const NO_AGENT =
  'no agent looks after networks between hosts (weft agent --registry ...): this is what the last one knew';

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
    problems.length > 0 ? 'PROBLEM' : joined ? 'member' : 'not joined',
  ];
}

/** `answers`, or since when it does not. */
export function contact({ reachable, since }: NetworkSummary['registry'], now: number): string {
  return reachable ? 'answers' : `away for ${duration((now - since) / 1000)}`;
}
