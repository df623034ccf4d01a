/** A network that spans hosts, as a conflist has it (plugins/vxlan, plugins/routed); the same on every host. */

/**
 * How packets get from host to host: `vxlan` a tunnel between the hosts' subnets (L3), `vxlan-l2` one subnet stretched over all hosts,
 * `routed` routes by way of the hosts' addresses (host-gw), `bgp` the same routes announced by BIRD or FRR.
 */
export type Backend = 'vxlan' | 'vxlan-l2' | 'routed' | 'bgp';

/** Where one family's addresses come from. */
export interface Pool {
  /** Canonical: `10.244.0.0/16`. */
  prefix: string;
  /** Prefix length of what one host takes at a time: its subnet, or a block of an L2 network's one pool. */
  blockLength: number;
}

export interface ClusterNetwork {
  /** The conflist's name; the registry's key. */
  name: string;
  backend: Backend;
  /** At most one of each family. */
  pools: readonly Pool[];
  /** Underlay family of tunnels: that of the host's address in the registry. */
  vxlan?: {
    /** Virtual network identifier, 1 to 16777215. */
    vni: number;
    /** UDP port; 4789 (RFC 7348). */
    port: number;
    /** Name of the device. */
    device: string;
    /** L2: the bridge that the device is a port of. */
    bridge?: string;
    /** L3: the bridge of this host's containers, which their plugin makes. */
    containerBridge?: string;
    /** Hosts on a subnet of ours are reached by a plain route, without the tunnel (L3). */
    directRoutes: boolean;
    /** What TCP and UDP checksum offload on the device shall be. */
    checksumOffload: boolean;
  };
  bgp?: {
    daemon: 'bird' | 'frr';
    /** Of all hosts (iBGP). */
    asn: number;
    /** Full mesh when there are none: addresses of the route reflectors. */
    reflectors: readonly string[];
  };
  /** MTU that was asked for; else it follows from the underlay. */
  mtu?: number;
}
