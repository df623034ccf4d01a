/**
 * A plan is an ordered list of steps: plain data that says what shall be, not how. One file per kind in plan/steps/
 * knows how a step is applied, undone, verified, removed and rendered.
 */

import type { Admission } from '../firewall/forward.ts';
import type { Publication } from '../firewall/ports.ts';
import type { Stacked } from '../netlink/link-kinds.ts';

/** Whose network namespace a step is about. */
export type Where = 'host' | 'container';

/** A bridge on the host, shared by attachments; made if missing, never removed by one attachment's DEL. */
export interface BridgeStep {
  kind: 'bridge';
  name: string;
  /** Fixed from the start, so that it never changes with the ports. */
  mac: string;
  /** Bytes; absent: that of the default route's link. An existing bridge keeps its own. */
  mtu?: number;
  promisc?: boolean;
  vlanFiltering?: boolean;
}

/** How a veth's host end stands in its bridge. */
export interface PortOptions {
  hairpin?: boolean;
  isolated?: boolean;
  /** Access VLAN (pvid, untagged) and trunks; `dropDefaultVlan` removes VLAN 1. */
  vlan?: number;
  trunks?: { min: number; max: number }[];
  dropDefaultVlan?: boolean;
}

/** A veth pair, made in one message with its inner end already in the container. */
export interface VethStep {
  kind: 'veth';
  host: { name: string; mac: string; alias: string; master?: string };
  /** `up: false` leaves the inner end down (disableContainerInterface). */
  inside: { name: string; mac: string; up: boolean };
  /** Bytes; absent: that of `master`, else of the default route's link. */
  mtu?: number;
  port?: PortOptions;
}

/**
 * One VLAN of a bridge as a link of the host, which carries the gateway's addresses; shared by attachments, like the bridge: made if
 * missing, never removed by one attachment's DEL.
 */
export interface VlanStep {
  kind: 'vlan';
  name: string;
  bridge: string;
  id: number;
}

/** What is common to links that are in the container alone: they go with its namespace, and the host has no end of them. */
interface InsideLink {
  in: 'container';
  name: string;
  /** Absent: the kernel's choice. */
  mac?: string;
  /** Bytes; absent: the kernel's choice. */
  mtu?: number;
  up: boolean;
}

/** A link that stands on another: on one of the host, or of the container itself. */
export interface UpperStep extends InsideLink {
  kind: 'upper';
  /** Without a name: the link that packets to the outside leave by. */
  lower: { in: Where; name?: string };
  as: Stacked;
  /** Says whose it is. */
  alias: string;
  /** A name that nobody has, for kernels that confuse the container's names with the host's. */
  spare: string;
}

/** A link whose other end is a program (linux/if_tun.h). */
export interface TapStep extends InsideLink {
  kind: 'tap';
  alias: string;
  /** Who may open it besides root; numbers. */
  owner?: number;
  group?: number;
  multiQueue?: boolean;
  /** Bridge in the container. */
  master?: string;
}

/** A link that swallows what it is to send. */
export interface DummyStep extends InsideLink {
  kind: 'dummy';
  alias: string;
}

/** A link of the host that is the container's until DEL. Its alias keeps its name. */
export interface DeviceStep extends InsideLink {
  kind: 'device';
  /** Which: by name, else by MAC. Neither: it cannot be told by now, and the alias has to do; `folder` is where its name would be read. */
  host: { name?: string; mac?: string; folder?: string };
}

/** The container's link becomes member of a VRF, which is made if missing and removed with its last member. */
export interface VrfStep {
  kind: 'vrf';
  in: 'container';
  name: string;
  dev: string;
  /** Absent: the first that nobody uses. */
  table?: number;
}

/** A link that exists already is set up (loopback). */
export interface LinkUpStep {
  kind: 'link-up';
  in: Where;
  dev: string;
}

export interface AddressStep {
  kind: 'address';
  in: Where;
  dev: string;
  /** CIDR. */
  address: string;
  /** Run IPv6 duplicate address detection; otherwise the address is usable at once. */
  dad?: boolean;
  /** No on-link prefix route for it. */
  noPrefixRoute?: boolean;
  /**
   * For a shared link (a gateway address on a bridge): stays at DEL, and what happens to another address of the same
   * family and an overlapping prefix that is there already. `beside`: it stays, too.
   */
  shared?: 'refuse' | 'replace' | 'beside';
}

export interface RouteStep {
  kind: 'route';
  in: Where;
  dev: string;
  /** CIDR. */
  dst: string;
  via?: string;
  /** Preferred source address. */
  src?: string;
  onlink?: boolean;
  mtu?: number;
  advmss?: number;
  priority?: number;
  table?: number;
  scope?: number;
}

export interface NeighbourStep {
  kind: 'neighbour';
  in: Where;
  dev: string;
  address: string;
  mac: string;
}

/** A kernel setting below /proc/sys; `required: false` tolerates that this kernel has no such key. */
export interface SysctlStep {
  kind: 'sysctl';
  in: Where;
  /** With slashes, below /proc/sys: `net/ipv4/ip_forward`. */
  key: string;
  value: string;
  required?: boolean;
}

