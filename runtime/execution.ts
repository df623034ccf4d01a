/** One plugin of a list is run: the configuration and the environment that it gets. */
import type { Ambient } from '../cni/ambient.ts';
import { CniError } from '../cni/errors.ts';
import { invokePlugin, parseAnswer } from '../cni/invoke.ts';
import type { AttachmentId, Command } from '../cni/types.ts';
import type { NetworkList, PluginConf } from './conflist.ts';

/** Who calls: where plugins are looked for, and with what they run. */
export interface Caller {
  ambient: Ambient;
  /** CNI_PATH, split. */
  path: readonly string[];
}

/** One attachment to be made, checked or removed. */
export interface Sandbox extends AttachmentId {
  /** Path of the namespace; empty when it is gone (DEL). */
  netns: string;
  /** CNI_ARGS. */
  args: readonly (readonly [string, string])[];
  /** What the caller has for each capability; a plugin gets those that it declares. */
  capabilityArgs: Readonly<Record<string, unknown>>;
}

/** A result as a plugin printed it, in the version of the configuration. */
export type RawResult = Record<string, unknown>;

/** What a plugin gets besides its own part of the list. */
export interface Given {
  command: Command;
  sandbox?: Sandbox;
  prevResult?: RawResult | undefined;
  inject?: Record<string, unknown>;
}

/** As runPlugin, for ADD: the result, with its version. */
export async function runForResult(
  caller: Caller,
  list: NetworkList,
  plugin: PluginConf,
  given: Given,
): Promise<RawResult> {
  const result = parseAnswer(await runPlugin(caller, list, plugin, given), plugin.type, given.command);
  // SPEC 1.1, section 5: a result without a version has that of the configuration.
  return result.cniVersion ? result : { ...result, cniVersion: list.cniVersion };
}

/** Runs one plugin of a list and returns its standard output. Throws its CniError with command and type before the message. */
export async function runPlugin(
  caller: Caller,
  list: NetworkList,
  plugin: PluginConf,
  given: Given,
): Promise<string> {
  const { command } = given;
  const { ambient, path } = caller;
  const env = { ...withoutParameters(ambient.env), ...environment(path, given.sandbox) };
  const input = JSON.stringify(executionConf(list, plugin, given));
  try {
    return await invokePlugin({ type: plugin.type, path, command, env, input, ambient });
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    const { code, message, details } = error;
    throw new CniError(code, `${command} by ${plugin.type}: ${message}`, details, { cause: error });
  }
}

/** SPEC 1.1, section 2, "Parameters"; GC and STATUS know no attachment. */
function environment(path: readonly string[], sandbox: Sandbox | undefined): Record<string, string> {
  return {
    CNI_PATH: path.join(':'),
    ...(sandbox !== undefined && {
      CNI_CONTAINERID: sandbox.containerId,
      CNI_IFNAME: sandbox.ifname,
      CNI_NETNS: sandbox.netns,
      CNI_ARGS: sandbox.args.map(([key, value]) => `${key}=${value}`).join(';'),
    }),
  };
}

/** SPEC 1.1, section 2, "Parameters". Other variables (CNI_NETNS_OVERRIDE) are the user's, and pass. */
const PARAMETERS: readonly string[] = [
  'CNI_COMMAND',
  'CNI_CONTAINERID',
  'CNI_NETNS',
  'CNI_IFNAME',
  'CNI_ARGS',
  'CNI_PATH',
];

/** What this process was called with is not meant for its plugins. */
function withoutParameters(env: Ambient['env']): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !PARAMETERS.includes(name)));
}

/** SPEC 1.1, section 3, "Deriving execution configuration from plugin configuration". */
export function executionConf(list: NetworkList, plugin: PluginConf, given: Given): Record<string, unknown> {
  const { capabilities, ...conf } = plugin;
  const runtimeConfig: Record<string, unknown> = {};
  for (const [name, on] of Object.entries((capabilities ?? {}) as Record<string, boolean>)) {
    const value = given.sandbox?.capabilityArgs[name];
    if (on && value !== undefined) runtimeConfig[name] = value;
  }
  return {
    ...conf,
    name: list.name,
    cniVersion: list.cniVersion,
    ...(Object.keys(runtimeConfig).length > 0 ? { runtimeConfig } : {}),
    ...(given.prevResult === undefined ? {} : { prevResult: given.prevResult }),
    ...given.inject,
  };
}
