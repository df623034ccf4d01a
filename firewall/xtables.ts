/** Which of the two iptables a host's rules are in, asked of the kernel without starting a process. */
import type { Ambient } from '../cni/ambient.ts';
import type { Namespace, Op } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { listRules, type Rule } from '../netlink/nftables-objects.ts';
import type { IpFamily } from './address.ts';
import { type IptablesCommand, type IptablesVariant, iptablesCommand } from './iptables-command.ts';
import { findProgram, onHost, programEnv } from './program.ts';

/** What a kernel without nf_tables answers (net/netfilter/nfnetlink.c: no such subsystem; socket(2): no such protocol). */
export const NO_NFTABLES = ['EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT'] as const;

/** Of the thread that asks, since /proc/net is that of a process' first thread, which may be in another namespace. */
const LEGACY_TABLES: Readonly<Record<IpFamily, string>> = {
  4: '/proc/thread-self/net/ip_tables_names',
  6: '/proc/thread-self/net/ip6_tables_names',
};

/** Names of the tables of legacy iptables that are loaded in the host's namespace; none where the kernel does not have it. */
export async function legacyTables(host: Namespace, family: IpFamily): Promise<string[]> {
  try {
    return (await host.readFile(LEGACY_TABLES[family])).split('\n').filter(Boolean);
  } catch {
    // Not loaded (ENOENT), or not ours to read (EACCES): then iptables could not be used either.
    return [];
  }
}

/** iptables on this host, in the host's namespace: the given variant where it is installed under its own name, else what `iptables` is. */
export function hostIptables(host: Namespace, ambient: Ambient, variant?: IptablesVariant): IptablesCommand {
  const named = variant !== undefined && findProgram(ambient.env, `iptables-${variant}-restore`);
  return iptablesCommand({
    env: programEnv(ambient.env),
    wrap: (file, args) => onHost(host, file, args),
    ...(named ? { variant } : {}),
  });
}

/** One iptables of one family. */
export interface Where {
  variant: IptablesVariant;
  family: IpFamily;
}

/**
 * In which tables (by default nat) chains of these names may be: certain for the nft variant, whose rules the kernel lists per chain at
 * constant cost; a guess for the legacy one, which has to be read as a whole, by a program.
 */
export async function whereChains(
  host: Namespace,
  chains: readonly string[],
  table: 'nat' | 'filter' = 'nat',
): Promise<Where[]> {
  const found: Where[] = [];
  for (const family of [4, 6] as const) {
    const replies = await host.send(...chains.map((chain) => tolerantRules(family, table, chain)));
    if (replies.some((reply) => reply.ok && reply.value.length > 0)) found.push({ variant: 'nft', family });
    if ((await legacyTables(host, family)).includes(table)) found.push({ variant: 'legacy', family });
  }
  return found;
}

/** No rules where there is no such chain or table, or no nf_tables at all. */
function tolerantRules(family: IpFamily, table: string, chain: string): Op<Rule[]> {
  const ref = { family: family === 4 ? 'ip' : 'ip6', table, chain } as const;
  return tolerating(listRules(ref), 'ENOENT', ...NO_NFTABLES);
}
