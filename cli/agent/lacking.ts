/** What the attachments of this host need on it and do not have: the look of the agent's repair, without the repair. */
import type { Finding } from '../../agent/repair/finding.ts';
import type { Ambient } from '../../cni/ambient.ts';
import type { Namespace } from '../../netlink/door.ts';
import type { Surroundings } from '../../plan/surroundings.ts';

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
  const { found } = await lackingParts(host, ambient);
  return (['link', 'rules'] as const).flatMap((kind) =>
    found[kind].map(({ entry, what }): Lacking => {
      const { network, containerId, ifname } = entry.record;
      return { network, containerId, ifname, kind, what };
    }),
  );
}

/** The same as the agent's repair has it, with what it takes to put it back. Throws NetlinkError or CniError. */
export async function lackingParts(
  host: Namespace,
  ambient: Ambient,
): Promise<{ found: { link: Finding[]; rules: Finding[] }; surroundings: Surroundings }> {
  const [{ bootId, recordFolder }, { isCurrent, Records }, { surroundingsOf }] = await Promise.all([
    import('../../plugins/record.ts'),
    import('../../agent/repair/records.ts'),
    import('../../plugins/surroundings.ts'),
  ]);
  const boot = bootId();
  const surroundings = surroundingsOf(ambient, host, undefined);
  const known = new Records(recordFolder(ambient.paths.cacheDir))
    .all()
    .filter(({ record }) => record.boot === boot && record.host === host.identity);
  if (known.length === 0) return { found: { link: [], rules: [] }, surroundings };
  const [{ HostLook }, { living, missingOnHost, missingRules }] = await Promise.all([
    import('../../agent/repair/host-look.ts'),
    import('../../agent/repair/missing.ts'),
  ]);
  const look = await HostLook.take(surroundings);
  const entries = living(known, look);
  // What a DEL took away meanwhile is no lack.
  const current = (all: readonly Finding[]) => all.filter(({ entry }) => isCurrent(entry));
  const link = await missingOnHost(entries, look);
  const rules = await missingRules(entries, surroundings);
  return { found: { link: current(link), rules: current(rules) }, surroundings };
}
