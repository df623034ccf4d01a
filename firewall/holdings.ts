/**
 * What a host holds of a network, whatever the configuration says by now: DEL and GC take away what an ADD put there under
 * another configuration. One native call of a constant number of lookups, and no process.
 */
import type { Namespace, Op } from '../netlink/door.ts';
import { listSetHeaders } from '../netlink/ipset.ts';
import { tolerating } from '../netlink/message.ts';
import { getChain, getSet } from '../netlink/nftables-objects.ts';
import type { FirewallBackend } from './firewall.ts';
import { hasIpset } from './iptables-sets.ts';
import { FILTER_TABLE, GUARDED } from './mac-filter-ruleset.ts';
import { TABLE } from './nftables-ruleset.ts';
import { iptablesNames, masqueradeChain } from './ownership.ts';
import { NO_NFTABLES } from './xtables.ts';

export interface Holdings {
  /**
   * Backends with something of the network's masquerade. Chains of legacy iptables without ipset are not seen: only a
   * program could read them.
   */
  masquerade: FirewallBackend['name'][];
  /** The MAC filter stands on this host, for whatever network. */
  macFilter: boolean;
}

function tolerant(op: Op<unknown>): Op<unknown> {
  return tolerating(op, 'ENOENT', ...NO_NFTABLES);
}

/** Throws NetlinkError. */
export async function holdings(host: Namespace, network: string): Promise<Holdings> {
  const { chain, sources } = iptablesNames(network);
  const sets = hasIpset() ? [listSetHeaders(sources[4]), listSetHeaders(sources[6])] : [];
  const [nftables, filter, ...iptables] = await host.send(
    tolerant(getChain({ family: 'inet', table: TABLE, chain: masqueradeChain(network) })),
    tolerant(getSet({ family: 'bridge', table: FILTER_TABLE, set: GUARDED })),
    tolerant(getChain({ family: 'ip', table: 'nat', chain })),
    tolerant(getChain({ family: 'ip6', table: 'nat', chain })),
    ...sets.map(tolerant),
  );
  return {
    masquerade: [
      ...(nftables?.ok ? (['nftables'] as const) : []),
      ...(iptables.some((reply) => reply.ok) ? (['iptables'] as const) : []),
    ],
    macFilter: filter?.ok === true,
  };
}
