/** `weft net attachments` */
import { existsSync } from 'node:fs';
import type { AttachmentId } from '../../cni/types.ts';
import { readRecord, recordFolder, recordNames } from '../../plugins/record.ts';
import { listCached, resultAddresses } from '../../runtime/cache.ts';
import type { WeftContext } from '../context.ts';
import { lines, table } from '../table.ts';

/** What is known of an attachment, from libcni's cache and from the records that weft's plugins write. */
interface Known {
  network: string;
  containerID: string;
  ifname: string;
  addresses: string[];
  /** Path of its namespace, where it was written down, and whether there is still something. */
  netns?: string;
  alive?: boolean;
  /** The plugins of weft that have a part in it. */
  plugins: string[];
}

export async function attachments(
  this: WeftContext,
  flags: { json?: boolean },
  network?: string,
): Promise<void> {
  const { cacheDir } = this.ambient.paths;
  const known = attachmentsIn(cacheDir).filter((one) => network === undefined || one.network === network);
  if (flags.json) {
    this.terminal.out(`${JSON.stringify(known, null, 2)}\n`);
    return;
  }
  if (known.length === 0) {
    this.terminal.err(
      `nothing is attached${network === undefined ? '' : ` to ${network}`}, as far as ${cacheDir} tells\n`,
    );
    return;
  }
  const rows = known.map(({ network, containerID, ifname, addresses, netns = '?', alive }) => [
    network,
    containerID,
    ifname,
    addresses.join(' ') || '-',
    alive === false ? `${netns} (gone)` : netns,
  ]);
  this.terminal.out(
    lines(...table([['NETWORK', 'CONTAINER', 'INTERFACE', 'ADDRESSES', 'NAMESPACE'], ...rows])),
  );
}

/** Sorted by network, container and interface. Throws CniError(io) where the cache may not be read. */
function attachmentsIn(cacheDir: string): Known[] {
  const all = new Map<string, Known>();
  const place = (
    network: string,
    { containerId, ifname }: AttachmentId,
    netns: string | undefined,
  ): Known => {
    const key = JSON.stringify([network, containerId, ifname]);
    const known = all.get(key) ?? { network, containerID: containerId, ifname, addresses: [], plugins: [] };
    all.set(key, known);
    if (netns && known.netns === undefined) Object.assign(known, { netns, alive: existsSync(netns) });
    return known;
  };
  for (const cached of listCached(cacheDir)) {
    place(cached.network, cached, cached.netns).addresses = resultAddresses(cached.result);
  }
  const folder = recordFolder(cacheDir);
  for (const name of recordNames(folder)) {
    const record = readRecord(`${folder}/${name}`);
    if (record === undefined) continue;
    place(record.network, record, record.netns).plugins.push(record.plugin);
  }
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, known]) => known);
}
