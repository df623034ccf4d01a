import { getLink } from '../netlink/link.ts';
import { tolerating } from '../netlink/message.ts';
import { lookupRoute } from '../netlink/route.ts';
import type { Run } from './run.ts';

/** ETH_DATA_LEN. */
const ETHERNET = 1500;

/** Any public address: only the route to it is looked up, nothing is sent. */
const OUTSIDE = ['1.1.1.1', '2606:4700:4700::1111'];

const NO_ROUTE = ['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL', 'EAFNOSUPPORT', 'EOPNOTSUPP'];

/** The MTU of the link that packets to the outside leave by, in bytes; that of Ethernet on a host without a default route. */
export async function inheritedMtu(run: Run): Promise<number> {
  for (const address of OUTSIDE) {
    const route = await run.ask('host', tolerating(lookupRoute(address), ...NO_ROUTE));
    if (!route.ok || route.value.link === undefined) continue;
    const link = await run.ask('host', tolerating(getLink(route.value.link), 'ENODEV'));
    if (link.ok && !link.value.loopback) return link.value.mtu;
  }
  return ETHERNET;
}
