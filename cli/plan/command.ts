/** `weft plan` */
import { loadNetworkFile } from '../../runtime/conf-dir.ts';
import type { Sandbox } from '../../runtime/execution.ts';
import type { WeftContext } from '../context.ts';
import { givenNetwork, warnOfUnknownFields } from '../net/given.ts';
import { reporting } from '../net/report.ts';
import { lines } from '../table.ts';
import { dryRun, type PlannedPlugin } from './dry-run.ts';

export interface PlanFlags {
  id: string;
  ifname: string;
  netns: string;
  cap?: readonly (readonly [string, unknown])[];
  arg?: readonly (readonly [string, string])[];
  json?: boolean;
}

export async function planCommand(this: WeftContext, flags: PlanFlags, file: string): Promise<void> {
  await reporting(this, flags.json, async () => {
    const list = file === '-' ? await givenNetwork(this, file) : await loadNetworkFile(file);
    await warnOfUnknownFields(this, list);
    const sandbox: Sandbox = {
      containerId: flags.id,
      ifname: flags.ifname,
      netns: flags.netns,
      args: flags.arg ?? [],
      capabilityArgs: Object.fromEntries(flags.cap ?? []),
    };
    const planned = await dryRun(list, sandbox, { hostId: this.ambient.hostId() });
    if (flags.json) {
      const { name: network, cniVersion } = list;
      this.terminal.out(`${JSON.stringify({ network, cniVersion, plugins: planned }, null, 2)}\n`);
      return;
    }
    const { containerId, ifname } = sandbox;
    this.terminal.out(lines(`# ADD ${ifname} of container ${containerId} to network ${list.name}`));
    this.terminal.out(lines(...describePlan(planned, list.plugins.length)));
  });
}

/** The chain as a script that a person could run: what is no command is a comment. */
export function describePlan(planned: readonly PlannedPlugin[], of: number): string[] {
  return planned.flatMap(({ type, lines, notes }, i) => [
    '',
    of > 1 ? `# ${type} (plugin ${i + 1} of ${of})` : `# ${type}`,
    ...notes.map((note) => `# ${note}`),
    ...lines,
  ]);
}
