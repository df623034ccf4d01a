/** A vxlan configuration as a network between hosts. */
import type { ClusterNetwork } from '../../cluster/network.ts';
import { linkNameFault } from '../../cni/environment.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { murmur3 } from '../../plan/hash.ts';
import { readPools } from '../pools.ts';
import type { VxlanConf } from './schema.ts';

/** IANA's port (RFC 7348, section 8); Linux's own default is another one. */
const PORT = 4789;

const refuse = (problem: string) => new CniError(ErrorCode.invalidConfig, problem);

export const isL2 = (config: VxlanConf) => config.mode === 'l2';

/** The network identifier: what is asked for, else one that follows from the network's name, so that it is the same on every host. */
export function vniOf({ vni, name }: VxlanConf): number {
  return vni ?? (murmur3(new TextEncoder().encode(name), 0x766e6900) % 0xffffff) + 1;
}

/** `weft.` and eight digits at most. */
export const deviceOf = (config: VxlanConf) => config.device ?? `weft.${vniOf(config)}`;

/** `weftbr.` and eight digits: 15 characters, all that the kernel allows. */
export const bridgeOf = (config: VxlanConf) => config.bridge ?? `weftbr.${vniOf(config)}`;

/** Pure. Throws CniError(invalidConfig) that names the field, what it has and what is allowed. */
export function clusterNetwork(config: VxlanConf): ClusterNetwork {
  const l2 = isL2(config);
  const [device, bridge] = [deviceOf(config), bridgeOf(config)];
  for (const [field, name] of Object.entries({ device, bridge })) {
    const fault = linkNameFault(name);
    if (fault !== undefined) throw refuse(`${field} ${fault}`);
  }
  if (device === bridge) throw refuse(`device and bridge are both ${device}: wanted two names`);
  if (l2 && config.directRoutes) {
    throw refuse(
      'directRoutes: found true with mode l2, wanted mode l3: one stretched subnet has no routes between hosts',
    );
  }
  return {
    name: config.name,
    backend: l2 ? 'vxlan-l2' : 'vxlan',
    pools: readPools(config, l2 ? 'block' : 'subnet'),
    vxlan: {
      vni: vniOf(config),
      port: config.port ?? PORT,
      device,
      ...(l2 ? { bridge } : { containerBridge: bridge }),
      directRoutes: config.directRoutes ?? false,
      checksumOffload: config.checksumOffload ?? true,
    },
    ...(config.mtu && { mtu: config.mtu }),
  };
}
