/** What links that are the container's have in common, whatever their kind. */
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Namespace, NetlinkError } from '../../netlink/door.ts';
import { deleteLink, type Link } from '../../netlink/link.ts';
import { probeKind } from '../../netlink/link-kinds.ts';
import { tolerating } from '../../netlink/message.ts';
import type { Difference } from '../difference.ts';
import { lookForLink } from '../look.ts';
import type { Surroundings } from '../surroundings.ts';

/** What a kernel is built with to have a kind of link, by the kernel's name of it. */
const KERNEL_OPTIONS: Readonly<Record<string, string>> = {
  macvlan: 'CONFIG_MACVLAN',
  ipvlan: 'CONFIG_IPVLAN',
  vlan: 'CONFIG_VLAN_8021Q',
  dummy: 'CONFIG_DUMMY',
  vrf: 'CONFIG_NET_VRF',
  tun: 'CONFIG_TUN',
};

export function noKind(kind: string, error?: Error): CniError {
  return new CniError(
    ErrorCode.noKernelSupport,
    `the kernel of this host has no ${kind} links: it needs ${KERNEL_OPTIONS[kind] ?? 'another build'}`,
    error?.message,
    { cause: error },
  );
}

/** For an operation that makes a link: the one error that the kernel gives for every kind that it lacks. */
export function explainKind(kind: string, error: NetlinkError): CniError | undefined {
  return error.errno === 'EOPNOTSUPP' ? noKind(kind, error) : undefined;
}

/** Throws CniError(notAvailable) where the kernel lacks a kind of link; makes nothing, but the kernel may load a module. */
export async function requireKind(host: Namespace, kind: string): Promise<void> {
  const [reply] = await host.send(probeKind(kind));
  if (reply.ok || reply.error.errno !== 'EOPNOTSUPP') return;
  throw new CniError(
    ErrorCode.notAvailable,
    `no ADD can succeed: ${noKind(kind).message}`,
    reply.error.message,
  );
}

export interface WantedInside {
  name: string;
  up: boolean;
  mac?: string | undefined;
  mtu?: number | undefined;
}

/** `kind`: undefined where any will do. */
export function insideDifferences(
  { name, up, mac, mtu }: WantedInside,
  kind: string | undefined,
  link: Link,
): Difference[] {
  const what = `link ${name} in the container`;
  const differences: Difference[] = [];
  if (kind !== undefined && link.kind !== kind)
    differences.push({ what, wanted: `kind ${kind}`, found: `kind ${link.kind ?? 'none'}` });
  if (up && !link.up) differences.push({ what, wanted: 'up', found: 'down' });
  if (mac !== undefined && link.mac !== mac.toLowerCase())
    differences.push({ what: `MAC of ${what}`, wanted: mac, found: link.mac ?? 'none' });
  if (mtu !== undefined && link.mtu !== mtu)
    differences.push({ what: `MTU of ${what}`, wanted: `${mtu}`, found: `${link.mtu}` });
  return differences;
}

export function missingInside(name: string): Difference {
  return { what: `link ${name} in the container`, wanted: 'present', found: 'no such link' };
}

/**
 * Deletes the container's link, unless it is of another kind or its alias says that another attachment of ours owns it: a DEL that
 * follows an ADD which found the name taken must not take it. Without a namespace there is nothing left to delete.
 */
export async function removeInside(
  { name, alias }: { name: string; alias: string },
  kind: string,
  surroundings: Surroundings,
): Promise<void> {
  const { container } = surroundings;
  if (!container) return;
  const link = await lookForLink(surroundings, 'container', name);
  if (link?.kind !== kind) return;
  if (link.alias?.startsWith('weft ') && link.alias !== alias) return;
  await container.send(tolerating(deleteLink(link.index), 'ENODEV'));
}
