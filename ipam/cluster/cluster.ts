import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Address } from '../../cni/prefix.ts';
import { askedAddresses } from '../asked.ts';
import { checkHeld, givingBack } from '../held.ts';
import { type Allocation, allocate, namesOf, wishesOf } from '../host-local/allocate.ts';
import type { Ipam, IpamNetConf, IpamRequest, IpamResult } from '../ipam.ts';
import type { LeaseStore } from '../leases.ts';
import { checkAddressCount } from '../read-config.ts';
import { readResolvConf } from '../resolv-conf.ts';
import { DiskStore } from '../store.ts';
import { type Cluster, readCluster } from './config.ts';
import { type Membership, readMembership } from './membership.ts';
import { heldOf, isOfNetwork, setsOf } from './sets.ts';
import { requireGoodStanding, requireMembership } from './standing.ts';

/** Addresses out of what this host holds of a network between hosts, leased in the files of host-local. */
export const cluster: Ipam = {
  type: 'cluster',
  validate: (config) => void readCluster(config),
  add: addLeases,
  check: checkLeases,
  ...givingBack(storeOf),

  async status({ config, ambient }) {
    const { layout } = readCluster(config);
    const membership = requireGoodStanding(ambient.paths.cacheDir, config.name, ambient.now());
    const store = storeOf(config, ambient);
    for (const set of setsOf(membership, layout)) {
      if (!store.anyFree(namesOf(set, undefined))) throw exhausted(ErrorCode.notAvailable, membership);
    }
  },
};

function storeOf(config: IpamNetConf, ambient: IpamRequest['ambient']): LeaseStore {
  return new DiskStore(ambient.paths.dataDir, config.name, ambient);
}

async function addLeases(request: IpamRequest): Promise<IpamResult> {
  const read = readCluster(request.config);
  const { resolvConf } = read.conf.ipam;
  const dns = resolvConf ? readResolvConf(resolvConf) : {};
  return { ...answerOf(await take(request, read), read), dns };
}

/** What IPAM answers with these addresses. Pure. */
export function answerOf({ ips, adopted }: Allocation, { layout, routes }: Cluster): IpamResult {
  return {
    ips: layout === 'single' ? ips.map(({ address }) => ({ address })) : ips,
    ...{ routes, dns: {} },
    ...(adopted ? { adopted } : {}),
  };
}

/** How often, and after how many milliseconds each time, a full network is looked at again: the agent may be getting more addresses. */
const ATTEMPTS = 25;
const PAUSE = 100;

/** Waits where more can come: a stretched subnet is handed out in blocks. Throws CniError(tryAgain) when nothing is left. */
async function take({ config, id, args, ambient }: IpamRequest, read: Cluster): Promise<Allocation> {
  const asked = askedAddresses(read.conf, args);
  for (let attempt = 1; ; attempt++) {
    const membership = requireMembership(ambient.paths.cacheDir, config.name, ambient.now());
    const sets = setsOf(membership, read.layout, asked);
    checkAddressCount(
      config.cniVersion,
      sets.map(({ family }) => family),
    );
    const wishes = wishesOf(sets, asked);
    try {
      return await storeOf(config, ambient).locked((leases) => allocate(wishes, id, leases, true));
    } catch (error) {
      if (!(error instanceof CniError) || error.code !== ErrorCode.exhausted) throw error;
      if (read.layout !== 'stretched' || attempt === ATTEMPTS)
        throw exhausted(ErrorCode.tryAgain, membership);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}

function exhausted(code: ErrorCode, membership: Membership): CniError {
  return new CniError(
    code,
    `every address of this host is taken (${heldOf(membership)}): remove containers, or run GC if those are gone; ` +
      'larger parts for each host need a larger pool or a smaller hostLength',
  );
}

/** A running container keeps its address whatever becomes of the membership: what CHECK asks is whether the lease is there. */
async function checkLeases(request: IpamRequest): Promise<void> {
  const { config, ambient } = request;
  const membership = readMembership(ambient.paths.cacheDir, config.name);
  const ours = (address: Address) => membership !== undefined && isOfNetwork(membership, address);
  await checkHeld(storeOf(config, ambient), request, ours);
}
