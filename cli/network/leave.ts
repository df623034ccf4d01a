/** `weft network leave` */

import { HostNetwork } from '../../agent/cluster/host-network.ts';
import { hostParts } from '../../agent/cluster/host-parts.ts';
import { readSaved } from '../../agent/cluster/saved.ts';
import { Records } from '../../agent/repair/records.ts';
import { openRegistry } from '../../cluster/open-registry.ts';
import type { Registry } from '../../cluster/registry.ts';
import type { Ambient } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { recordFolder } from '../../plugins/record.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { lines } from '../table.ts';
import { askToLeave } from './ask.ts';

export interface LeaveFlags {
  force?: boolean;
  registry?: string;
  node?: string;
}

export async function leave(this: WeftContext, flags: LeaveFlags, name: string): Promise<void> {
  const { ambient, terminal } = this;
  const { force = false, registry: location, node } = flags;
  if (node !== undefined) {
    if (location === undefined)
      throw new UsageError('--node names a host of a registry: give --registry, too');
    await using(location, ambient, (registry) => strikeOut(registry, ambient, { name, node, force }));
    terminal.out(lines(`${node} is no member of ${name} any more`));
    return;
  }
  if (!(await askToLeave(ambient.paths, name, force))) await alone(ambient, { name, location, force });
  terminal.out(lines(`this host is no member of ${name} any more`));
}

/** Without an agent. */
async function alone(
  ambient: Ambient,
  { name, location, force }: { name: string; location: string | undefined; force: boolean },
): Promise<void> {
  const { paths, now } = ambient;
  const saved = readSaved(paths.cacheDir, name);
  if (saved === undefined) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `this host is no member of a network ${name}, as far as ${paths.cacheDir} tells`,
    );
  }
  if (location === undefined) {
    throw new UsageError(
      `no agent runs: give --registry, which says where the host is to be struck out (it was ${saved.registry})`,
    );
  }
  await using(location, ambient, async (registry) => {
    const door = openDoor();
    const host = await door.open();
    try {
      const speaker = async () => {
        const { BgpController } = await import('../../cluster/bgp/bird.ts');
        return new BgpController({ runDir: paths.runDir, log: { info: () => {}, warn: () => {} } });
      };
      const network = new HostNetwork(
        {
          ...{ name, registry, paths, host: saved.host, addresses: [], now },
          parts: hostParts({ door, host, ambient, speaker }),
          records: new Records(recordFolder(paths.cacheDir)),
          isHere: () => true,
          rivals: () => [],
          hooks: { corrected: () => {}, problem: () => {}, told: () => {} },
        },
        undefined,
      );
      await network.leave(force);
    } finally {
      host.close();
    }
  });
}

/** Another host's registration, or this one's under a name that it had. */
async function strikeOut(
  registry: Registry,
  ambient: Ambient,
  { name, node, force }: { name: string; node: string; force: boolean },
): Promise<void> {
  if (readSaved(ambient.paths.cacheDir, name)?.host === node) {
    throw new UsageError(`${node} is this host: leave out --node, so that its device and routes go as well`);
  }
  const { members } = await registry.read(name);
  const member = members.find(({ host }) => host === node);
  if (member === undefined) {
    const known = members.map(({ host }) => host).join(', ') || 'none';
    throw new CniError(
      ErrorCode.invalidConfig,
      `no host ${node} is a member of ${name} in ${registry.where}: there is ${known}`,
    );
  }
  if (!force) {
    throw new CniError(
      ErrorCode.conflict,
      `${node} is another host, with ${member.addresses.join(' ')}: where it still runs, its containers lose their network, and others ` +
        `may be given ${member.subnets.join(' ')} as well; --force strikes it out`,
    );
  }
  await registry.leave(name, node);
}

async function using(
  location: string,
  { env }: Ambient,
  work: (registry: Registry) => Promise<void>,
): Promise<void> {
  const registry = await openRegistry(location, { env });
  try {
    await work(registry);
  } finally {
    await registry.close();
  }
}
