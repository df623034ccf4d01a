/** Configurations with which nothing is wrong: what the tables change. */

const V = { cniVersion: '1.1.0' } as const;

export const HOST_LOCAL = {
  type: 'host-local',
  ranges: [[{ subnet: '10.1.0.0/24' }]],
  routes: [{ dst: '0.0.0.0/0' }],
};
export const STATIC = { type: 'static', addresses: [{ address: '10.1.0.5/24', gateway: '10.1.0.1' }] };

export const BRIDGE = { ...V, name: 'bad', type: 'bridge', bridge: 'br0', isGateway: true, ipam: HOST_LOCAL };
export const PTP = { ...V, name: 'bad', type: 'ptp', ipam: HOST_LOCAL };
const POOL = { pool: '10.244.0.0/16' };
/** What the agent would have written for a host that joined their network. */
export const HELD = {
  ...{ network: 'bad', host: 'one', borrowed: [], mtu: 1450 },
  ...{ subnets: ['10.244.3.0/24'], pools: ['10.244.0.0/16'] },
};
export const VXLAN = { ...V, name: 'bad', type: 'vxlan', ...POOL };
export const ROUTED = { ...V, name: 'bad', type: 'routed', ...POOL };
export const LOOPBACK = { ...V, name: 'bad', type: 'loopback' };
/** As another plugin would hand it on. */
export const LEASES = { ...V, name: 'bad', type: 'bridge', ipam: HOST_LOCAL };
export const FIXED = { ...V, name: 'bad', type: 'bridge', ipam: STATIC };

/** By the name of the executable. */
export const GOOD: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  bridge: BRIDGE,
  ptp: PTP,
  loopback: LOOPBACK,
  vxlan: VXLAN,
  routed: ROUTED,
  'host-local': LEASES,
  static: FIXED,
  dhcp: { ...V, name: 'bad', type: 'bridge', ipam: { type: 'dhcp' } },
};

/** Those that add to what others made: without a previous result their ADD is refused, and DEL and GC have nothing to do. */
export const CHAINED: typeof GOOD = {
  portmap: { ...V, name: 'bad', type: 'portmap' },
  tuning: { ...V, name: 'bad', type: 'tuning' },
  firewall: { ...V, name: 'bad', type: 'firewall' },
  bandwidth: { ...V, name: 'bad', type: 'bandwidth' },
  sbr: { ...V, name: 'bad', type: 'sbr' },
  dnsname: { ...V, name: 'bad', type: 'dnsname' },
  vrf: { ...V, name: 'bad', type: 'vrf', vrfname: 'blue' },
};

/** Those whose links are the container's alone. */
const INSIDE: typeof GOOD = {
  macvlan: { ...V, name: 'bad', type: 'macvlan', master: 'lo' },
  ipvlan: { ...V, name: 'bad', type: 'ipvlan', master: 'lo' },
  vlan: { ...V, name: 'bad', type: 'vlan', master: 'lo', vlanId: 5 },
  tap: { ...V, name: 'bad', type: 'tap' },
  'host-device': { ...V, name: 'bad', type: 'host-device', device: 'dev0' },
  dummy: { ...V, name: 'bad', type: 'dummy', ipam: HOST_LOCAL },
};

export const EVERY: typeof GOOD = { ...GOOD, ...CHAINED, ...INSIDE };

/**
 * What is the same for all plugins is asked of all in memory, of one executable in full, and of each of the others a sample: a call is a
 * process.
 */
export const sample = <T>(plugin: string, rows: readonly T[]): readonly T[] =>
  plugin === 'bridge' ? rows : rows.filter((_, i) => i % 7 === plugin.length % 7);
