/**
 * The specification's data, in the one shape that everything inside weft uses: the newest version's.
 * Older versions exist only at the door (cni/versions.ts).
 */

/** Every version that weft reads and writes, oldest first. */
export const SUPPORTED_VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

export type Command = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION';

/** A link as a result reports it (SPEC 1.1, "Interfaces"). */
export interface Interface {
  name: string;
  mac?: string;
  /** Bytes. */
  mtu?: number;
  /** Path of the network namespace; absent on the host. */
  sandbox?: string;
  socketPath?: string;
  pciID?: string;
}

/** One address of a result; `interface` is an index into `Result.interfaces`. */
export interface IpConfig {
  /** CIDR notation: the address with its prefix length. */
  address: string;
  gateway?: string;
  interface?: number;
}

export interface Route {
  /** CIDR notation. */
  dst: string;
  gw?: string;
  mtu?: number;
  advmss?: number;
  priority?: number;
  /** 0 is a value; absent means the main table. */
  table?: number;
  /** 0 (universe) is a value; absent lets the kernel's default stand. */
  scope?: number;
}

export interface Dns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

export interface Result {
  interfaces: Interface[];
  ips: IpConfig[];
  routes: Route[];
  dns: Dns;
}

/** What identifies an attachment within a network (SPEC 1.1, section 2). */
export interface AttachmentId {
  containerId: string;
  ifname: string;
}

/** One attachment of a container to a network: the input of every plan. */
export interface Attachment extends AttachmentId {
  /** The network's name (`name` in the configuration). */
  network: string;
  /** Path of the container's network namespace; empty when it is gone (DEL). */
  netns: string;
}
