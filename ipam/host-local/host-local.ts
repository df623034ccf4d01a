import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Address } from '../../cni/prefix.ts';
import { askedAddresses } from '../asked.ts';
import { checkHeld, givingBack } from '../held.ts';
import type { Ipam, IpamNetConf, IpamRequest, IpamResult } from '../ipam.ts';
import type { LeaseStore } from '../leases.ts';
import { readResolvConf } from '../resolv-conf.ts';
import { DiskStore } from '../store.ts';
import { allocate, exhausted, namesOf, wishesOf } from './allocate.ts';
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
  ...givingBack(storeOf),

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

async function checkLeases(request: IpamRequest): Promise<void> {
  const { sets } = read(request.config);
  const ours = (address: Address) => sets.some((set) => rangeFor(set, address) !== undefined);
  await checkHeld(storeOf(request.config, request.ambient), request, ours);
}
