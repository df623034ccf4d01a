/**
 * The MAC filter's rules as text. Table `bridge weft` has one rule, however many containers there are: a frame that comes in by a
 * guarded port must carry the source MAC that is allowed there. A container is one element in each of two sets. The rule looks at the
 * Ethernet header alone, so it holds for ARP and everything else that a container may send.
 */
import type { AttachmentId } from '../cni/types.ts';
import { networkLabel, ownerMarkWithin, RULES_MARK } from './ownership.ts';

export const FILTER_TABLE = 'weft';
export const PREROUTING = 'prerouting';
export const GUARDED = 'guarded';
export const ALLOWED = 'allowed';

/** By which a flushed chain is noticed. */
export const FILTER_COMMENT = `${RULES_MARK} drop what does not come from the MAC of the container`;

/** A container's port and the one MAC that may send from it. */
export interface GuardedPort extends AttachmentId {
  network: string;
  /** Name of the host's end of the container's link. */
  port: string;
  mac: string;
}

/** Bytes of a comment that are left beside a MAC. */
const MARK_BYTES = 109;

/** What the comments of a network's elements start with. */
export function networkMark(network: string): string {
  return `${networkLabel(network, 40)} `;
}

/** The comment that says whose an element is: `<network> <container id> <interface>`. */
export function portMark(network: string, { containerId, ifname }: AttachmentId): string {
  return ownerMarkWithin(MARK_BYTES, { containerId: networkMark(network) + containerId, ifname });
}

/**
 * The comment of a guarded port, the owner's mark and the MAC: whoever finds the port then knows the other element too, without
 * reading all of them.
 */
export function guardComment(member: GuardedPort): string {
  return `${portMark(member.network, member)} ${member.mac.toLowerCase()}`;
}

/** The parts of a guard's comment; undefined for one that a person wrote. */
export function readGuardComment(comment: string | undefined): { mark: string; mac: string } | undefined {
  const [, mark, mac] = /^(.*) ((?:[0-9a-f]{2}:){5}[0-9a-f]{2})$/.exec(comment ?? '') ?? [];
  return mark === undefined || mac === undefined ? undefined : { mark, mac };
}

/** Table, sets, chain and rule as one nft transaction, safe to repeat; elements of the sets stay. */
export function filterCommands(): string[] {
  const at = `bridge ${FILTER_TABLE}`;
  return [
    `add table ${at} { comment "container ports (weft): the rule is constant, a container is an element of each set"; }`,
    `add set ${at} ${GUARDED} { type ifname; comment "ports whose containers are held to their MAC"; }`,
    `add set ${at} ${ALLOWED} { type ifname . ether_addr; comment "port . MAC that may send from it"; }`,
    `add chain ${at} ${PREROUTING} { type filter hook prerouting priority -300; policy accept; }`,
    `flush chain ${at} ${PREROUTING}`,
    `add rule ${at} ${PREROUTING} iifname @${GUARDED} iifname . ether saddr != @${ALLOWED} drop comment "${FILTER_COMMENT}"`,
  ];
}

/** The lines that a person would type for one container on a host that has nothing of it yet. */
export function renderFilter(member: GuardedPort): string[] {
  const element = (set: string, key: string, comment: string) =>
    `add element bridge ${FILTER_TABLE} ${set} { ${key} comment "${comment}" }`;
  const port = `"${member.port}"`;
  const mac = member.mac.toLowerCase();
  const commands = [
    ...filterCommands().filter((command) => !command.startsWith('flush ')),
    element(ALLOWED, `${port} . ${mac}`, portMark(member.network, member)),
    element(GUARDED, port, guardComment(member)),
  ];
  return commands.map((command) => `nft '${command}'`);
}
