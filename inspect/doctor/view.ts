/** What `weft doctor` knows of a host: what `weft nat` knows, and what was written down and promised. Plain data; nothing is read here. */
import type { Address } from '../../netlink/address.ts';
import type { Link } from '../../netlink/link.ts';
import type { Neighbour } from '../../netlink/neighbour.ts';
import type { Route } from '../../netlink/route.ts';
import type { CachedAttachment } from '../../runtime/cache.ts';
import type { Sketch } from '../host/snapshot.ts';
import type { NatView } from '../nat/view.ts';
import type { Prediction } from '../path/predict.ts';
import type { HeldPort } from './held-ports.ts';

/** One file of host-local's store. */
export interface Lease {
  network: string;
  address: string;
  containerId: string;
  ifname: string | undefined;
  /** Path. */
  file: string;
  /** Milliseconds since the epoch. */
  written: number;
}

/** What a container's namespace says besides its sketch. */
export interface Inside {
  routes: readonly Route[];
  neighbours: readonly Neighbour[];
}

/** One attachment, and what it needs on the host and does not have. */
export interface Lacking {
  network: string;
  containerId: string;
  ifname: string;
  kind: 'rules' | 'link';
  what: readonly string[];
  /** The lines that a person would type to put it back. */
  mend: readonly string[];
}

/** An attachment whose container is gone: what proves it, or what speaks against it. */
export interface Remains {
  network: string;
  containerId: string;
  ifname: string;
  /** Whether its end is proved. */
  dead: boolean;
  reason: string;
}

/** One of the ways that packets should take. */
export interface Way {
  /** For people: `from container web1 to 192.0.2.1`. */
  words: string;
  /** The command that shows it hop by hop. */
  command: string;
  /** Namespaces of this host; where a packet ends elsewhere, that is no fault of this host. */
  own: ReadonlySet<string>;
  /** To a published port: it is meant to leave this host's own namespace. */
  published?: boolean;
  prediction: Prediction;
}

/** The programs of weft on this host. */
export interface Software {
  /** Of this command. */
  version: string;
  agent: 'running' | 'absent' | 'dead' | 'silent' | 'forbidden';
  agentVersion?: string;
  agentSocket: string;
  /** Whether it serves the executables beside this command. */
  ours?: boolean;
  /** Executables of weft that are of another build than this command: their paths. */
  strangers: readonly string[];
}

/** This host on a network between hosts. */
export interface Membership {
  network: string;
  host: string;
  where: string;
  /** Whether an agent of this host looks after it. */
  kept: boolean;
  reachable: boolean;
  error?: string;
  joined: boolean;
  subnets: readonly string[];
  /** Milliseconds since the epoch. */
  validUntil?: number;
  mtu?: number;
  device?: string;
  /** All members, this host among them. */
  members: readonly {
    host: string;
    self: boolean;
    addresses: readonly string[];
    subnets: readonly string[];
  }[];
  problems: readonly string[];
}

/** One file of the folder of configurations. */
export interface Configuration {
  file: string;
  /** Of the network, where it can be read. */
  name?: string;
  problem?: { is: 'unreadable' | 'not ready'; words: string };
}

/** A ping of the size of a tunnel's largest packet, to another host that answers small ones. */
export interface Probe {
  network: string;
  host: string;
  address: string;
  /** Bytes of the IP packet. */
  size: number;
  fits: boolean;
}

/** What another host's clock says. */
export interface Clock {
  network: string;
  host: string;
  address: string;
  /** Milliseconds by which it is ahead of this host's. */
  ahead: number;
}

export interface DoctorView {
  nat: NatView;
  /** By identity of the namespaces near the host. */
  inside: ReadonlyMap<string, Inside>;
  leases: readonly Lease[];
  results: readonly CachedAttachment[];
  /** Attachments whose records are of this host, as `network container interface`. */
  recorded: ReadonlySet<string>;
  lacking: readonly Lacking[];
  remains: readonly Remains[];
  ways: readonly Way[];
  software: Software;
  memberships: readonly Membership[];
  probes: readonly Probe[];
  clocks: readonly Clock[];
  /** Published ports on which somebody of the host listens. */
  heldPorts: readonly HeldPort[];
  configurations: readonly Configuration[];
  /** Milliseconds since the epoch. */
  now: number;
  /** When this machine started. */
  started: number;
}

/** A container's link with an end on the host. */
export interface Attached {
  /** Name or id. */
  container: string;
  sketch: Sketch;
  inside: Link;
  addresses: readonly Address[];
  outside: Link;
  bridge?: Link;
}

/** All links of containers that are one end of a veth whose other end is on the host. */
export function attached({ nat: { host, near, containers } }: Pick<DoctorView, 'nat'>): Attached[] {
  const names = new Map(
    containers.flatMap(({ id, name, namespace }) => (namespace ? [[namespace, name ?? id] as const] : [])),
  );
  const byIndex = new Map(host.links.map((link) => [link.index, link]));
  return near.flatMap((sketch) =>
    sketch.links.flatMap((inside): Attached[] => {
      const outside = byIndex.get(inside.link ?? -1);
      const isHere = sketch.identity !== host.identity && sketch.peers.get(inside.index) === host.identity;
      if (inside.kind !== 'veth' || !isHere || outside === undefined) return [];
      const master = byIndex.get(outside.master ?? -1);
      return [
        {
          ...{ container: names.get(sketch.identity) ?? sketch.path, sketch, inside, outside },
          addresses: sketch.addresses.filter(({ link, scope }) => link === inside.index && scope === 0),
          ...(master?.kind === 'bridge' ? { bridge: master } : {}),
        },
      ];
    }),
  );
}
