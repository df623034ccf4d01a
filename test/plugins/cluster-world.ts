/** What a test of vxlan and routed has besides its host: a membership, as the agent would have written it. */
import { type Membership, writeMembership } from '../../ipam/cluster/membership.ts';
import type { Host } from '../support/host.ts';

export const POOLS = [{ prefix: '10.244.0.0/16' }, { prefix: 'fd00:244::/48' }];

export const VXLAN = { cniVersion: '1.1.0', name: 'tunnels', type: 'vxlan', vni: 7, pools: POOLS };
export const VXLAN_L2 = { ...VXLAN, name: 'stretched', mode: 'l2', vni: 8 };
export const ROUTED = { cniVersion: '1.1.0', name: 'routes', type: 'routed', pools: POOLS };

/** This host holds 10.244.3.0/24 and fd00:244:0:3::/64 of the network; `more` says otherwise. */
export function join(host: Host, network: string, more: Partial<Membership> = {}): void {
  writeMembership(host.dirs.cache, {
    network,
    host: 'one',
    subnets: ['10.244.3.0/24', 'fd00:244:0:3::/64'],
    borrowed: [],
    pools: ['10.244.0.0/16', 'fd00:244::/48'],
    mtu: 1450,
    ...more,
  });
}
