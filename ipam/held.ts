/** What is the same wherever leases come from: DEL, GC and CHECK of an IPAM that keeps them as files. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { type Address, formatAddress, parsePrefix } from '../cni/prefix.ts';
import type { AttachmentId, Result } from '../cni/types.ts';
import { collect, heldBy, releaseAll } from './host-local/allocate.ts';
import type { Ipam, IpamNetConf, IpamRequest } from './ipam.ts';
import { formatHolder, type Holder, isHolder, type LeaseStore } from './leases.ts';

type StoreOf = (config: IpamNetConf, ambient: IpamRequest['ambient']) => LeaseStore;

export function givingBack(storeOf: StoreOf): Pick<Ipam, 'del' | 'gc'> {
  return {
    async del({ config, id, ambient }) {
      const store = storeOf(config, ambient);
      return store.exists() ? store.locked((leases) => releaseAll(id, leases)) : [];
    },
    async gc({ config, ambient }, valid) {
      const store = storeOf(config, ambient);
      return store.exists() ? store.locked((leases) => collect(valid, leases)) : [];
    },
  };
}

/**
 * Every address of the previous result that is `ours` is this attachment's. Without a previous result, and when it has no such address, the
 * attachment must hold one at least (all that the reference looks for). Throws CniError(checkFailed).
 */
export async function checkHeld(
  store: LeaseStore,
  { config, id, prevResult }: IpamRequest,
  ours: (address: Address) => boolean,
): Promise<void> {
  const expected = prevResult ? addressesOf(prevResult, id).filter(ours).map(formatAddress) : [];
  for (const address of expected) checkOne(address, store.peek(address), id);
  if (expected.length > 0) return;
  const held = store.exists() ? await store.locked((leases) => heldBy(id, leases)) : [];
  if (held.length > 0) return;
  throw new CniError(ErrorCode.checkFailed, `${formatHolder(id)} holds no address of network ${config.name}`);
}

/** The addresses of a result that are on the attachment's own link, or on none. */
function addressesOf(result: Result, { ifname }: AttachmentId): Address[] {
  return result.ips
    .filter(
      ({ interface: link }) => link === undefined || (result.interfaces[link]?.name ?? ifname) === ifname,
    )
    .map(({ address }) => parsePrefix(address)?.address)
    .filter((address) => address !== undefined);
}

function checkOne(address: string, holder: Holder | undefined, id: AttachmentId): void {
  const older = holder?.containerId === id.containerId && holder.ifname === undefined;
  if (isHolder(holder, id) || older) return;
  const found = holder === undefined ? 'is not reserved' : `is reserved for ${formatHolder(holder)}`;
  throw new CniError(
    ErrorCode.checkFailed,
    `address ${address} ${found}: wanted it reserved for ${formatHolder(id)}`,
  );
}
