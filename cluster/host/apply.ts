/** Makes changes in a host's kernel: all that can go together travel in one native call. */
import { addAddress, deleteAddress } from '../../netlink/address.ts';
import { AF_INET6, familyOf } from '../../netlink/codec.ts';
import type { Namespace, NetlinkError, Op } from '../../netlink/door.ts';
import { createBridge, createVxlan, deleteLink, type Link, setLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import {
  deleteFdb,
  deleteNeighbour,
  type NewFdbEntry,
  replaceFdb,
  replaceNeighbour,
} from '../../netlink/neighbour.ts';
import { setChecksumOffload } from '../../netlink/offload.ts';
import { addRoute, deleteRoute, type NewRoute, replaceRoute } from '../../netlink/route.ts';
import type { Change } from './difference.ts';
import { type Device, type Entry, type RouteEntry, RTPROT_WEFT } from './state.ts';
import { answerOf } from './underlay.ts';

const UNREACHABLE = 7;
/** As a port of a bridge: nothing is flooded to other hosts, and nobody there is learnt from what comes in. */
const QUIET = {
  learning: false,
  unicastFlood: false,
  multicastFlood: false,
  broadcastFlood: false,
  neighbourSuppress: true,
};
/** Whatever the kernel says to one entry, the others are made. */
const ANY = [
  ...['EACCES', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EBUSY', 'EEXIST', 'EHOSTUNREACH', 'EINVAL', 'ENETDOWN'],
  ...[
    'ENETUNREACH',
    'ENOBUFS',
    'ENODEV',
    'ENOENT',
    'ENOMEM',
    'ENOSPC',
    'EOPNOTSUPP',
    'EPERM',
    'ERANGE',
    'ESRCH',
  ],
];
/** Answers to a removal of what is gone. */
const GONE = ['ENOENT', 'ESRCH', 'EADDRNOTAVAIL', 'ENODEV'];

export interface Outcome {
  /** Requests that were sent. */
  requests: number;
  failed: readonly { change: Change; error: NetlinkError }[];
}

/** Indexes of links by name. A link that is made is entered, one that goes is taken out. */
export type LinkIndexes = Map<string, number>;

/**
 * Makes all changes, in their order; one that the kernel refuses does not stop the others, unless it is one of links: then NetlinkError
 * is thrown. Throws an Error with `code` where checksum offload cannot be switched.
 */
export async function applyChanges(
  host: Namespace,
  changes: readonly Change[],
  links: LinkIndexes,
): Promise<Outcome> {
  let requests = 0;
  const failed: { change: Change; error: NetlinkError }[] = [];
  let batch: Change[] = [];
  const flush = async () => {
    const ops = batch.flatMap((change) => opsOf(change, links).map((op) => ({ op, change })));
    batch = [];
    const replies = await host.send(...ops.map(({ op }) => tolerating(op, ...ANY)));
    requests += ops.length;
    for (const [i, { change, op }] of ops.entries()) {
      const reply = replies[i];
      if (reply !== undefined && !reply.ok && !op.tolerate?.includes(reply.error.errno)) {
        failed.push({ change, error: reply.error });
      }
    }
  };
  for (const change of changes) {
    if (change.kind === 'add' || change.kind === 'replace' || change.kind === 'remove') {
      batch.push(change);
      continue;
    }
    await flush();
    requests += await applyToLink(host, change, links);
  }
  await flush();
  return { requests, failed };
}

async function applyToLink(
  host: Namespace,
  change: Exclude<Change, { entry: Entry }>,
  links: LinkIndexes,
): Promise<number> {
  switch (change.kind) {
    case 'make-bridge': {
      const { name, mac, mtu } = change.bridge;
      const [made] = await host.send(createBridge({ name, mac, up: true }), setLink(name, { mtu }));
      links.set(name, answerOf(made).index);
      return 2;
    }
    case 'make-device':
      links.set(change.device.name, (await makeDevice(host, change.device, links)).index);
      return change.device.checksumOffload ? 1 : 2;
    case 'set-device':
      return setDevice(host, change.device, change.before, links);
    case 'remove-device':
      await host.send(tolerating(deleteLink(change.device.name), 'ENODEV'));
      links.delete(change.device.name);
      return 1;
  }
}

async function makeDevice(host: Namespace, device: Device, links: LinkIndexes): Promise<Link> {
  const { name, alias, vni, port, local, mac, mtu, up, bridge, checksumOffload } = device;
  const six = familyOf(local) === AF_INET6;
  const [made] = await host.send(
    createVxlan({
      ...{ name, alias, mac, mtu, up },
      ...(bridge !== undefined && { master: links.get(bridge), port: QUIET }),
      vxlan: { vni, port, learning: false, ...(six ? { local6: local } : { local }) },
    }),
  );
  if (!checksumOffload) await setChecksumOffload(host, name, false);
  return answerOf(made);
}

async function setDevice(
  host: Namespace,
  device: Device,
  before: Device,
  links: LinkIndexes,
): Promise<number> {
  const { name, alias, mac, mtu, up, bridge, checksumOffload } = device;
  const moved = bridge !== before.bridge;
  const changes = [
    // First: an MTU or MAC may be refused to a link that is up, or to a port.
    ...(moved ? [{ master: bridge === undefined ? 0 : links.get(bridge) }] : []),
    { mac, mtu, alias, up },
    ...(bridge === undefined ? [] : [{ port: QUIET }]),
  ];
  await host.send(...changes.map((change) => setLink(name, change)));
  if (checksumOffload !== before.checksumOffload) await setChecksumOffload(host, name, checksumOffload);
  return changes.length + (checksumOffload === before.checksumOffload ? 0 : 1);
}

function opsOf(change: Change, links: LinkIndexes): Op[] {
  if (change.kind === 'remove') return removal(change.entry, links);
  if (change.kind === 'add') return [addition(change.entry, links, addRoute)];
  // A route in place of ours; one of somebody else's is never replaced.
  if (change.kind === 'replace') return [addition(change.entry, links, replaceRoute)];
  return [];
}

function route({ dst, metric, dev, via, onlink }: RouteEntry, links: LinkIndexes): NewRoute {
  return {
    dst,
    priority: metric || undefined,
    protocol: RTPROT_WEFT,
    ...(dev === undefined
      ? { type: UNREACHABLE, scope: 0 }
      : { link: links.get(dev) ?? 0, gateway: via, onlink }),
  };
}

function fdb({ dev, mac, dst }: Entry & { kind: 'fdb' }, links: LinkIndexes): Omit<NewFdbEntry, 'in'> {
  return { link: links.get(dev) ?? 0, mac, dst, state: 'static' };
}

function addition(entry: Entry, links: LinkIndexes, add: (wanted: NewRoute) => Op<void>): Op {
  switch (entry.kind) {
    case 'address': {
      const link = links.get(entry.dev) ?? 0;
      return tolerating(addAddress({ link, address: entry.address, noDad: true }), 'EEXIST');
    }
    case 'route':
      return add(route(entry, links));
    case 'neighbour': {
      const { dev, address, mac } = entry;
      return replaceNeighbour({ link: links.get(dev) ?? 0, address, mac, protocol: RTPROT_WEFT });
    }
    case 'fdb':
      return replaceFdb({ ...fdb(entry, links), in: entry.inBridge ? 'both' : 'self' });
  }
}

function removal(entry: Entry, links: LinkIndexes): Op[] {
  // Gone, with all that was on it.
  if (entry.dev !== undefined && !links.has(entry.dev)) return [];
  const gone = (op: Op) => tolerating(op, ...GONE);
  switch (entry.kind) {
    case 'address':
      return [gone(deleteAddress(links.get(entry.dev) ?? 0, entry.address))];
    case 'route':
      return [gone(deleteRoute(route(entry, links)))];
    case 'neighbour':
      return [gone(deleteNeighbour(links.get(entry.dev) ?? 0, entry.address))];
    case 'fdb': {
      const { dst: _, ...found } = fdb(entry, links);
      const parts = entry.inBridge ? (['master', 'self'] as const) : (['self'] as const);
      return parts.map((where) => gone(deleteFdb({ ...found, in: where })));
    }
  }
}
