/** Every plugin that weft has, by name. A plugin is loaded when it is asked for: a start does not pay for the others. */
import type { PluginVerbs } from '../cni/plugin.ts';
import type { ChainedDefinition } from './chained.ts';
import type { Definition, PluginConf } from './definition.ts';
import { notIpam } from './not-ipam.ts';
import type { PluginKit } from './session.ts';

export const PLUGIN_NAMES = [
  'bridge',
  'ptp',
  'loopback',
  'vxlan',
  'routed',
  'macvlan',
  'ipvlan',
  'vlan',
  'tap',
  'host-device',
  'dummy',
  'portmap',
  'tuning',
  'firewall',
  'vrf',
  'bandwidth',
  'sbr',
  'dnsname',
  'host-local',
  'static',
  'dhcp',
] as const;
export type PluginName = (typeof PLUGIN_NAMES)[number];

export function isPluginName(name: string): name is PluginName {
  return (PLUGIN_NAMES as readonly string[]).includes(name);
}

/** The plan of a plugin that has one; undefined for the others. */
export async function loadDefinition(name: string): Promise<Definition<PluginConf> | undefined> {
  if (name === 'bridge') return (await import('./bridge/bridge.ts')).bridge;
  if (name === 'ptp') return (await import('./ptp/ptp.ts')).ptp;
  if (name === 'vxlan') return (await import('./vxlan/vxlan.ts')).vxlan;
  if (name === 'routed') return (await import('./routed/routed.ts')).routed;
  if (name === 'macvlan') return (await import('./macvlan/macvlan.ts')).macvlan;
  if (name === 'ipvlan') return (await import('./ipvlan/ipvlan.ts')).ipvlan;
  if (name === 'vlan') return (await import('./vlan/vlan.ts')).vlan;
  if (name === 'tap') return (await import('./tap/tap.ts')).tap;
  if (name === 'host-device') return (await import('./host-device/host-device.ts')).hostDevice;
  if (name === 'dummy') return (await import('./dummy/dummy.ts')).dummy;
  return undefined;
}

/** A plugin's verbs; by default for the machine it runs on. */
export async function loadPlugin(name: PluginName, kit?: PluginKit): Promise<PluginVerbs> {
  if (name === 'host-local') return (await import('../ipam/host-local/plugin.ts')).hostLocalPlugin;
  if (name === 'static') return (await import('../ipam/static/plugin.ts')).staticPlugin;
  if (name === 'dhcp') {
    const { dhcpPlugin } = await import('../ipam/dhcp/plugin.ts');
    return dhcpPlugin((await import('./dhcp-host.ts')).dhcpHost());
  }
  return notIpam(await linkPlugin(name, kit ?? (await machine())));
}

/** The plan of a plugin that adds to what those before it in a chain made; undefined for the others. */
export async function loadChained(name: string): Promise<ChainedDefinition<PluginConf> | undefined> {
  if (name === 'portmap') return (await import('./portmap/portmap.ts')).portmap;
  if (name === 'tuning') return (await import('./tuning/tuning.ts')).tuning;
  if (name === 'firewall') return (await import('./firewall/firewall.ts')).firewall;
  if (name === 'vrf') return (await import('./vrf/vrf.ts')).vrf;
  if (name === 'bandwidth') return (await import('./bandwidth/bandwidth.ts')).bandwidth;
  if (name === 'sbr') return (await import('./sbr/sbr.ts')).sbr;
  if (name === 'dnsname') return (await import('./dnsname/dnsname.ts')).dnsname;
  return undefined;
}

async function linkPlugin(name: PluginName, kit: PluginKit): Promise<PluginVerbs> {
  const chained = await loadChained(name);
  if (chained) return (await import('./chained.ts')).defineChained(chained, kit);
  const definition = await loadDefinition(name);
  if (!definition) return (await import('./loopback/loopback.ts')).loopback(kit);
  return (await import('./define.ts')).definePlugin(definition, kit);
}

/** The host is this process's own network namespace. */
async function machine(): Promise<PluginKit> {
  const { openDoor } = await import('../netlink/namespace.ts');
  // Nobody waits beside this one request.
  return { door: openDoor(() => true) };
}
