/** `weft net status` and `weft net version` */
import { pluginVersions, statusNetwork } from '../../runtime/chain.ts';
import type { WeftContext } from '../context.ts';
import { pluginPath } from '../path.ts';
import { lines, table } from '../table.ts';
import { givenNetwork } from './given.ts';
import type { ListFlags } from './list.ts';
import { reporting } from './report.ts';

export async function status(this: WeftContext, flags: ListFlags, network: string): Promise<void> {
  await reporting(this, flags.json, async () => {
    const list = await givenNetwork(this, network);
    const caller = { ambient: this.ambient, path: pluginPath(this, flags.cniPath) };
    const asked = await statusNetwork(caller, list);
    if (flags.json) this.terminal.out(`${JSON.stringify({ asked, ready: true })}\n`);
    else if (asked) this.terminal.out(`${list.name} is ready\n`);
    else this.terminal.out(`${list.name} has cniVersion ${list.cniVersion}, STATUS needs 1.1.0: not asked\n`);
  });
}

export async function version(this: WeftContext, flags: ListFlags, network: string): Promise<void> {
  await reporting(this, flags.json, async () => {
    const list = await givenNetwork(this, network);
    const caller = { ambient: this.ambient, path: pluginPath(this, flags.cniPath) };
    const versions = await pluginVersions(caller, list);
    if (flags.json) this.terminal.out(`${JSON.stringify(versions, null, 2)}\n`);
    else
      this.terminal.out(lines(...table(versions.map(({ type, supported }) => [type, supported.join(' ')]))));
    const old = versions.filter(({ supported }) => !supported.includes(list.cniVersion));
    for (const { type } of old) {
      this.terminal.err(
        `weft: plugin ${type} does not support ${list.cniVersion}, the version of ${list.name}\n`,
      );
    }
  });
}
