import type { Op, Reply } from '../netlink/door.ts';
import { getLink, type Link } from '../netlink/link.ts';
import { tolerating } from '../netlink/message.ts';
import { lookupRoute } from '../netlink/route.ts';
import type { Run } from './run.ts';

/** ETH_DATA_LEN. */
const ETHERNET = 1500;

/** Any public address: only the route to it is looked up, nothing is sent. */
const OUTSIDE = ['1.1.1.1', '2606:4700:4700::1111'];

const NO_ROUTE = ['ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL', 'EAFNOSUPPORT', 'EOPNOTSUPP'];

/** Sends one question to a namespace. */
type Ask = <T>(op: Op<T>) => Promise<Reply<T>>;

/** The link that packets to the outside leave by; undefined without a default route. */
export async function linkToOutside(ask: Ask): Promise<Link | undefined> {
  for (const address of OUTSIDE) {
    const route = await ask(tolerating(lookupRoute(address), ...NO_ROUTE));
    if (!route.ok || route.value.link === undefined) continue;
    const link = await ask(tolerating(getLink(route.value.link), 'ENODEV'));
    if (link.ok && !link.value.loopback) return link.value;
  }
  return undefined;
}

/** The MTU of the link that packets to the outside leave by, in bytes; that of Ethernet on a host without a default route. */
export async function inheritedMtu(run: Run): Promise<number> {
  return (await linkToOutside((op) => run.ask('host', op)))?.mtu ?? ETHERNET;
}
