/** The comments of iptables' rules, read from the kernel: of the nft variant, which needs no program for that. */
import { pieces } from '../netlink/attributes.ts';
import type { Namespace, Op } from '../netlink/door.ts';
import { tolerating } from '../netlink/message.ts';
import { listRules, type Rule } from '../netlink/nftables-objects.ts';
import type { IpFamily } from './address.ts';
import { NO_NFTABLES } from './xtables.ts';

/** NFTA_MATCH_NAME, NFTA_MATCH_INFO (linux/netfilter/nf_tables_compat.h). */
const MATCH_NAME = 1;
const MATCH_INFO = 3;

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8').replace(/\0.*$/s, '');

/** A rule's comment, be it nft's or a match of iptables. */
export function noteOf({ comment, expressions }: Rule): string | undefined {
  if (comment !== undefined) return comment;
  for (const { name, data } of expressions) {
    if (name !== 'match') continue;
    const parts = new Map([...pieces(data)].map(({ number, payload }) => [number, payload]));
    if (text(parts.get(MATCH_NAME) ?? new Uint8Array()) !== 'comment') continue;
    return text(parts.get(MATCH_INFO) ?? new Uint8Array());
  }
  return undefined;
}

/** Whether a rule leads to a chain; `ACCEPT` and `DROP` are none. */
function leadsTo({ expressions }: Rule, chain: string): boolean {
  return expressions.some(
    ({ name, data }) => name === 'immediate' && Buffer.from(data).includes(`${chain}\0`, 'latin1'),
  );
}

/** Rules of chains of one table, in their order; none where there is no such chain or no nf_tables. Throws NetlinkError. */
export async function rulesIn(
  host: Namespace,
  { family, table }: { family: IpFamily; table: string },
  chains: readonly string[],
): Promise<Map<string, Rule[]>> {
  const ref = { family: family === 4 ? 'ip' : 'ip6', table } as const;
  const op = (chain: string): Op<Rule[]> =>
    tolerating(listRules({ ...ref, chain }), 'ENOENT', ...NO_NFTABLES);
  const replies = await host.send(...chains.map(op));
  return new Map(chains.map((chain, i) => [chain, replies[i]?.ok ? replies[i].value : []]));
}

/** Those of some lines of iptables-save, all with a comment, that rulesIn() has no counterpart of: by chain, comment and the chain that they lead to. */
export function withoutCounterpart(
  lines: readonly string[],
  rules: ReadonlyMap<string, readonly Rule[]>,
): string[] {
  const used = new Set<Rule>();
  return lines.filter((line) => {
    const [, chain = '', note = '', target = ''] =
      /^-A (\S+) .*--comment "([^"]*)" -j (\S+)$/.exec(line) ?? [];
    const isVerdict = target === 'ACCEPT' || target === 'DROP';
    const found = rules
      .get(chain)
      ?.find((rule) => !used.has(rule) && noteOf(rule) === note && (isVerdict || leadsTo(rule, target)));
    if (found) used.add(found);
    return found === undefined;
  });
}
