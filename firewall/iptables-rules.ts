/**
 * The iptables backend's rules as text, all in table nat. With ipset: one rule per network and family, and two sets (who is
 * masqueraded, which destinations are not). Without: one chain per network, with one rule per container.
 */
import { type IpFamily, parseExceptions, parseSources } from './address.ts';
import type { Membership } from './firewall.ts';
import { iptablesNames, networkLabel, ownerMark } from './ownership.ts';

/** Elements a set may get; memory is only taken as it fills. The kernel's default of 65536 is one /16. */
export const MAX_ELEMENTS = 1_048_576;
const INET: Readonly<Record<IpFamily, string>> = { 4: 'inet', 6: 'inet6' };
const HOST_BITS: Readonly<Record<IpFamily, string>> = { 4: '32', 6: '128' };

function comment(text: string): string {
  return `-m comment --comment "${text}"`;
}

/** The two sets of a network and family, as a person would make them. */
function setCommands(network: string, family: IpFamily, except: readonly string[]): string[] {
  const names = iptablesNames(network);
  return [
    `create ${names.sources[family]} hash:ip family ${INET[family]} maxelem ${MAX_ELEMENTS} comment`,
    `create ${names.except[family]} hash:net family ${INET[family]} maxelem ${MAX_ELEMENTS}`,
    ...parseExceptions(except)[family].map((prefix) => `add ${names.except[family]} ${prefix}`),
  ];
}

/** The one rule of a network and family, exactly as iptables-save prints it. */
export function setRule(network: string, family: IpFamily): string {
  const names = iptablesNames(network);
  return [
    `-A POSTROUTING -m set --match-set ${names.sources[family]} src`,
    `-m set ! --match-set ${names.except[family]} dst`,
    comment(`weft network ${networkLabel(network)}: masquerade`),
    '-j MASQUERADE --random-fully',
  ].join(' ');
}

/** Without ipset: the rule that leads into the network's chain. */
export function chainJump(network: string): string {
  const note = comment(`weft network ${networkLabel(network)}: masquerade`);
  return `-A POSTROUTING ${note} -j ${iptablesNames(network).chain}`;
}

/** Without ipset: the rules that let destinations keep their source, to stand before all others. */
export function chainExceptions(network: string, family: IpFamily, except: readonly string[]): string[] {
  const note = comment(`weft network ${networkLabel(network)}: keep source`);
  const { chain } = iptablesNames(network);
  return parseExceptions(except)[family].map((prefix) => `-A ${chain} -d ${prefix} ${note} -j RETURN`);
}

/** Without ipset: one address of one container. */
export function chainMember(
  member: Omit<Membership, 'sources' | 'except'>,
  family: IpFamily,
  address: string,
): string {
  const { chain } = iptablesNames(member.network);
  return `-A ${chain} -s ${address}/${HOST_BITS[family]} ${comment(ownerMark(member))} -j MASQUERADE --random-fully`;
}

/** A container's rule in the network's chain, taken apart; undefined for every other line of iptables-save. */
export function readChainMember(
  network: string,
  line: string,
): { address: string; owner: string } | undefined {
  const { chain } = iptablesNames(network);
  const [, of, address, owner] =
    /^-A (\S+) -s ([0-9a-f.:]+)\/\d+ -m comment --comment "([^"]*)" -j MASQUERADE/.exec(line) ?? [];
  return of === chain && address !== undefined && owner !== undefined ? { address, owner } : undefined;
}

/** The line of iptables-restore that deletes a rule which iptables-save printed. */
export function deletion(line: string): string {
  return line.replace(/^-A/, '-D');
}

/** The lines that a person would type for one membership on a host that has ipset and nothing of ours yet. */
export function renderCommands(member: Membership): string[] {
  const sources = parseSources(member.sources);
  const families = ([4, 6] as const).filter((family) => sources.some((source) => source.family === family));
  return [
    ...families.flatMap((family) => [
      ...setCommands(member.network, family, member.except).map((line) => `ipset ${line}`),
      `${family === 4 ? 'iptables' : 'ip6tables'} -t nat ${setRule(member.network, family)}`,
    ]),
    ...sources.map(
      ({ family, address }) =>
        `ipset add ${iptablesNames(member.network).sources[family]} ${address} comment "${ownerMark(member)}"`,
    ),
  ];
}
