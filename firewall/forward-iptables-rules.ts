/**
 * What lets a container's packets through a host whose iptables drop what is forwarded, as text: a chain of ours at the head of FORWARD in
 * table filter. It has to be there and nowhere else: what another table of nftables accepts, this one drops all the same.
 */
import type { IpFamily } from './address.ts';
import type { Admission } from './forward.ts';
import { publicationMark } from './ports-ruleset.ts';

export const FILTER = 'filter';
export const FORWARD_CHAIN = 'WEFT-FORWARD';
export const ISOLATION_CHAIN = 'WEFT-ISOLATION';
export const ISOLATION_END = 'WEFT-ISOLATION-2';
/** The reference's. */
export const REFERENCE_CHAIN = 'CNI-FORWARD';
/** Containers that are let through, by ipset. Networks' sets have a hyphen there. */
export const LET_SETS: Readonly<Record<IpFamily, string>> = { 4: 'weft_let4', 6: 'weft_let6' };
const HOST_BITS: Readonly<Record<IpFamily, string>> = { 4: '/32', 6: '/128' };

const note = (text: string) => `-m comment --comment "${text}"`;
const IN = '-m conntrack --ctstate RELATED,ESTABLISHED,DNAT';

/** As iptables-save prints them. */
export const FORWARD_JUMP = `-A FORWARD ${note('weft: containers')} -j ${FORWARD_CHAIN}`;
export const ISOLATION_JUMP = `-A ${FORWARD_CHAIN} ${note('weft: bridges apart')} -j ${ISOLATION_CHAIN}`;
const ADMIN_NOTE = note('weft: rules of the administrator');
const adminJump = (chain: string) => `-A ${FORWARD_CHAIN} ${ADMIN_NOTE} -j ${chain}`;
export const isAdminJump = (line: string) => line.startsWith(`-A ${FORWARD_CHAIN} ${ADMIN_NOTE} `);

/** What goes into a container belongs to what it began, or to a published port; what comes from it goes. */
const setRules = (family: IpFamily) => [
  `-A ${FORWARD_CHAIN} -m set --match-set ${LET_SETS[family]} dst ${IN} ${note('weft: to containers')} -j ACCEPT`,
  `-A ${FORWARD_CHAIN} -m set --match-set ${LET_SETS[family]} src ${note('weft: from containers')} -j ACCEPT`,
];

/** The same without ipset, for one container. */
export function memberRules(admission: Admission, family: IpFamily): string[] {
  const own = note(publicationMark(admission));
  return admission.addresses
    .filter((one) => one.family === family)
    .flatMap(({ address }) => [
      `-A ${FORWARD_CHAIN} -d ${address}${HOST_BITS[family]} ${IN} ${own} -j ACCEPT`,
      `-A ${FORWARD_CHAIN} -s ${address}${HOST_BITS[family]} ${own} -j ACCEPT`,
    ]);
}

/** Shared by the containers of a link. */
function policyRules({ policy, link }: Pick<Admission, 'policy' | 'link'>): string[] {
  if (policy === 'open' || link === undefined) return [];
  const own = note(`weft: ${policy} ${link}`);
  return [
    ...(policy === 'isolated' ? [`-A ${ISOLATION_CHAIN} -i ${link} -o ${link} ${own} -j DROP`] : []),
    `-A ${ISOLATION_CHAIN} -i ${link} ! -o ${link} ${own} -j ${ISOLATION_END}`,
    `-A ${ISOLATION_END} -o ${link} ${own} -j DROP`,
  ];
}

/** What one family of a host shall have. */
export interface WantedRules {
  chains: string[];
  /** In the order in which they stand, chain by chain; as iptables-save prints them. */
  jumps: string[];
  admin: string;
  policies: string[];
  /** One pair for all containers. */
  sets: string[];
  /** Whether networks are kept apart here as well, and not in a table of ours. */
  apart: boolean;
}

export function wantedRules(admission: Admission, family: IpFamily): WantedRules {
  const apart = admission.rules === 'iptables';
  const isolation = apart ? [ISOLATION_CHAIN, ISOLATION_END] : [];
  return {
    chains: [FORWARD_CHAIN, ...isolation, admission.adminChain],
    jumps: [FORWARD_JUMP, ...(apart ? [ISOLATION_JUMP] : [])],
    admin: adminJump(admission.adminChain),
    policies: apart ? policyRules(admission) : [],
    sets: setRules(family),
    apart,
  };
}

/** Whose rule of our chain a line of iptables-save is; undefined for all others. */
export function forwardOwner(line: string): string | undefined {
  if (!line.startsWith(`-A ${FORWARD_CHAIN} -`) || !line.endsWith(' -j ACCEPT')) return undefined;
  const owner = /--comment "([^"]*)"/.exec(line)?.[1];
  return owner?.startsWith('weft: ') ? undefined : owner;
}

/** The reference's rules of these addresses. */
export function isReferenceRule(line: string, addresses: Admission['addresses']): boolean {
  const [, address] =
    /^-A CNI-FORWARD -[sd] (\S+)\/\d+ (?:-m conntrack --ctstate RELATED,ESTABLISHED )?-j ACCEPT$/.exec(
      line,
    ) ?? [];
  return address !== undefined && addresses.some((one) => one.address === address);
}

/** The lines that a person would type for one container on a host that has nothing of it yet. */
export function renderIptables(admission: Admission): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const rules = memberRules(admission, family);
    if (rules.length === 0) return [];
    const program = family === 4 ? 'iptables' : 'ip6tables';
    const { chains, jumps, admin, policies } = wantedRules(admission, family);
    const [first = '', ...others] = jumps;
    return [
      ...chains.map((chain) => `${program} -N ${chain}`),
      `${program} ${first.replace('-A FORWARD', '-I FORWARD')}`,
      ...[admin, ...others, ...policies, ...rules].map((rule) => `${program} ${rule}`),
    ];
  });
}
