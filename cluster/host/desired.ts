/** What a registry's state means for one host's kernel. Pure: nothing is asked, nothing is opened. */
import { canonical, familyOf, parseAddress } from '../../cni/prefix.ts';
import { networkMac } from '../../plan/names.ts';
import type { ClusterNetwork } from '../network.ts';
import type { Member, NetworkState } from '../registry.ts';
import { Builder, macOf, tunnelFamily, type Uplink } from './builder.ts';
import type { Device, HostState } from './state.ts';

/** Bytes: outer IP header, UDP, VXLAN, inner Ethernet header (RFC 7348, section 5). */
export const OVERHEAD = { 4: 50, 6: 70 } as const;
/** ETH_DATA_LEN. */
const ETHERNET = 1500;
/** IPv6 wants at least that of a link (RFC 8200, section 5). */
const LEAST_MTU_6 = 1280;
const LEAST_MTU_4 = 576;

export interface Wanted extends HostState {
  /** Bytes that fit between containers. */
  mtu: number;
  /** Who cannot be reached, and why: one sentence each. */
  problems: readonly string[];
}

const isTunnel = (network: ClusterNetwork) => network.backend === 'vxlan' || network.backend === 'vxlan-l2';

/**
 * Bytes that fit between containers of a network: what the links to other hosts leave, Ethernet's 1500 where none is known.
 * `network.mtu` counts as far as it fits.
 */
export function containerMtu(network: ClusterNetwork, self: Member, uplinks: readonly Uplink[]): number {
  const family = tunnelFamily(self);
  const used = isTunnel(network) ? uplinks.filter(({ address }) => familyOf(address) === family) : uplinks;
  const link = used.length === 0 ? ETHERNET : Math.min(...used.map(({ mtu }) => mtu));
  const room = link - (isTunnel(network) ? OVERHEAD[family] : 0);
  return Math.min(network.mtu ?? room, room);
}

/**
 * What shall be in this host's kernel. The result has no entry for a host that cannot be reached; `problems` says why.
 * Throws RangeError with a sentence where nothing can be done at all (no address of this host, no room for packets).
 */
export function desiredState(
  network: ClusterNetwork,
  self: Member,
  state: NetworkState,
  uplinks: readonly Uplink[],
): Wanted {
  const builder = new Builder(network, self, state, uplinks);
  const mtu = containerMtu(network, self, uplinks);
  if (!isTunnel(network)) {
    builder.guards();
    if (network.backend === 'routed') builder.routed();
    return { entries: builder.entries, mtu, problems: builder.problems };
  }
  const device = deviceFor(network, self, mtu);
  if (device.bridge === undefined) {
    builder.guards();
    builder.tunnel(device.name, network.vxlan?.directRoutes ?? false);
    return { device, entries: builder.entries, mtu, problems: builder.problems };
  }
  builder.stretched(device.name, device.bridge, state.endpoints);
  const bridge = { name: device.bridge, mac: networkMac(network.name, 'gateway'), mtu };
  return { bridge, device, entries: builder.entries, mtu, problems: builder.problems };
}

/** Throws RangeError. */
function deviceFor(network: ClusterNetwork, self: Member, mtu: number): Device {
  const { name, backend, pools, vxlan } = network;
  if (vxlan === undefined) throw new RangeError(`network ${name} has no settings for its VXLAN device`);
  const [local] = self.addresses;
  if (local === undefined || parseAddress(local) === undefined) {
    throw new RangeError(`host ${self.host} has no address in the registry: other hosts cannot send to it`);
  }
  const least = pools.some(({ prefix }) => familyOf(prefix) === 6) ? LEAST_MTU_6 : LEAST_MTU_4;
  if (mtu < least) {
    throw new RangeError(
      `network ${name} has ${mtu} bytes for each packet, and wants at least ${least}: ` +
        'give the underlay a larger MTU, or remove mtu from the configuration',
    );
  }
  return {
    name: vxlan.device,
    alias: `weft ${name}`,
    vni: vxlan.vni,
    port: vxlan.port,
    local: canonical(local),
    mac: macOf(network, self),
    mtu,
    up: true,
    learning: false,
    checksumOffload: vxlan.checksumOffload,
    ...(backend === 'vxlan-l2' && vxlan.bridge !== undefined && { bridge: vxlan.bridge, quiet: true }),
  };
}