/** What a link that exists shall be like from ADD to DEL; what it was like before is kept in a file, and put back by DEL. */
export interface TuneStep {
  kind: 'tune';
  in: 'container';
  network: string;
  dev: string;
  mac?: string;
  /** Bytes. */
  mtu?: number;
  promiscuous?: boolean;
  allMulticast?: boolean;
  /** Packets. */
  txQueueLength?: number;
  /** Settings that later steps of the plan change, with slashes, below /proc/sys. */
  sysctls: string[];
  /** Where what was there before is kept. */
  file: string;
}

/** What the names of a container lead to, and at which addresses the agent tells it: one file (agent/names). */
export interface NamesStep {
  kind: 'names';
  network: string;
  containerId: string;
  ifname: string;
  /** Without dots around; '' for none. */
  domain: string;
  names: string[];
  /** CIDR notation. */
  addresses: string[];
  /** Addresses of this host, without prefix length. */
  servers: string[];
  file: string;
}

/** Gratuitous ARP and unsolicited neighbour advertisements for the container's addresses. */
export interface AnnounceStep {
  kind: 'announce';
  dev: string;
  /** Absent: the link cannot be told its own MAC, or nobody knows it by now; a later `link-up` announces. */
  mac?: string;
  /** Without prefix length. */
  addresses: string[];
}

export type MasqueradeBackend = 'nftables' | 'iptables';

/** Membership of one container's addresses in the network's masquerade. */
export interface MasqueradeStep {
  kind: 'masquerade';
  network: string;
  containerId: string;
  ifname: string;
  /** Addresses without prefix length, either family. */
  sources: string[];
  /** CIDRs: destinations that keep their source (the network's own prefixes); multicast is always excepted. */
  except: string[];
  /** Absent: what fits this host (DESIGN, NAT). */
  backend?: MasqueradeBackend;
}

/** Frames that come in by a link on the host with a source MAC other than the container's are dropped. */
export interface MacFilterStep {
  kind: 'mac-filter';
  network: string;
  containerId: string;
  ifname: string;
  /** The host's end of the container's link. */
  dev: string;
  mac: string;
}

/** Ports of the host that lead to a container. */
export interface PublishStep extends Publication {
  kind: 'publish';
  /** Absent: what fits this host. */
  backend?: MasqueradeBackend;
  /** The container's port of a bridge, which has to send back to where a packet came from: a container that asks itself. */
  hairpin?: string;
}

/** What the host forwards for a container is let through, whatever its forward policy is. */
export interface ForwardStep extends Admission {
  kind: 'forward';
  /** The container's port of a bridge, which must not reach other such ports. */
  isolated?: string;
}

/** A token bucket for what a container sends or receives. */
export interface ShapeStep {
  kind: 'shape';
  /** The host's end of the container's link. */
  dev: string;
  /** Seen from the container: `egress` is what it sends. */
  direction: 'ingress' | 'egress';
  /** Bytes per second. */
  rate: number;
  /** Bytes that may pass at once; the largest packet of the link at least. */
  burst: number;
  /** Bytes that wait. */
  limit: number;
  /** The link that packets take a turn through; absent: the bucket is on `dev` itself, for all that the container receives. */
  ifb?: { name: string; alias: string };
  /** CIDRs: only traffic with these is shaped, or all but with these. */
  only?: string[];
  except?: string[];
}

/** Packets with an address of the container's link as source are routed by tables that know this link alone. */
export interface SourceRouteStep {
  kind: 'source-route';
  in: 'container';
  dev: string;
  sources: {
    /** Without prefix length. */
    address: string;
    /** CIDR of the address. */
    subnet: string;
    /** Of the table's default route, where the link has none; `fixed`: in any case. */
    gateway?: string;
    fixed?: boolean;
    table: number;
  }[];
  /** The first of the attachment's own tables (see SOURCE_TABLES). */
  tables: number;
  /** The link's routes go from the main table to the sources' tables. */
  move: boolean;
  /** But for the way to the link's own subnets. */
  hints: boolean;
}

export type Step =
  | BridgeStep
  | VethStep
  | VlanStep
  | UpperStep
  | TapStep
  | DummyStep
  | DeviceStep
  | VrfStep
  | LinkUpStep
  | AddressStep
  | RouteStep
  | NeighbourStep
  | SysctlStep
  | TuneStep
  | NamesStep
  | AnnounceStep
  | MasqueradeStep
  | MacFilterStep
  | PublishStep
  | ForwardStep
  | ShapeStep
  | SourceRouteStep;

export type Plan = readonly Step[];

/** Steps that give the container its link. */
export type InsideLinkStep = UpperStep | TapStep | DummyStep | DeviceStep;
export type OwnLinkStep = VethStep | InsideLinkStep;

const INSIDE: readonly Step['kind'][] = ['upper', 'tap', 'dummy', 'device'];

export const isInsideLink = (step: Step): step is InsideLinkStep => INSIDE.includes(step.kind);
export const isOwnLink = (step: Step): step is OwnLinkStep => step.kind === 'veth' || isInsideLink(step);
