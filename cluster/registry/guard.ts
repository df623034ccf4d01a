/** Whether a change that was decided on one state may be made to another: what etcd is asked in a transaction, for stores that have no such. Pure. */
import type { NetworkState } from '../registry.ts';
import { memberOf, subnetsOfOthers } from './allocate.ts';
import { overlapsAny } from './blocks.ts';
import type { Change } from './store.ts';

/** Only what the change depends on is compared: hosts that come at the same time do not disturb each other. */
export function applies(seen: NetworkState, now: NetworkState, change: Change): boolean {
  const { host, member, put = [], remove = [] } = change;
  const same = (pick: (state: NetworkState) => unknown) =>
    JSON.stringify(pick(seen)) === JSON.stringify(pick(now));
  if (!same((state) => memberOf(state, host))) return false;
  const addresses = new Set([...put.map(({ address }) => address), ...remove]);
  if (!same(({ endpoints }) => endpoints.filter(({ address }) => addresses.has(address)))) return false;
  const before = memberOf(now, host);
  const fresh = (member?.subnets ?? []).filter((subnet) => !before?.subnets.includes(subnet));
  const others = subnetsOfOthers(now, host);
  if (fresh.some((subnet) => overlapsAny(subnet, others))) return false;
  const borrowed = (member?.borrowed ?? []).filter((address) => !before?.borrowed?.includes(address));
  return !now.members.some(
    (one) => one.host !== host && one.borrowed?.some((address) => borrowed.includes(address)),
  );
}
