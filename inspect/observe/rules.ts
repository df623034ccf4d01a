/** Which rules of nf_tables (iptables' among them, where it is nf_tables underneath) a flow meets in a namespace. */
import type { Door } from '../../netlink/door.ts';
import { batch } from '../../netlink/nftables.ts';
import { type NftTrace, traceLinks, traces, traceTable } from '../../netlink/nftables-trace.ts';
import { decodeNetwork, ETHER } from '../packet/decode.ts';
import type { OpenSite } from './capture.ts';
import { type Flow, TRACES_PER_SECOND, traceRules, wayOf } from './flow.ts';
import type { SeenRule } from './request.ts';

/** What tables of this kind are called, ours and those of others that look at the same time. */
export const TABLE = 'weft-trace-';

export interface RuleWatch {
  close(): void;
}

/**
 * Marks the flow's packets by a table of our own, which the kernel removes with the socket that made it, and listens to what it tells of
 * them, whoever marks others. `table` is its name, which begins with TABLE. Throws NetlinkError where the kernel has no nf_tables.
 */
export async function watchRules(
  door: Door,
  site: OpenSite,
  flow: Flow,
  table: string,
  seen: (rule: SeenRule) => void,
  lacking: (words: string) => void,
): Promise<RuleWatch> {
  // A door of its own: the table belongs to its socket, and is gone when that closes.
  const owner = await door.open(site.path);
  try {
    const events = await traces(owner);
    void (async () => {
      // Only the first event of a chain has the packet.
      const ours = new Set<number>();
      for await (const event of events) {
        if ('kind' in event) {
          lacking('trace events were lost: too many at once');
          continue;
        }
        const rule = toSeen(site, event);
        if (rule.packet !== undefined && wayOf(flow, rule.packet) !== undefined) ours.add(rule.id);
        if (ours.has(rule.id) && !rule.table.startsWith(TABLE)) seen(rule);
      }
    })();
    try {
      const rules = traceRules(flow);
      await owner.send(batch([traceTable('inet', table, rules, TRACES_PER_SECOND)]));
      // Frames between containers of one bridge do not come to inet; a kernel without this family has no rules there either.
      await owner.send(batch([traceTable('bridge', table, rules, TRACES_PER_SECOND)])).catch(() => {});
      const links = linksWithChains(site);
      if (links.length > 0) await owner.send(batch([traceLinks(links, table, rules, TRACES_PER_SECOND)]));
    } catch (error) {
      events.close();
      throw error;
    }
    return {
      close: () => {
        events.close();
        owner.close();
      },
    };
  } catch (error) {
    owner.close();
    throw error;
  }
}

/** Those that somebody has chains at, which see what comes in before prerouting does; what leaves is marked by then. */
function linksWithChains({ ruleset, links }: OpenSite): string[] {
  const chains = (ruleset?.tables ?? []).flatMap((table) => table.chains);
  const named = chains.flatMap(({ base }) => (base?.hook === 'ingress' ? (base.devices ?? []) : []));
  const present = new Set([...links.values()].map(({ name }) => name));
  return [...new Set(named)].filter((name) => present.has(name));
}

function toSeen(site: OpenSite, event: NftTrace): SeenRule {
  const { id, family, table, chain, what, handle, verdict, iif, oif, packet } = event;
  const name = (index: number | undefined) =>
    index === undefined ? undefined : (site.links.get(index)?.name ?? `link ${index}`);
  const [inLink, outLink] = [name(iif), name(oif)];
  return {
    place: site.place,
    ...{ id, family, table, chain, what, verdict },
    ...(handle === undefined ? {} : { handle }),
    ...(inLink === undefined ? {} : { iif: inLink }),
    ...(outLink === undefined ? {} : { oif: outLink }),
    ...(packet === undefined ? {} : { packet: decode(packet) }),
  };
}

/** Only the beginning of the packet is told: its length is that of the IP header. */
function decode(bytes: Uint8Array) {
  return decodeNetwork(bytes, (bytes[0] ?? 0) >> 4 === 6 ? ETHER.ip6 : ETHER.ip, []);
}
