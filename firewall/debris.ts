/**
 * What the reference plugins (containernetworking/plugins) leave on a host for a container, when its DEL is ours: change-over must not leave
 * their rules behind. Asking costs no process; only where something is found are programs run.
 *
 * - bridge and ptp, iptables: in nat, a chain `CNI-<hash>` and rules in POSTROUTING that jump to it, per network and container;
 * - portmap, iptables: in nat, a chain `CNI-DN-<hash>` and a rule in CNI-HOSTPORT-DNAT that jumps to it;
 * - bridge and ptp, nftables (from version 1.6): rules in table `inet cni_plugins_masquerade` with a comment that starts with hashes.
 */
import type { Ambient } from '../cni/ambient.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { batch, deleteRule } from '../netlink/nftables.ts';
import { getTable, listRules } from '../netlink/nftables-objects.ts';
import { deletion } from './iptables-rules.ts';
import { hostIptables, legacyTables, NO_NFTABLES, whereChains } from './xtables.ts';

const MASQUERADE = { family: 'inet', table: 'cni_plugins_masquerade', chain: 'masq_checks' } as const;

/** Length of every chain name of theirs (pkg/utils: maxChainLength). */
const CHAIN_LENGTH = 28;

export interface DebrisOf extends AttachmentId {
  network: string;
}

/** The reference's chain names in table nat. Their hash knows no interface name. */
export async function referenceChains(network: string, containerId: string): Promise<string[]> {
  const hash = await sha512(network + containerId);
  return [`CNI-${hash}`, `CNI-DN-${hash}`].map((name) => name.slice(0, CHAIN_LENGTH));
}

/** How the reference's nftables comments of this attachment start. */
export async function referenceComment({ network, containerId, ifname }: DebrisOf): Promise<string> {
  const [net, instance] = [await sha512(network), await sha512(`${ifname}:${containerId}`)];
  return `${net.slice(0, 16)}-${instance.slice(0, 16)}`;
}

async function sha512(text: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  return createHash('sha512').update(text).digest('hex');
}

/** The lines of iptables-restore that remove chains and every rule that leads to them from what iptables-save printed. */
export function removalLines(saved: string, chains: readonly string[]): string[] {
  const lines = saved.split('\n');
  const present = chains.filter((chain) => lines.some((line) => line.startsWith(`:${chain} `)));
  const leads = lines.filter((line) => {
    // A comment may hold anything.
    const bare = line.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
    const [, chain, target] = /^-A (\S+) (?:.* )?-[jg] (\S+)/.exec(bare) ?? [];
    return target !== undefined && present.includes(target) && !present.includes(chain ?? '');
  });
  return [
    ...leads.map(deletion),
    ...present.map((chain) => `-F ${chain}`),
    ...present.map((chain) => `-X ${chain}`),
  ];
}

/**
 * Removes what the reference plugins left for an attachment. Costs one native call and no process where the host has neither
 * their table nor a nat table of iptables; a few more native calls where it has; programs only where something of theirs is.
 * Returns what it removed, readable. Throws CniError.
 */
export async function removeReferenceDebris(
  host: Namespace,
  ambient: Ambient,
  of: DebrisOf,
): Promise<string[]> {
  const look = (family: 'ip' | 'ip6' | 'inet', table: string) =>
    tolerating(getTable({ family, table }), 'ENOENT', ...NO_NFTABLES);
  const [nat4, nat6, masquerade] = await host.send(
    look('ip', 'nat'),
    look('ip6', 'nat'),
    look('inet', MASQUERADE.table),
  );
  const legacy = [...(await legacyTables(host, 4)), ...(await legacyTables(host, 6))].includes('nat');
  const removed: string[] = [];
  if (nat4.ok || nat6.ok || legacy) removed.push(...(await removeChains(host, ambient, of)));
  if (masquerade.ok) removed.push(...(await removeMasqueradeRules(host, of)));
  return removed;
}

async function removeChains(host: Namespace, ambient: Ambient, of: DebrisOf): Promise<string[]> {
  const chains = await referenceChains(of.network, of.containerId);
  const removed: string[] = [];
  for (const { variant, family } of await whereChains(host, chains)) {
    const command = hostIptables(host, ambient, variant);
    const lines = removalLines(await command.save(family, 'nat'), chains);
    if (lines.length === 0) continue;
    await command.restore(family, 'nat', lines);
    const program = family === 4 ? 'iptables' : 'ip6tables';
    removed.push(
      ...lines.flatMap((line) =>
        line.startsWith('-X') ? [`${program} chain ${line.slice(3)} of the reference plugins`] : [],
      ),
    );
  }
  return removed;
}

async function removeMasqueradeRules(host: Namespace, of: DebrisOf): Promise<string[]> {
  const start = await referenceComment(of);
  const [rules] = await host.send(tolerating(listRules(MASQUERADE), 'ENOENT'));
  const theirs = rules.ok ? rules.value.filter(({ comment }) => comment?.startsWith(start)) : [];
  const removal = theirs.map(({ handle }) => tolerating(batch([deleteRule(MASQUERADE, handle)]), 'ENOENT'));
  await host.send(...removal);
  return theirs.map(({ comment }) => `nftables rule of the reference plugins: ${comment}`);
}
