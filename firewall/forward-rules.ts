/**
 * What lets a container's packets through a host whose forward policy is to drop, as iptables' text: a chain of ours at the head of
 * FORWARD in table filter. It has to be there and nowhere else: what another table of nftables accepts, this one drops all the same.
 */
import type { AttachmentId } from '../cni/types.ts';
import type { IpFamily } from './address.ts';
import { publicationMark } from './ports-ruleset.ts';

export const FILTER = 'filter';
export const FORWARD_CHAIN = 'WEFT-FORWARD';
export const ISOLATION_CHAIN = 'WEFT-ISOLATION';
export const ISOLATION_END = 'WEFT-ISOLATION-2';
/** The reference's. */
export const REFERENCE_CHAIN = 'CNI-FORWARD';
export const FORWARD_CHAINS = [FORWARD_CHAIN, ISOLATION_CHAIN, ISOLATION_END] as const;
const HOST_BITS: Readonly<Record<IpFamily, string>> = { 4: '/32', 6: '/128' };

/** One attachment, and who may reach it. */
export interface Admission extends AttachmentId {
  network: string;
  /** Canonical, without prefix length. */
  addresses: readonly { family: IpFamily; address: string }[];
  /** The administrator's chain, whose rules come before ours; made if missing. */
  adminChain: string;
  /** Other bridges of a policy than `open` do not reach this one; `isolated`: nor do its own containers each other. */
  policy: 'open' | 'same-bridge' | 'isolated';
  /** The link of the host that the policy is about. */
  link?: string;
  /** Without it, a host that has no iptables has nothing to be let through, and that is no error. */
  required: boolean;
}

const note = (text: string) => `-m comment --comment "${text}"`;

/** As iptables-save prints them. */
export const FORWARD_JUMP = `-A FORWARD ${note('weft: containers')} -j ${FORWARD_CHAIN}`;
export const ISOLATION_JUMP = `-A ${FORWARD_CHAIN} ${note('weft: bridges apart')} -j ${ISOLATION_CHAIN}`;
const ADMIN_NOTE = note('weft: rules of the administrator');
export const adminJump = (chain: string) => `-A ${FORWARD_CHAIN} ${ADMIN_NOTE} -j ${chain}`;
export const isAdminJump = (line: string) => line.startsWith(`-A ${FORWARD_CHAIN} ${ADMIN_NOTE} `);

/** What goes into the container belongs to what it began, or to a published port; what comes from it goes. */
export function memberRules(admission: Admission, family: IpFamily): string[] {
  const own = note(publicationMark(admission));
  return admission.addresses
    .filter((one) => one.family === family)
    .flatMap(({ address }) => [
      `-A ${FORWARD_CHAIN} -d ${address}${HOST_BITS[family]} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT ${own} -j ACCEPT`,
      `-A ${FORWARD_CHAIN} -s ${address}${HOST_BITS[family]} ${own} -j ACCEPT`,
    ]);
}

/** Shared by the containers of a link. */
export function policyRules({ policy, link }: Pick<Admission, 'policy' | 'link'>): string[] {
  if (policy === 'open' || link === undefined) return [];
  const own = note(`weft: ${policy} ${link}`);
  return [
    ...(policy === 'isolated' ? [`-A ${ISOLATION_CHAIN} -i ${link} -o ${link} ${own} -j DROP`] : []),
    `-A ${ISOLATION_CHAIN} -i ${link} ! -o ${link} ${own} -j ${ISOLATION_END}`,
    `-A ${ISOLATION_END} -o ${link} ${own} -j DROP`,
  ];
}

/** Whose rule of our chain a line of iptables-save is; undefined for all others. */
export function forwardOwner(line: string): string | undefined {
  if (!line.startsWith(`-A ${FORWARD_CHAIN} -`) || !line.endsWith(' -j ACCEPT')) return undefined;
  return /--comment "([^"]*)"/.exec(line)?.[1];
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
export function renderForward(admission: Admission): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const rules = memberRules(admission, family);
    if (rules.length === 0) return [];
    const program = family === 4 ? 'iptables' : 'ip6tables';
    return [
      ...[...FORWARD_CHAINS, admission.adminChain].map((chain) => `${program} -N ${chain}`),
      `${program} ${FORWARD_JUMP.replace('-A FORWARD', '-I FORWARD')}`,
      ...[adminJump(admission.adminChain), ISOLATION_JUMP, ...policyRules(admission), ...rules].map(
        (rule) => `${program} ${rule}`,
      ),
    ];
  });
}
