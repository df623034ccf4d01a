/** Leases against live namespaces and the addresses that the kernel has. */
import { addressOf } from '../../cni/prefix.ts';
import { resultAddresses } from '../../runtime/cache.ts';
import type { Finding } from '../finding.ts';
import { attached, type DoctorView, type Lease } from './view.ts';

/** Milliseconds: an ADD that is under way holds its lease before its container has the address. */
const UNDER_WAY = 60_000;

const key = ({
  network,
  containerId,
  ifname,
}: {
  network: string;
  containerId: string;
  ifname?: string | undefined;
}) => `${network} ${containerId} ${ifname ?? ''}`;

/** Nobody has the address, and nobody who may come back for it is known. */
export function leakedLeases(view: DoctorView): Finding[] {
  const { nat, leases, results, recorded, now, started } = view;
  const held = new Set(nat.near.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
  const alive = new Set(
    nat.containers.filter(({ namespace }) => namespace !== undefined).map(({ id }) => id),
  );
  const promised = new Set(results.filter(({ netns }) => netns === undefined).map(key));
  return leases.flatMap((lease): Finding[] => {
    const { network, address, containerId, file, written } = lease;
    if (held.has(address) || alive.has(containerId) || now - written < UNDER_WAY) return [];
    // What was written down has its own proof; a cache without a namespace's path proves nothing.
    if (recorded.has(key(lease)) || promised.has(key(lease))) return [];
    // Nothing that lived before this start of the machine lives now.
    const isProved = written < started;
    return [
      {
        code: 'lease-leaked',
        severity: 'warning',
        what: `network ${network}: ${address} is leased to container ${containerId}, which is not there`,
        why: `no namespace on this machine has the address${isProved ? ', and the lease is from before the machine started' : ''}; until it is given back, no other container gets it`,
        mend: [`rm ${file}`],
        safe: isProved,
        subject: address,
      },
    ];
  });
}

/** One address leased in two networks' folders: both hand it out. */
export function doubledLeases({ leases }: DoctorView): Finding[] {
  const byAddress = new Map<string, Lease[]>();
  for (const lease of leases) byAddress.set(lease.address, [...(byAddress.get(lease.address) ?? []), lease]);
  return [...byAddress].flatMap(([address, all]): Finding[] => {
    const [first, second] = all;
    if (first === undefined || second === undefined) return [];
    const holders = all.map(({ network, containerId }) => `container ${containerId} in network ${network}`);
    return [
      {
        code: 'lease-doubled',
        severity: 'warning',
        what: `${address} is leased ${all.length} times: to ${holders.join(', to ')}`,
        why: 'two networks hand out the same addresses: a route or an answer finds only one of both containers',
        mend: [],
        safe: false,
        subject: address,
      },
    ];
  });
}

/** An address of a container in the range that a network hands out, and no lease says so: somebody else will get it, too. */
export function unleasedAddresses(view: DoctorView): Finding[] {
  const leased = new Set(view.leases.map(({ address }) => address));
  const networks = new Map(
    view.results.map(({ network, containerId, ifname }) => [`${containerId} ${ifname}`, network]),
  );
  const stores = new Set(view.leases.map(({ network }) => network));
  const ids = new Map(
    view.nat.containers.flatMap(({ id, namespace }) => (namespace ? [[namespace, id]] : [])),
  );
  return attached(view).flatMap(({ container, sketch, inside, addresses }): Finding[] => {
    const network = networks.get(`${ids.get(sketch.identity)} ${inside.name}`);
    if (network === undefined || !stores.has(network)) return [];
    const promised = promisedAddresses(view, network, ids.get(sketch.identity) ?? '', inside.name);
    return addresses
      .filter(({ address }) => promised.includes(address) && !leased.has(address))
      .map(({ address }) => ({
        code: 'address-unleased',
        severity: 'warning',
        what: `container ${container} has ${address} of network ${network}, and no lease says so`,
        why: 'the next container may get the same address: then packets reach one of both by chance',
        mend: [`weft net del ${network} ${sketch.path}`, `weft net add ${network} ${sketch.path}`],
        safe: false,
        subject: address,
      }));
  });
}

/** Without prefix lengths, as ADD's result says. */
export function promisedAddresses(
  { results }: DoctorView,
  network: string,
  containerId: string,
  ifname: string,
): string[] {
  const result = results.find(
    (one) => one.network === network && one.containerId === containerId && one.ifname === ifname,
  )?.result;
  return resultAddresses(result).map(addressOf);
}
