/** GC of links that are in containers alone: where a namespace lives on, nothing on the host shows them but the records. */
import type { GcRequest } from '../cni/plugin.ts';
import type { Door } from '../netlink/door.ts';
import { remove } from '../plan/engine.ts';
import { lookForLink } from '../plan/look.ts';
import { isInsideLink } from '../plan/step.ts';
import { type Definition, linksOf, type PluginConf } from './definition.ts';
import type { AttachmentRecord } from './record.ts';
import type { Session } from './session.ts';

/**
 * Removes what stale attachments have in namespaces that are still those of their ADD; returns it, readable. What cannot be opened has gone
 * with its links. Throws CniError or NetlinkError.
 */
export async function collectInside<C extends PluginConf>(
  definition: Definition<C>,
  { config, ambient }: GcRequest<C>,
  stale: readonly AttachmentRecord[],
  session: Session,
  door: Door,
): Promise<string[]> {
  const removed: string[] = [];
  for (const { network, containerId, ifname, netns, sandbox, host } of stale) {
    if (host !== session.host.identity) continue;
    const attachment = { network, containerId, ifname, netns };
    const steps = linksOf(definition, { config, attachment, args: {}, hostId: ambient.hostId() }).filter(
      isInsideLink,
    );
    if (steps.length === 0) continue;
    const container = await door.open(netns).catch(() => undefined);
    if (!container) continue;
    try {
      if (container.identity !== sandbox) continue;
      const inside = { ...session, container };
      if (!(await lookForLink(inside, 'container', ifname))) continue;
      await remove(steps, inside);
      if (!(await lookForLink(inside, 'container', ifname))) removed.push(`link ${ifname} of ${containerId}`);
    } finally {
      container.close();
    }
  }
  return removed;
}
