/** Addresses from the DHCP servers of the network that a container's link is on. A lease is got here, and kept by the agent. */
import type { Ambient } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { addressOf } from '../../cni/prefix.ts';
import type { Ipam, IpamRequest, IpamResult } from '../ipam.ts';
import { acquire, type Grant, NoLease, release, type Wire } from './client.ts';
import { readDhcp } from './config.ts';
import { expiryOf, FORMAT, granted, heldOf, identityOf, type Lease } from './lease.ts';
import {
  dropLease,
  dropLeaseOf,
  keepLease,
  leaseFiles,
  leaseFolder,
  leaseOf,
  locked,
  readLease,
} from './store.ts';

/** What of this host is needed: IPAM itself knows nothing of the kernel. */
export interface DhcpHost {
  /** Opens a container's link, which it brings up. Throws an Error with `code`. */
  open(netns: string, ifname: string): Promise<Wire>;
  /** Whether somebody renews the leases in a folder. */
  isRenewed(folder: string): boolean;
  /** Seconds since boot. */
  now(): number;
  /** The kernel's boot id. */
  boot(): string;
  /** Milliseconds for each message; undefined: as a person would wait. */
  waits?: readonly number[];
}

/**
 * Milliseconds in which somebody who has the address already answers. RFC 5227 takes five seconds and more, for networks and hosts that are
 * slow or asleep; who is awake on the same segment answers within one.
 */
const PROBE = 200;

export function dhcpIpam(host: DhcpHost): Ipam {
  return {
    type: 'dhcp',
    validate: (config) => void readDhcp(config, {}),
    add: (request) => add(host, request),
    check: (request) => check(host, request),

    async del({ config, id, ambient }) {
      const folder = leaseFolder(ambient.paths.runDir);
      if (!leaseOf(folder, config.name, id, host.boot())) return [];
      const lease = await inFolder(folder, () =>
        dropLeaseOf(folder, ambient.lock, config.name, id, host.boot()),
      );
      return lease ? [await giveBack(host, lease, ambient.log)] : [];
    },

    async gc({ config, ambient }, valid) {
      const folder = leaseFolder(ambient.paths.runDir);
      const freed: string[] = [];
      for (const file of await inFolder(folder, () => leaseFiles(folder))) {
        const lease = readLease(file, host.boot());
        if (lease?.network !== config.name || valid.some((id) => isOf(lease, id))) continue;
        const dropped = await inFolder(folder, () => dropLease(folder, ambient.lock, file, host.boot()));
        if (dropped) freed.push(await giveBack(host, dropped, ambient.log));
      }
      return freed;
    },

    async status({ config, ambient }) {
      readDhcp(config, {});
      await requireRenewal(host, ambient, ErrorCode.notAvailable);
    },
  };
}

const isOf = (lease: Lease, id: IpamRequest['id']) =>
  lease.containerId === id.containerId && lease.ifname === id.ifname;

/** A folder that cannot be used is the host's fault, not ours: error 5. */
async function inFolder<T>(folder: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof CniError || code === undefined) throw error;
    const message = `the DHCP leases in ${folder} cannot be read or written: ${code}`;
    throw new CniError(ErrorCode.io, message, String(error), { cause: error });
  }
}

/** A lease that nobody renews is another's soon, while its container still uses it: better none (docs/decisions/0011-dhcp-leases.md). */
async function requireRenewal(host: DhcpHost, ambient: Ambient, code: number): Promise<void> {
  const folder = leaseFolder(ambient.paths.runDir);
  // Who asks holds that lock for a moment: two who ask at once would take each other for an agent.
  if (await inFolder(folder, () => locked(folder, ambient.lock, () => host.isRenewed(folder)))) return;
  throw new CniError(
    code,
    `no agent renews the DHCP leases of this host (nobody holds ${folder}/renewed): run "weft agent", then try again`,
  );
}

async function add(host: DhcpHost, request: IpamRequest): Promise<IpamResult> {
  const { config, id, args, ambient, netns = '' } = request;
  const { identity, only, priority } = readDhcp(config, args, id);
  const folder = leaseFolder(ambient.paths.runDir);
  await requireRenewal(host, ambient, ErrorCode.tryAgain);
  ambient.begins?.();
  const wire = await opened(host, netns, id.ifname);
  try {
    const asked = host.now();
    const grant = await leased(() =>
      acquire(wire, identity, { only, probe: PROBE, ...(host.waits && { waits: host.waits }) }),
    );
    const lease: Lease = {
      format: FORMAT,
      ...{ network: config.name, ...id, netns, sandbox: wire.sandbox, boot: host.boot() },
      provided: [...identity.provided].map(([code, value]) => [code, Buffer.from(value).toString('hex')]),
      requested: [...identity.requested],
      ...granted(grant, asked),
    };
    try {
      await keepLease(folder, ambient.lock, lease);
    } catch (error) {
      release(wire, identity, heldOf(lease));
      throw new CniError(ErrorCode.io, `the DHCP lease cannot be kept in ${folder}`, String(error), {
        cause: error,
      });
    }
    return answerOf(grant, priority);
  } finally {
    wire.close();
  }
}

function answerOf({ terms }: Grant, priority: number | undefined): IpamResult {
  const { address, gateway, routes, dns } = terms;
  return {
    ips: [{ address, ...(gateway !== undefined && { gateway }) }],
    routes: routes.map((route) => (priority ? { ...route, priority } : route)),
    dns,
  };
}

async function opened(host: DhcpHost, netns: string, ifname: string): Promise<Wire> {
  try {
    return await host.open(netns, ifname);
  } catch (error) {
    throw new CniError(
      ErrorCode.kernel,
      `DHCP needs the link ${ifname} in ${netns || 'a network namespace, and CNI_NETNS is empty'}`,
      String(error),
      { cause: error },
    );
  }
}

async function leased<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NoLease) throw new CniError(ErrorCode.tryAgain, `no DHCP lease: ${error.message}`);
    throw new CniError(ErrorCode.kernel, 'no DHCP lease: the link is of no use', String(error), {
      cause: error,
    });
  }
}

async function check(host: DhcpHost, { config, id, prevResult, ambient }: IpamRequest): Promise<void> {
  const lease = leaseOf(leaseFolder(ambient.paths.runDir), config.name, id, host.boot());
  const fail = (message: string) => {
    throw new CniError(ErrorCode.checkFailed, `${id.ifname} of ${id.containerId}: ${message}`);
  };
  if (!lease) return fail('there is no DHCP lease');
  if (lease.lost !== undefined) fail(`the DHCP server took ${lease.address} back: ${lease.lost}`);
  if (host.now() > expiryOf(lease)) fail(`the DHCP lease of ${lease.address} has expired`);
  if (prevResult && !prevResult.ips.some(({ address }) => addressOf(address) === addressOf(lease.address))) {
    fail(`the DHCP lease is of ${lease.address}, which is not in the previous result`);
  }
}

/** Tells the server, where the container's link is still there; otherwise the lease ends by itself. Returns the address. */
async function giveBack(host: DhcpHost, lease: Lease, log: (line: string) => void): Promise<string> {
  const address = addressOf(lease.address);
  try {
    const wire = await host.open(lease.netns, lease.ifname);
    try {
      if (wire.sandbox === lease.sandbox && lease.lost === undefined) {
        release(wire, identityOf(lease), heldOf(lease));
      }
    } finally {
      wire.close();
    }
  } catch (error) {
    log(`the DHCP server is not told that ${address} is free, which is when its lease ends: ${error}`);
  }
  return address;
}
