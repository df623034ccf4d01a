/** `weft net gc` */
import type { AttachmentId } from '../../cni/types.ts';
import { gcNetwork } from '../../runtime/chain.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { pluginPath } from '../path.ts';
import { plural } from '../plural.ts';
import { assertRoot } from '../rights.ts';
import { givenNetwork } from './given.ts';
import type { ListFlags } from './list.ts';
import { reporting } from './report.ts';

export interface GcFlags extends ListFlags {
  valid?: readonly AttachmentId[];
  all?: boolean;
}

export async function gc(this: WeftContext, flags: GcFlags, network: string): Promise<void> {
  // The specification's "nothing is valid" takes every container off the network: nobody shall say that by accident.
  if (flags.valid === undefined && !flags.all) {
    throw new UsageError(
      'which attachments stay? give --valid ID/IFNAME for each, or --all to remove every one',
    );
  }
  if (flags.valid !== undefined && flags.all) throw new UsageError('--valid and --all exclude each other');
  await reporting(this, flags.json, async () => {
    const list = await givenNetwork(this, network);
    assertRoot('net gc', "to change what is in a container's namespace");
    const caller = { ambient: this.ambient, path: pluginPath(this, flags.cniPath) };
    const gone = await gcNetwork(caller, list, flags.valid ?? []);
    if (flags.json) {
      const removed = gone.map(({ containerId, ifname }) => ({ containerID: containerId, ifname }));
      this.terminal.out(`${JSON.stringify({ removed })}\n`);
      return;
    }
    for (const { containerId, ifname } of gone) {
      this.terminal.out(`${ifname} of container ${containerId} is detached from ${list.name}\n`);
    }
    this.terminal.out(
      list.disableGC
        ? `${list.name} has disableGC: nothing was removed\n`
        : `${list.name} holds nothing but its ${plural(flags.valid?.length ?? 0, 'valid attachment')}\n`,
    );
  });
}
