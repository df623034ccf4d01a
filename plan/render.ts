/** A plan as the lines that a person would type. Pure: nothing is opened, nothing is asked. */
import type { Membership } from '../firewall/firewall.ts';
import type { MasqueradeStep, Where } from './step.ts';

/** What rendering needs to know besides the plan. */
export interface RenderNames {
  /** Path of the container's namespace, or a word in its place. */
  netns: string;
  /** The lines of the backend that would be used. */
  masquerade(member: Membership, backend: MasqueradeStep['backend']): string[];
}

/** `ip netns` names live here (iproute2); the second is the same folder on most hosts. */
const NAMED = /^(?:\/var)?\/run\/netns\/([^/]+)$/;

/** The name that `ip -n` takes, where the namespace has one. */
export function netnsName(netns: string): string | undefined {
  return NAMED.exec(netns)?.[1] ?? (netns.includes('/') ? undefined : netns);
}

/** One word of a shell command. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** `ip ...` on the host, `ip -n NAME ...` or `nsenter --net=PATH ip ...` in the container. Words that are absent drop out. */
export function ipCommand(
  where: Where,
  netns: string,
  ...words: readonly (string | number | false | undefined)[]
): string {
  const line = words
    .filter((word) => word !== false && word !== undefined)
    .map((word) => quote(String(word)))
    .join(' ');
  if (where === 'host') return `ip ${line}`;
  const name = netnsName(netns);
  return name ? `ip -n ${quote(name)} ${line}` : `nsenter --net=${quote(netns)} ip ${line}`;
}

/** Any other program. */
export function command(where: Where, netns: string, line: string): string {
  if (where === 'host') return line;
  const name = netnsName(netns);
  return name ? `ip netns exec ${quote(name)} ${line}` : `nsenter --net=${quote(netns)} ${line}`;
}
