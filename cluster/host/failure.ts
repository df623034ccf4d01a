/** Why the kernel did not take something, for people. */
import { canonical, networkOf } from '../../cni/prefix.ts';
import type { Namespace, NetlinkError } from '../../netlink/door.ts';
import { listLinks } from '../../netlink/link.ts';
import { listRoutes, RT_TABLE_MAIN } from '../../netlink/route.ts';
import type { Change } from './difference.ts';
import { type RouteEntry, RTPROT_WEFT, wordsOf } from './state.ts';
import { answerOf, routeWords } from './underlay.ts';

/** One sentence. Throws NetlinkError where even looking fails. */
export async function explainFailure(host: Namespace, change: Change, error: NetlinkError): Promise<string> {
  if (!('entry' in change)) return error.message;
  const { entry } = change;
  if (entry.kind === 'route' && error.errno === 'EEXIST') {
    const other = await foreignRoute(host, entry);
    if (other !== undefined) {
      return `wanted ${wordsOf(entry)}, found a route that is not ours: ${other}: remove it or choose another subnet`;
    }
  }
  return `wanted ${wordsOf(entry)}: ${error.message}`;
}

async function foreignRoute(host: Namespace, wanted: RouteEntry): Promise<string | undefined> {
  const [links, routes] = await host.send(listLinks(), listRoutes({ table: RT_TABLE_MAIN }));
  const names = new Map(answerOf(links).map(({ index, name }) => [index, name]));
  const found = answerOf(routes).find(
    ({ dst, priority, protocol }) =>
      protocol !== RTPROT_WEFT &&
      networkOf(dst) === canonical(wanted.dst) &&
      (priority ?? 0) === wanted.metric,
  );
  return found && routeWords(found, names);
}
