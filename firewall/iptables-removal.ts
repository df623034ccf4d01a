/** Taking rules of ours out of iptables, whichever of the two they are in. */
import type { Ambient } from '../cni/ambient.ts';
import type { Namespace } from '../netlink/door.ts';
import { deletion } from './iptables-rules.ts';
import { withFirewallLock } from './program.ts';
import { hostIptables, whereChains } from './xtables.ts';

/**
 * Removes the lines of iptables-save that `isDue` says yes to, in each variant and family that has one of the chains; returns them. Starts
 * no process where none has. Throws CniError.
 */
export async function removeLines(
  host: Namespace,
  ambient: Ambient,
  { table, chains }: { table: 'nat' | 'filter'; chains: readonly string[] },
  isDue: (line: string) => boolean,
): Promise<string[]> {
  const removed: string[] = [];
  for (const { variant, family } of await whereChains(host, chains, table)) {
    const command = hostIptables(host, ambient, variant);
    await withFirewallLock(ambient, async () => {
      const due = (await command.save(family, table)).split('\n').filter(isDue);
      if (due.length > 0) await command.restore(family, table, due.map(deletion));
      removed.push(...due);
    });
  }
  return removed;
}
