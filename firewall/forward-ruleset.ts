/**
 * What keeps networks apart, and whose turn it is before: table `inet weft-forward`, as text. The number of rules is constant; a container
 * is elements of sets. It ends no packet's way through other tables: what they drop is dropped, which is why letting through is not done here alone.
 */
import type { IpFamily } from './address.ts';
import type { Admission } from './forward.ts';
import { RULES_MARK } from './ownership.ts';
import { publicationMark } from './ports-ruleset.ts';

export const FORWARD_TABLE = 'weft-forward';
export const FORWARD = 'forward';
/** The administrator's chain. */
export const ADMIN = 'admin';

type Named = Readonly<Record<IpFamily, string>>;
/** Containers that are let through. */
export const LET: Named = { 4: 'let4', 6: 'let6' };
/** Containers with a policy, each with its link: who needs what the sets of links say. */
export const APART: Named = { 4: 'apart4', 6: 'apart6' };
/** Links that others of this set do not reach, each with itself, so that one set says who it is and that it is itself. */
export const LINKS_APART = 'links-apart';
/** Links within which nobody reaches anybody, each with itself. */
export const LINKS_ISOLATED = 'links-isolated';
/** Containers that are sources of a zone of firewalld's. */
export const ZONED: Named = { 4: 'zoned4', 6: 'zoned6' };

const PROTOCOL: Named = { 4: 'ip', 6: 'ip6' };
const ADDRESS: Named = { 4: 'ipv4_addr', 6: 'ipv6_addr' };
const note = (text: string) => `${RULES_MARK} ${text}`;

const RULES: readonly { statement: string; comment: string }[] = [
  { statement: `jump ${ADMIN}`, comment: note('rules of the administrator') },
  { statement: `iifname . oifname @${LINKS_ISOLATED} drop`, comment: note('containers of a link apart') },
  {
    statement: `iifname . iifname @${LINKS_APART} oifname . oifname @${LINKS_APART} iifname . oifname != @${LINKS_APART} drop`,
    comment: note('links apart'),
  },
  ...([4, 6] as const).flatMap((family) => [
    {
      statement: `${PROTOCOL[family]} daddr @${LET[family]} ct state established,related accept`,
      comment: note(`IPv${family}: answers to containers`),
    },
    {
      statement: `${PROTOCOL[family]} daddr @${LET[family]} ct status dnat accept`,
      comment: note(`IPv${family}: published ports`),
    },
    {
      statement: `${PROTOCOL[family]} saddr @${LET[family]} accept`,
      comment: note(`IPv${family}: from containers`),
    },
  ]),
];

/** By which a flushed chain is noticed. */
export const FORWARD_COMMENTS: readonly string[] = RULES.map(({ comment }) => comment);

/** Everything that does not depend on a container, as one nft transaction, safe to repeat; elements and the administrator's rules stay. */
export function forwardBase(): string[] {
  const at = `inet ${FORWARD_TABLE}`;
  const set = (name: string, type: string, words: string) =>
    `add set ${at} ${name} { type ${type}; comment "${words}"; }`;
  return [
    `add table ${at} { comment "what is forwarded (weft): rules are constant, a container is an element of a set"; }`,
    ...([4, 6] as const).flatMap((family) => [
      set(LET[family], ADDRESS[family], 'containers that are let through'),
      set(APART[family], `ifname . ${ADDRESS[family]}`, 'containers with a policy'),
      set(ZONED[family], ADDRESS[family], 'containers in a zone of firewalld'),
    ]),
    set(LINKS_APART, 'ifname . ifname', 'links that do not reach each other'),
    set(LINKS_ISOLATED, 'ifname . ifname', 'links within which nobody reaches anybody'),
    `add chain ${at} ${ADMIN} { comment "rules of the administrator: weft adds none and flushes none"; }`,
    `add chain ${at} ${FORWARD} { type filter hook forward priority filter; policy accept; }`,
    `flush chain ${at} ${FORWARD}`,
    ...RULES.map(({ statement, comment }) => `add rule ${at} ${FORWARD} ${statement} comment "${comment}"`),
  ];
}

/** The lines that a person would type for one container on a host that has nothing of it yet. */
export function renderNftables(admission: Admission): string[] {
  const { addresses, link, policy } = admission;
  const own = ` comment "${publicationMark(admission)}"`;
  const element = (set: string, key: string, comment = '') =>
    `add element inet ${FORWARD_TABLE} ${set} { ${key}${comment} }`;
  const pair = `"${link}" . "${link}"`;
  const commands = [
    ...forwardBase().filter((command) => !command.startsWith('flush ')),
    ...(policy === 'open' ? [] : [element(LINKS_APART, pair)]),
    ...(policy === 'isolated' ? [element(LINKS_ISOLATED, pair)] : []),
    ...addresses.flatMap(({ family, address }) => [
      element(LET[family], address, own),
      ...(policy === 'open' ? [] : [element(APART[family], `"${link}" . ${address}`, own)]),
    ]),
  ];
  return commands.map((command) => `nft '${command}'`);
}
