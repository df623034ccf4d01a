/** What is written down about this host's attachments: leases, results, records; and what of it is missing or left behind. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding as Missing } from '../../agent/repair/finding.ts';
import { standingOf } from '../../agent/repair/proof.ts';
import { type Entry, Records } from '../../agent/repair/records.ts';
import type { Ambient, Paths } from '../../cni/ambient.ts';
import type { Lacking, Lease, Remains } from '../../inspect/doctor/view.ts';
import { readHolder } from '../../ipam/lease-files.ts';
import type { Namespace } from '../../netlink/door.ts';
import { listLinks } from '../../netlink/link.ts';
import { kindOf } from '../../plan/kinds.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import { bootId, recordFolder } from '../../plugins/record.ts';
import { lackingParts } from '../agent/lacking.ts';

/** One attachment's lack, with what puts it back. */
export interface Lack extends Lacking {
  missing: Missing;
}

export interface Left extends Remains {
  entry: Entry;
}

export interface Written {
  leases: Lease[];
  recorded: Set<string>;
  lacking: Lack[];
  remains: Left[];
  surroundings: Surroundings;
}

/** Throws NetlinkError or CniError. */
export async function readWritten(host: Namespace, ambient: Ambient): Promise<Written> {
  const { found, surroundings } = await lackingParts(host, ambient);
  const lacking: Lack[] = [];
  for (const kind of ['link', 'rules'] as const) {
    for (const missing of found[kind]) lacking.push(await lackOf(missing, kind, surroundings));
  }
  const entries = new Records(recordFolder(ambient.paths.cacheDir)).all();
  const [links] = await host.send(listLinks());
  const present = {
    ...{ boot: bootId(), host: host.identity },
    links: new Set((links.ok ? links.value : []).map(({ name }) => name)),
  };
  const remains = entries.flatMap((entry): Left[] => {
    const standing = standingOf(entry, present);
    if (standing.is === 'alive') return [];
    const { network, containerId, ifname } = entry.record;
    const dead = standing.is === 'dead';
    const reason = standing.is === 'dead' ? standing.proof : standing.reason;
    return [{ network, containerId, ifname, dead, reason, entry }];
  });
  return {
    leases: readLeases(ambient.paths),
    recorded: new Set(
      entries.map(({ record: { network, containerId, ifname } }) => `${network} ${containerId} ${ifname}`),
    ),
    ...{ lacking, remains: firstOfAttachment(remains), surroundings },
  };
}

/** Each plugin of an attachment has a record of its own; all of them are taken away by one DEL. */
function firstOfAttachment(remains: readonly Left[]): Left[] {
  const dead = new Map<string, Left>();
  for (const one of remains) {
    const key = `${one.network} ${one.containerId} ${one.ifname}`;
    if (!dead.has(key)) dead.set(key, one);
  }
  return [...dead.values()];
}

async function lackOf(missing: Missing, kind: 'link' | 'rules', surroundings: Surroundings): Promise<Lack> {
  const { entry, step, what } = missing;
  const { network, containerId, ifname, netns } = entry.record;
  const mend =
    step.kind === 'veth'
      ? [`ip link set ${step.host.name} master ${step.host.master}`]
      : step.kind === 'masquerade'
        ? (await surroundings.firewall(step.backend)).renderMasquerade(step)
        : kindOf(step).render(step, { netns, masquerade: () => [] });
  return { network, containerId, ifname, kind, what, mend, missing };
}

/** Every file of host-local's store. What is gone or forbidden is left out. */
export function readLeases({ dataDir }: Pick<Paths, 'dataDir'>): Lease[] {
  return names(dataDir).flatMap((network) =>
    names(join(dataDir, network))
      .filter((name) => /^[0-9a-f]*[.:][0-9a-f.:]+$/.test(name))
      .flatMap((address): Lease[] => {
        const file = join(dataDir, network, address);
        const holder = readHolder(file);
        const found = statSync(file, { throwIfNoEntry: false });
        if (holder === undefined || found === undefined) return [];
        return [{ network, address, ...holder, file, written: found.mtimeMs }];
      }),
  );
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
