/**
 * The iptables backend without ipset: a chain per network, a rule per container. Every change is one iptables-save to see what is
 * there and one `iptables-restore --noflush` with exactly the difference; both under the firewall's lock.
 */
import type { AttachmentId } from '../cni/types.ts';
import { familiesOf, type IpFamily, parseSources } from './address.ts';
import type { Membership } from './firewall.ts';
import type { IptablesCommand } from './iptables-command.ts';
import { chainExceptions, chainJump, chainMember, deletion, readChainMember } from './iptables-rules.ts';
import { iptablesNames, ownerMark } from './ownership.ts';

const NAT = 'nat';

type Owned = Omit<Membership, 'sources' | 'except'>;

/** Whether a chain is declared in the output of iptables-save. */
export function hasChain(saved: string, chain: string): boolean {
  return saved.split('\n').some((line) => line.startsWith(`:${chain} `));
}

/** The lines that turn what iptables-save printed into what the membership wants; empty when it is all there. */
export function additions(member: Membership, family: IpFamily, saved: string): string[] {
  const present = saved.split('\n');
  const { chain } = iptablesNames(member.network);
  const addresses = familySources(member.sources, family);
  const rules = addresses.map((address) => chainMember(member, family, address));
  const others = present.filter((line) => {
    const rule = readChainMember(member.network, line);
    return rule !== undefined && addresses.includes(rule.address) && !rules.includes(line);
  });
  const missing = (lines: readonly string[]): string[] => lines.filter((line) => !present.includes(line));
  return [
    ...(hasChain(saved, chain) ? [] : [`:${chain} - [0:0]`]),
    // An address has one owner: whose rule was left behind loses it.
    ...others.map(deletion),
    ...missing(chainExceptions(member.network, family, member.except)).map((line) =>
      line.replace(`-A ${chain}`, `-I ${chain} 1`),
    ),
    ...missing(rules),
    ...missing([chainJump(member.network)]),
  ];
}

function familySources(sources: readonly string[], family: IpFamily): string[] {
  return parseSources(sources).flatMap((source) => (source.family === family ? [source.address] : []));
}

async function change(
  command: IptablesCommand,
  family: IpFamily,
  lines: (saved: string) => string[],
): Promise<void> {
  const wanted = lines(await command.save(family, NAT));
  if (wanted.length > 0) await command.restore(family, NAT, wanted);
}

/** Two processes per family, one where everything is there already. Throws CniError. */
export async function addToChains(command: IptablesCommand, member: Membership): Promise<void> {
  for (const family of familiesOf(parseSources(member.sources))) {
    await change(command, family, (saved) => additions(member, family, saved));
  }
}

/** Removes the container's rules, those of the given addresses only where there are any. */
export async function removeFromChains(
  command: IptablesCommand,
  member: Owned & Pick<Membership, 'sources'>,
  family: IpFamily,
): Promise<void> {
  const addresses = familySources(member.sources, family);
  const mark = ownerMark(member);
  await change(command, family, (saved) =>
    saved.split('\n').flatMap((line) => {
      const rule = readChainMember(member.network, line);
      const ours = rule?.owner === mark && (member.sources.length === 0 || addresses.includes(rule.address));
      return ours ? [deletion(line)] : [];
    }),
  );
}

/** What is missing, one line each. */
export async function verifyChains(command: IptablesCommand, member: Membership): Promise<string[]> {
  const missing: string[] = [];
  for (const family of familiesOf(parseSources(member.sources))) {
    const present = (await command.save(family, NAT)).split('\n');
    const wanted = [
      chainJump(member.network),
      ...chainExceptions(member.network, family, member.except),
      ...familySources(member.sources, family).map((address) => chainMember(member, family, address)),
    ];
    const program = family === 4 ? 'iptables' : 'ip6tables';
    missing.push(
      ...wanted
        .filter((line) => !present.includes(line))
        .map((line) => `rule "${line}" in ${program} table nat`),
    );
  }
  return missing;
}

/** Removes rules of containers that are not valid; with no valid one left, the chain too. Returns what it removed. */
export async function collectChains(
  command: IptablesCommand,
  network: string,
  family: IpFamily,
  valid: readonly AttachmentId[],
): Promise<string[]> {
  const marks = new Set(valid.map(ownerMark));
  const { chain } = iptablesNames(network);
  const removed: string[] = [];
  await change(command, family, (saved) => {
    if (!hasChain(saved, chain)) return [];
    const lines = saved.split('\n');
    const stale = lines.filter((line) => {
      const rule = readChainMember(network, line);
      if (rule === undefined || marks.has(rule.owner)) return false;
      removed.push(`masquerade of ${rule.address} (${rule.owner}) in network ${network}`);
      return true;
    });
    if (valid.length > 0) return stale.map(deletion);
    const jumps = lines.filter((line) => line === chainJump(network));
    return [...jumps.map(deletion), `-F ${chain}`, `-X ${chain}`];
  });
  return removed;
}
