/** VXLAN: a frame becomes the content of a UDP packet between hosts, and a frame again (drivers/net/vxlan/vxlan_core.c). */
import type { Link } from '../../netlink/link.ts';
import type { FdbEntry } from '../../netlink/neighbour.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { Tuple } from './hop.ts';
import type { Packet } from './packet.ts';
import { tupleWords } from './packet.ts';
import { lookUp, sourceFor } from './routing.ts';
import { drop, pass, placeWords, type Step, type Walk } from './world.ts';

/** What the kernel takes where none is given. */
const DEFAULT_PORT = 8472;
const ANY_MAC = '00:00:00:00:00:00';
/** Bytes: IP, UDP, VXLAN, Ethernet. */
const OVERHEAD = { 4: 20 + 8 + 8 + 14, 6: 40 + 8 + 8 + 14 } as const;

/** Into the tunnel: the outer packet is sent by the namespace that the device is in. */
export function encapsulate(walk: Walk, namespace: string, link: Link, packet: Packet): Step {
  const snapshot = walk.world.snapshots.get(namespace);
  const { vxlan } = link;
  if (snapshot === undefined || vxlan === undefined)
    throw new Error(`want a VXLAN device with its namespace, found ${link.name}`);
  const mac = packet.frame.destination;
  const entry = entryFor(snapshot, link, mac);
  const remote = entry?.dst ?? vxlan.group ?? vxlan.group6;
  if (remote === undefined) {
    return drop(
      walk,
      { namespace, packet },
      `no FDB entry for ${mac ?? 'an unknown MAC'} on ${link.name}`,
      `the tunnel ${link.name} does not know which host has ${mac ?? 'the next hop'}: "bridge fdb show dev ${link.name}" has no entry for it. ` +
        'Does the agent of this host run, and know the other host ("weft network show")?',
    );
  }
  if (entry !== undefined && entry.mac === ANY_MAC) {
    walk.assumptions.add(
      `${mac ?? 'the next hop'} is behind ${remote}: ${link.name} does not know it, and sends to every host`,
    );
  }
  const outer = outerTuple(snapshot, link, remote, entry);
  const vni = entry?.vni ?? vxlan.vni ?? 0;
  pass(walk, namespace, packet, `${link.name}: VNI ${vni}, ${tupleWords(outer)}`, {
    kind: 'tunnel',
    ...{ link: link.name, outer, vni },
    ...(entry === undefined ? {} : { fdb: `${entry.mac} dst ${remote}` }),
  });
  return {
    at: 'send',
    namespace,
    packet: {
      tuple: outer,
      mark: 0,
      length: packet.length + OVERHEAD[outer.family],
      dontFragment: false,
      part: packet.part,
      frame: {},
      carried: {
        packet: { ...packet, tracked: undefined, untracked: undefined, bridged: undefined, mark: 0 },
        vni,
      },
    },
  };
}

function entryFor(snapshot: Snapshot, link: Link, mac: string | undefined): FdbEntry | undefined {
  const own = snapshot.fdb.filter((entry) => entry.link === link.index && entry.dst !== undefined);
  return own.find((entry) => entry.mac === mac) ?? own.find((entry) => entry.mac === ANY_MAC);
}

function outerTuple(snapshot: Snapshot, { vxlan }: Link, remote: string, entry: FdbEntry | undefined): Tuple {
  const family = remote.includes(':') ? 6 : 4;
  const decision = lookUp(snapshot, { tuple: { family, destination: remote }, iif: 'lo' });
  const local = vxlan?.local ?? vxlan?.local6;
  return {
    family,
    protocol: 'udp',
    source: local ?? sourceFor(snapshot, decision, remote) ?? '',
    destination: remote,
    destinationPort: entry?.port ?? vxlan?.port ?? DEFAULT_PORT,
  };
}

/** Out of the tunnel at the other end; undefined where the packet carries nothing. */
export function decapsulate(walk: Walk, snapshot: Snapshot, packet: Packet): Step | undefined {
  const { carried, tuple } = packet;
  if (carried === undefined) return undefined;
  const { vni } = carried;
  const namespace = snapshot.identity;
  const devices = snapshot.links.filter(({ kind }) => kind === 'vxlan');
  const device = devices.find(
    ({ vxlan }) => vxlan?.vni === vni && (vxlan.port ?? DEFAULT_PORT) === tuple.destinationPort,
  );
  if (device === undefined || !device.up) {
    const state =
      device === undefined
        ? `no VXLAN device has VNI ${vni} and port ${tuple.destinationPort}${otherDevices(devices)}`
        : `${device.name} is down`;
    const place = placeWords(walk.world.placeOf(namespace));
    return drop(
      walk,
      { namespace, packet },
      state,
      `the tunnel's packet arrives at ${place}, but there ${state}`,
      {
        outcome: 'lost',
      },
    );
  }
  return { at: 'receive', namespace, link: device, packet: carried.packet };
}

/** ` (vx0 has VNI 43 and port 4789)` */
function otherDevices(devices: readonly Link[]): string {
  const words = devices.map(
    ({ name, vxlan }) => `${name} has VNI ${vxlan?.vni} and port ${vxlan?.port ?? DEFAULT_PORT}`,
  );
  return words.length === 0 ? '' : ` (${words.join(', ')})`;
}
