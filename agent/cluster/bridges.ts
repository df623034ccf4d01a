/** Bridges that the plugins made for a network's containers: they outlive the last container, and would keep a route to a subnet that is given back. */
import { overlap } from '../../cni/prefix.ts';
import { deleteAddress, listAddresses } from '../../netlink/address.ts';
import type { Namespace } from '../../netlink/door.ts';
import { deleteLink, listLinks } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';

/** rtnetlink.h: RT_SCOPE_UNIVERSE. */
const GLOBAL = 0;

/**
 * Takes away the network's addresses from bridges of ours without ports, and those bridges that had no others. One with containers stays
 * as it is. Throws NetlinkError.
 * @param macs what the plugins give a bridge of such a name: only by that it is known to be ours
 */
export async function removeEmptyBridges(
  host: Namespace,
  pools: readonly string[],
  macs: (name: string) => readonly string[],
): Promise<void> {
  const [links, addresses] = await host.send(listLinks(), listAddresses());
  if (!links.ok || !addresses.ok) return;
  for (const { index, kind, name, mac } of links.value) {
    if (kind !== 'bridge' || !macs(name).includes(mac ?? '')) continue;
    if (links.value.some(({ master }) => master === index)) continue;
    const all = addresses.value.filter(({ link, scope }) => link === index && scope === GLOBAL);
    const ours = all.filter(({ address }) => pools.some((pool) => overlap(address, pool)));
    if (ours.length === 0) continue;
    if (ours.length === all.length) await host.send(tolerating(deleteLink(index), 'ENODEV'));
    else
      for (const { cidr } of ours) await host.send(tolerating(deleteAddress(index, cidr), 'EADDRNOTAVAIL'));
  }
}
