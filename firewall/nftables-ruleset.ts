/**
 * The nftables backend's rules as text. Table `inet weft` has one verdict map per family (a container's address leads to its
 * network's chain), one base chain that asks the maps, and one chain per network. The number of rules depends on the number of networks,
 * never on the number of containers.
 */

import { type IpFamily, isPrefix, parseExceptions, parseSources } from './address.ts';
import type { Membership } from './firewall.ts';
import { COUNTED } from './nft.ts';
import { masqueradeChain, networkLabel, ownerMark, RULES_MARK } from './ownership.ts';

export const TABLE = 'weft';
export const POSTROUTING = 'postrouting';
export const MAPS: Readonly<Record<IpFamily, string>> = { 4: 'masquerade4', 6: 'masquerade6' };

const KEEP = `${RULES_MARK} keep source to `;
const PROTOCOL: Readonly<Record<IpFamily, string>> = { 4: 'ip', 6: 'ip6' };

/** Comments of the base chain's rules, by which a flushed chain is noticed. */
export const POSTROUTING_COMMENTS: readonly string[] = [
  `${RULES_MARK} containers that leave with the IPv4 address of the host`,
  `${RULES_MARK} containers that leave with the IPv6 address of the host`,
];

function masqueradeComment(network: string): string {
  return `${RULES_MARK} masquerade ${networkLabel(network)}`;
}

/** Comments that a network's chain must carry for these exceptions: one rule per excepted prefix, and the masquerade itself. */
export function networkComments(network: string, except: readonly string[]): string[] {
  const prefixes = parseExceptions(except);
  return [...prefixes[4], ...prefixes[6]].map((prefix) => KEEP + prefix).concat(masqueradeComment(network));
}

/** The excepted prefixes that a network's chain has now, read from its rules' comments; what is no prefix is not ours. */
export function exceptionsOf(comments: readonly (string | undefined)[]): string[] {
  return comments
    .flatMap((comment) => (comment?.startsWith(KEEP) ? [comment.slice(KEEP.length)] : []))
    .filter(isPrefix);
}

/** The table, its maps and the base chain, as nft commands; safe to repeat. */
function tableCommands(): string[] {
  const map = (name: string, type: string): string =>
    `add map inet ${TABLE} ${name} { type ${type} : verdict; ${COUNTED} comment "container address : chain of its network"; }`;
  return [
    `add table inet ${TABLE} { comment "container networks (weft): rules are constant, a container is an element of a map"; }`,
    map(MAPS[4], 'ipv4_addr'),
    map(MAPS[6], 'ipv6_addr'),
    `add chain inet ${TABLE} ${POSTROUTING} { type nat hook postrouting priority srcnat; policy accept; }`,
  ];
}

/**
 * Everything that does not depend on a container, as one nft transaction: `add` creates what is missing, `flush` makes repetition
 * and upgrade safe, and the kernel shows either the old rules or the new ones. Elements of the maps stay.
 */
export function baseCommands(network: string, except: readonly string[]): string[] {
  const chain = masqueradeChain(network);
  return [
    ...tableCommands(),
    `add chain inet ${TABLE} ${chain} { comment "masquerade of network ${networkLabel(network)}"; }`,
    `flush chain inet ${TABLE} ${POSTROUTING}`,
    `flush chain inet ${TABLE} ${chain}`,
    ...baseRules(network, except),
  ];
}

function baseRules(network: string, except: readonly string[]): string[] {
  const chain = masqueradeChain(network);
  const prefixes = parseExceptions(except);
  const rule = (name: string, statement: string, comment: string | undefined): string =>
    `add rule inet ${TABLE} ${name} ${statement} comment "${comment}"`;
  return [
    rule(POSTROUTING, `ip saddr vmap @${MAPS[4]}`, POSTROUTING_COMMENTS[0]),
    rule(POSTROUTING, `ip6 saddr vmap @${MAPS[6]}`, POSTROUTING_COMMENTS[1]),
    ...([4, 6] as const).flatMap((family) =>
      prefixes[family].map((prefix) =>
        rule(chain, `${PROTOCOL[family]} daddr ${prefix} return`, KEEP + prefix),
      ),
    ),
    rule(chain, 'masquerade fully-random', masqueradeComment(network)),
  ];
}

/** The lines that a person would type for one membership on a host that has nothing of it yet. */
export function renderCommands(member: Membership): string[] {
  const chain = masqueradeChain(member.network);
  const base = baseCommands(member.network, member.except).filter((command) => !command.startsWith('flush '));
  const elements = parseSources(member.sources).map(
    ({ family, address }) =>
      `add element inet ${TABLE} ${MAPS[family]} { ${address} comment "${ownerMark(member)}" : jump ${chain} }`,
  );
  // Single quotes: braces, semicolons and double quotes are nft's, not the shell's.
  return [...base, ...elements].map((command) => `nft '${command.replaceAll("'", String.raw`'\''`)}'`);
}
