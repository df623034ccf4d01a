/** What the attachments of this host need on it and do not have: the look of the agent's repair, without the repair. */
import type { Ambient } from '../../cni/ambient.ts';
import type { Namespace } from '../../netlink/door.ts';

/** One attachment, and what is not there. */
export interface Lacking {
  network: string;
  containerId: string;
  ifname: string;
  /** Rules and their elements, or links, addresses, routes and settings. */
  kind: 'rules' | 'link';
  /** Readable, one thing each. */
  what: readonly string[];
}

/** Reads each attachment's record and a few dumps, however many there are. Throws NetlinkError or CniError. */
export async function lackingOnHost(host: Namespace, ambient: Ambient): Promise<Lacking[]> {
  const [{ bootId, recordFolder }, { isCurrent, Records }] = await Promise.all([
    import('../../plugins/record.ts'),
    import('../../agent/repair/records.ts'),
  ]);
  const boot = bootId();
  const known = new Records(recordFolder(ambient.paths.cacheDir))
    .all()
    .filter(({ record }) => record.boot === boot && record.host === host.identity);
  if (known.length === 0) return [];
  const [{ HostLook }, { watchedHost }, { living, missingOnHost, missingRules }] = await Promise.all([
    import('../../agent/repair/host-look.ts'),
    import('../../agent/repair/host.ts'),
    import('../../agent/repair/missing.ts'),
  ]);
  const surroundings = watchedHost(host, ambient);
  const look = await HostLook.take(surroundings);
  const entries = living(known, look);
  const found = {
    link: await missingOnHost(entries, look),
    rules: await missingRules(entries, surroundings),
  };
  return (['link', 'rules'] as const).flatMap((kind) =>
    found[kind].flatMap(({ entry, what }): Lacking[] => {
      const { network, containerId, ifname } = entry.record;
      // What a DEL took away meanwhile is no lack.
      return isCurrent(entry) ? [{ network, containerId, ifname, kind, what }] : [];
    }),
  );
}
