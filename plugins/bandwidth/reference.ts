/** What the reference's bandwidth plugin makes: an ifb named by a hash of network and container, and qdiscs with handle 1:. */
import type { Attachment, Result } from '../../cni/types.ts';
import type { Namespace } from '../../netlink/door.ts';
import { deleteLink, getLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import { listQdiscs } from '../../netlink/qdisc.ts';
import { hostLinks, REFERENCE_IFB } from '../outcome.ts';

const HANDLE = 0x10000;

/** IFNAMSIZ - 1. */
const NAME_LENGTH = 15;

const namedIn = (result: Result) =>
  result.interfaces
    .filter(({ name, sandbox }) => !sandbox && REFERENCE_IFB.test(name))
    .map(({ name }) => name);

/** A previous result names it; only without one is the hash worth its time. */
async function ifbsOf(
  { network, containerId }: Attachment,
  prevResult: Result | undefined,
): Promise<string[]> {
  if (prevResult) return namedIn(prevResult);
  const { createHash } = await import('node:crypto');
  return [
    `bwp${createHash('sha512').update(`${network}${containerId}`).digest('hex')}`.slice(0, NAME_LENGTH),
  ];
}

export async function removeReferenceIfb(
  host: Namespace,
  attachment: Attachment,
  prevResult: Result | undefined,
): Promise<void> {
  for (const name of await ifbsOf(attachment, prevResult)) {
    const [link] = await host.send(tolerating(getLink(name), 'ENODEV'));
    if (link.ok && link.value.kind === 'ifb') await host.send(tolerating(deleteLink(name), 'ENODEV'));
  }
}

/** Whether the limits of a container are the reference's: its ifb, or its bucket or classes on the host's end. */
export async function shapedByReference(host: Namespace, prevResult: Result | undefined): Promise<boolean> {
  if (!prevResult) return false;
  const { links, port } = hostLinks(prevResult);
  for (const name of [...namedIn(prevResult), port ?? links.at(-1)]) {
    if (name === undefined) continue;
    const [link] = await host.send(tolerating(getLink(name), 'ENODEV'));
    if (!link.ok) continue;
    const [qdiscs] = await host.send(listQdiscs(link.value.index));
    const root = qdiscs.ok ? qdiscs.value.find((qdisc) => qdisc.root) : undefined;
    if (root?.handle === HANDLE && ['tbf', 'htb'].includes(root.kind)) return true;
  }
  return false;
}
