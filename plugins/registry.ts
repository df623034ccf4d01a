/** Every plugin that weft has, by name. A plugin is loaded when it is asked for: a start does not pay for the others. */
import type { PluginVerbs } from '../cni/plugin.ts';
import type { Definition, PluginConf } from './definition.ts';
import type { PluginKit } from './session.ts';

type AnyVerbs = PluginVerbs<never>;

/** The plugins that are a plan. */
const DEFINITIONS = {
  bridge: async () => (await import('./bridge/bridge.ts')).bridge,
  ptp: async () => (await import('./ptp/ptp.ts')).ptp,
} as const;

const OTHERS = {
  loopback: async (kit: PluginKit) => (await import('./loopback/loopback.ts')).loopback(kit),
  'host-local': async () => (await import('../ipam/host-local/plugin.ts')).hostLocalPlugin,
  static: async () => (await import('../ipam/static/plugin.ts')).staticPlugin,
} as const;

export const PLUGIN_NAMES = ['bridge', 'ptp', 'loopback', 'host-local', 'static'] as const;
export type PluginName = (typeof PLUGIN_NAMES)[number];

export function isPluginName(name: string): name is PluginName {
  return (PLUGIN_NAMES as readonly string[]).includes(name);
}

/** The host is this process's own network namespace. */
async function machine(): Promise<PluginKit> {
  const { openDoor } = await import('../netlink/namespace.ts');
  return { door: openDoor() };
}

/** A plugin's verbs; by default for the machine it runs on. */
export async function loadPlugin(name: PluginName, kit?: PluginKit): Promise<PluginVerbs> {
  const verbs = async (): Promise<AnyVerbs> => {
    if (name === 'host-local' || name === 'static') return (await OTHERS[name]()) as AnyVerbs;
    const own = kit ?? (await machine());
    if (name === 'loopback') return (await OTHERS[name](own)) as AnyVerbs;
    const { definePlugin } = await import('./define.ts');
    const definition = (await DEFINITIONS[name]()) as unknown as Definition<PluginConf>;
    return definePlugin(definition, own) as unknown as AnyVerbs;
  };
  // Each plugin's configuration type is its own affair: the skeleton validates before it calls.
  return (await verbs()) as unknown as PluginVerbs;
}

/** The plan of a plugin that has one; undefined for the others. */
export async function loadDefinition(name: string): Promise<Definition<PluginConf> | undefined> {
  if (name !== 'bridge' && name !== 'ptp') return undefined;
  return (await DEFINITIONS[name]()) as unknown as Definition<PluginConf>;
}
