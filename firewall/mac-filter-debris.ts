/**
 * What the reference bridge plugin leaves of its macspoofchk when a container's DEL is ours: in table `bridge nat`, two chains named by
 * container and interface, and a rule in PREROUTING that leads to them. Its table and PREROUTING stay, as they do with its own DEL.
 */
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace, Reply } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { batch, deleteChain, deleteRule } from '../netlink/nftables.ts';
import { getChain, listRules, type Rule } from '../netlink/nftables-objects.ts';
import { NO_NFTABLES } from './xtables.ts';

const IN_NAT = { family: 'bridge', table: 'nat' } as const;

/** Two native calls where something is found, one where not; no process. Returns what it removed, readable. Throws NetlinkError. */
export async function removeReferenceMacFilter(
  host: Namespace,
  { containerId, ifname }: AttachmentId,
): Promise<string[]> {
  const id = `${containerId}-${ifname}`;
  const link = { ...IN_NAT, chain: `cni-br-iface-${id}` };
  const mac = { ...IN_NAT, chain: `${link.chain}-mac` };
  const base = { ...IN_NAT, chain: 'PREROUTING' };
  const look = (chain: typeof base) => tolerating(listRules(chain), 'ENOENT', ...NO_NFTABLES);
  const exists = (chain: typeof base) => tolerating(getChain(chain), 'ENOENT', ...NO_NFTABLES);
  const [leading, linkRules, macRules, hasLink, hasMac] = await host.send(
    ...([look(base), look(link), look(mac), exists(link), exists(mac)] as const),
  );
  const handles = (reply: Reply<Rule[]>) => (reply.ok ? reply.value : []);
  const changes = [
    ...handles(leading)
      .filter(({ comment }) => comment === `macspoofchk-${id}`)
      .map(({ handle }) => deleteRule(base, handle)),
    ...handles(linkRules).map(({ handle }) => deleteRule(link, handle)),
    ...handles(macRules).map(({ handle }) => deleteRule(mac, handle)),
    ...(hasLink.ok ? [deleteChain(link)] : []),
    ...(hasMac.ok ? [deleteChain(mac)] : []),
  ];
  if (changes.length === 0) return [];
  const what = `remove the MAC filter of the reference plugin for ${id}`;
  await host.send(tolerating({ ...batch(changes), what }, 'ENOENT'));
  return [`MAC filter of the reference plugin for ${id}`];
}
