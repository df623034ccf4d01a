/** The state of a host's kernel that carries packets to the other hosts, as `ip`, `bridge` and BIRD print it. */
import { join } from 'node:path';
import type { ClusterNetwork } from '../../../cluster/network.ts';
import type { Lab, Place } from '../lab.ts';

/** Commands and their output, ready to be quoted. */
export async function workings(
  lab: Lab,
  host: Place,
  { pools, vxlan, bgp }: ClusterNetwork,
): Promise<string[]> {
  const commands: string[][] = pools.map(({ prefix }) => [
    ...['ip', prefix.includes(':') ? '-6' : '-4', 'route', 'show', 'root', prefix],
  ]);
  if (vxlan === undefined) commands.push(['ip', 'neigh', 'show', 'nud', 'permanent']);
  else {
    commands.push(['ip', 'neigh', 'show', 'dev', vxlan.device, 'nud', 'permanent']);
    if (vxlan.bridge !== undefined) {
      commands.push(['ip', 'neigh', 'show', 'dev', vxlan.bridge, 'nud', 'permanent']);
      commands.push(['bridge', 'fdb', 'show', 'br', vxlan.bridge, 'dynamic']);
    }
    commands.push(['bridge', 'fdb', 'show', 'dev', vxlan.device]);
  }
  if (bgp?.daemon === 'bird') {
    commands.push([
      'birdc',
      '-r',
      '-s',
      join(lab.folders(host).run, 'bird', 'bird.ctl'),
      'show',
      'protocols',
    ]);
  }
  const lines: string[] = [];
  for (const [file = '', ...args] of commands) {
    const { stdout } = await lab.run(host, file, args);
    const output = stdout
      .split('\n')
      .map((line) => line.trimEnd())
      .filter(Boolean);
    if (output.length > 0) lines.push(`$ ${[file, ...args].join(' ')}`, ...output, '');
  }
  return lines.slice(0, -1);
}
