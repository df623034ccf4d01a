import { CniError, ErrorCode } from '../../cni/errors.ts';
import { type Address, formatAddress, parsePrefix } from '../../cni/prefix.ts';
import type { AttachmentId, Result } from '../../cni/types.ts';
import { askedAddresses } from '../asked.ts';
import type { Ipam, IpamNetConf, IpamRequest, IpamResult } from '../ipam.ts';
import { formatHolder, type Holder, isHolder, type LeaseStore } from '../leases.ts';
import { readResolvConf } from '../resolv-conf.ts';
import { DiskStore } from '../store.ts';
import { allocate, collect, exhausted, heldBy, namesOf, releaseAll, wishesOf } from './allocate.ts';
import { type HostLocal, readHostLocal } from './config.ts';
import { rangeFor } from './ranges.ts';

/** What was read of a configuration is read once: it is looked at before anything is touched, and again when an address is taken. */
const read = remembering(readHostLocal);

function remembering(make: (config: IpamNetConf) => HostLocal): (config: IpamNetConf) => HostLocal {
  const known = new WeakMap<IpamNetConf, HostLocal>();
  return (config) => {
    const found = known.get(config) ?? make(config);
    known.set(config, found);
    return found;
  };
}

/** Addresses from ranges, kept as files on this host: the reference's host-local, with the same files. */
export const hostLocal: Ipam = {
  type: 'host-local',
  validate: (config) => void read(config),
  add: (request) => addLeases(request, true),
  check: checkLeases,

  async del({ config, id, ambient }) {
    const store = storeOf(config, ambient);
    return store.exists() ? store.locked((leases) => releaseAll(id, leases)) : [];
  },

  async gc({ config, ambient }, valid) {
    const store = storeOf(config, ambient);
    return store.exists() ? store.locked((leases) => collect(valid, leases)) : [];
  },

  async status({ config, ambient }) {
    const { sets } = read(config);
    const store = storeOf(config, ambient);
    for (const set of sets) {
      if (store.anyFree(namesOf(set, undefined))) continue;
      throw new CniError(ErrorCode.notAvailable, exhausted(set).message);
    }
  },
};

/** ADD; `adopt` as `allocate` has it. Throws CniError. */
export async function addLeases(request: IpamRequest, adopt: boolean): Promise<IpamResult> {
  const { config, id, args, ambient } = request;
  const { conf, sets, routes } = read(config);
  const wishes = wishesOf(sets, askedAddresses(conf, args));
  const dns = conf.ipam.resolvConf ? readResolvConf(conf.ipam.resolvConf) : {};
  const { ips, adopted } = await storeOf(config, ambient).locked((leases) => {
    // Where ours are adopted, the plugin around has said so; here nobody else does.
    if (!adopt && leases.of(id).length === 0) ambient.begins?.();
    return allocate(wishes, id, leases, adopt);
  });
  return { ips, routes, dns, ...(adopted ? { adopted } : {}) };
}

/** DEL and GC come here with configurations that nobody has checked: only what is needed is looked at. */
function storeOf(config: IpamNetConf, ambient: IpamRequest['ambient']): LeaseStore {
  const dataDir: unknown = config.ipam?.dataDir;
  const given = typeof dataDir === 'string' && dataDir !== '' && !dataDir.includes('\0');
  const folder = given ? dataDir : ambient.paths.dataDir;
  return new DiskStore(folder, config.name, ambient);
}

/**
 * Every address of the previous result that lies in our ranges is this attachment's. Without a previous result, and
 * when it has no such address, the attachment must hold one at least (all that the reference looks for).
 */
async function checkLeases({ config, id, prevResult, ambient }: IpamRequest): Promise<void> {
  const local = read(config);
  const store = storeOf(config, ambient);
  const expected = prevResult === undefined ? [] : ownAddresses(prevResult, id, local);
  for (const address of expected) checkOne(address, store.peek(address), id);
  if (expected.length > 0) return;
  const held = store.exists() ? await store.locked((leases) => heldBy(id, leases)) : [];
  if (held.length > 0) return;
  throw new CniError(ErrorCode.checkFailed, `${formatHolder(id)} holds no address of network ${config.name}`);
}

function ownAddresses(result: Result, id: AttachmentId, { sets }: HostLocal): string[] {
  return addressesOf(result, id)
    .filter((address) => sets.some((set) => rangeFor(set, address) !== undefined))
    .map(formatAddress);
}

/** The addresses of a result that are on the attachment's own link, or on none. */
export function addressesOf(result: Result, { ifname }: AttachmentId): Address[] {
  return result.ips
    .filter(
      ({ interface: link }) => link === undefined || (result.interfaces[link]?.name ?? ifname) === ifname,
    )
    .map(({ address }) => parsePrefix(address)?.address)
    .filter((address) => address !== undefined);
}

/** Throws CniError(checkFailed) when an address is not the attachment's. */
export function checkOne(address: string, holder: Holder | undefined, id: AttachmentId): void {
  const older = holder?.containerId === id.containerId && holder.ifname === undefined;
  if (isHolder(holder, id) || older) return;
  const found = holder === undefined ? 'is not reserved' : `is reserved for ${formatHolder(holder)}`;
  throw new CniError(
    ErrorCode.checkFailed,
    `address ${address} ${found}: wanted it reserved for ${formatHolder(id)}`,
  );
}
