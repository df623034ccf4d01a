/**
 * Which rules of legacy iptables a flow meets. Packets that nf_tables marks for tracing are traced by legacy tables, too; only, they tell it
 * to netfilter's log, which for that time is made to speak to us (net.netfilter.nf_log, of that namespace alone).
 */
import { type Logged, listenToLog } from '../../netlink/nflog.ts';
import { decodeNetwork } from '../packet/decode.ts';
import type { Ruleset } from '../ruleset/model.ts';
import type { OpenSite } from './capture.ts';
import { type Flow, wayOf } from './flow.ts';
import { startGuard } from './guard.ts';
import type { SeenRule } from './request.ts';
import { findRule, policyOf, verdictOf } from './rule-words.ts';

/** ip_tables.c logs traces to the group that is given where nobody says one. */
const GROUP = 0;
const LOGGER = 'nfnetlink_log';
const HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'] as const;

export function hasLegacy(ruleset: Ruleset | undefined): boolean {
  return ruleset?.tables.some(({ variant }) => variant === 'iptables-legacy') ?? false;
}

/** Throws an Error with `code`: EBUSY where somebody else listens to the log (ulogd), ENOENT where the kernel has none. */
export async function watchLegacy(
  site: OpenSite,
  flow: Flow,
  seen: (rule: SeenRule) => void,
): Promise<{ close(): Promise<void> }> {
  const { family } = flow;
  const file = `/proc/sys/net/netfilter/nf_log/${family === 4 ? 2 : 10}`;
  const before = (await site.ns.readFile(file)).trim();
  const guard = await startGuard(
    'nsenter --net=/proc/self/fd/3 sh -c \'echo "$1" >"$2"\' sh "$1" "$2"',
    [site.ns.fd],
    [before, file],
  );
  try {
    const listener = await listenToLog(site.ns, GROUP, 128, (packet) => {
      const rule = read(site, family, packet);
      if (rule?.packet && wayOf(flow, rule.packet) !== undefined) seen(rule);
    });
    try {
      await site.ns.writeFile(file, LOGGER);
    } catch (error) {
      listener.close();
      throw error;
    }
    return {
      close: async () => {
        await guard.release();
        listener.close();
      },
    };
  } catch (error) {
    await guard.release();
    throw error;
  }
}

/** `TRACE: filter:FORWARD:rule:3`: trace_packet() of net/ipv4/netfilter/ip_tables.c. */
const TRACE = /^TRACE: ([^:]+):(.+):(rule|return|policy):(\d+)$/;

function read(site: OpenSite, family: 4 | 6, packet: Logged): SeenRule | undefined {
  const [, table, chain, what, position] = TRACE.exec(packet.prefix) ?? [];
  if (table === undefined || chain === undefined || what === undefined) return undefined;
  const name = (index: number | undefined) => index !== undefined && site.links.get(index)?.name;
  const [iif, oif] = [name(packet.iif), name(packet.oif)];
  const hook = HOOKS[packet.hook];
  const rule: SeenRule = {
    place: site.place,
    // Each event has its packet.
    ...{ id: 0, family: family === 4 ? 'ip' : 'ip6', table, chain, verdict: '' },
    what: what as SeenRule['what'],
    position: Number(position),
    ...(hook === undefined ? {} : { hook }),
    ...(iif ? { iif } : {}),
    ...(oif ? { oif } : {}),
    packet: decodeNetwork(packet.packet, packet.protocol, []),
  };
  const found = findRule(site.ruleset, rule);
  return { ...rule, verdict: what === 'policy' ? policyOf(found) : verdictOf(found) };
}
