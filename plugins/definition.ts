import type { Ambient } from '../cni/ambient.ts';
import { CniError } from '../cni/errors.ts';
import type { ConfigSchema, GcRequest, NetConf } from '../cni/plugin.ts';
import type { Attachment, Dns, Result } from '../cni/types.ts';
import type { IpamResult } from '../ipam/ipam.ts';
import type { Plan, Step } from '../plan/step.ts';
import type { Surroundings } from '../plan/surroundings.ts';

/** What definePlugin reads of a configuration; a plugin's own schema says more. */
export interface PluginConf extends NetConf {
  ipam?: { type?: string; [key: string]: unknown };
  dns?: Dns;
}

/** Everything a plan may depend on. */
export interface PlanInput<C> {
  config: C;
  attachment: Attachment;
  /** CNI_ARGS, parsed. */
  args: Readonly<Record<string, string>>;
  /** Ambient.hostId(). */
  hostId: string;
  /** What the plugins before made, and with CHECK and DEL this one as well. */
  prevResult?: Result | undefined;
}

/** PLAN: of `weft plan`, which knows nothing of this host. */
export type Verb = 'ADD' | 'CHECK' | 'DEL' | 'GC' | 'STATUS' | 'PLAN';

/**
 * A plugin, stated as a plan. All functions but `resolve` and `ready` are pure: no I/O, no clock, no randomness. The plan has two parts
 * because some IPAM (dhcp) needs the link before it can answer; elsewhere both parts are applied together.
 */
export interface Definition<C extends PluginConf> {
  readonly type: string;
  /** One line for people. */
  readonly about: string;
  readonly config: ConfigSchema<C>;
  readonly knownArgs: readonly string[];
  /** Throws CniError(invalidConfig) when the fields do not fit each other. */
  validate?(config: C): void;
  /** Throws CniError(invalidEnvironment) on a CNI_ARGS value that cannot be meant; DEL and GC do not ask. */
  validateArgs?(args: Readonly<Record<string, string>>): void;
  /**
   * Completes the configuration by defaults and by what this host has in files, before anything is planned. For ADD and STATUS it throws
   * CniError when no container can be attached; the other verbs go on without what is missing.
   */
  resolve?(config: C, ambient: Ambient, verb: Verb): C;
  /** `answer` is what `complete` returned, where it is known by then: not for DEL, and not with an IPAM that needs the link. */
  links(input: PlanInput<C>, answer?: IpamResult): Step[];
  /** What the result says, where it is more than IPAM's answer: gateways, default routes. Throws CniError. */
  complete?(config: C, ipam: IpamResult): IpamResult;
  /** What the link gets where the configuration has no IPAM, but a plugin before this one left addresses; they are its own then. */
  handed?(previous: Result): IpamResult;
  /** `answer` is what `complete` returned. */
  addresses(input: PlanInput<C>, answer: IpamResult): Step[];
  /** For STATUS: looks whether what stands on the host is in the way of every ADD. Throws CniError(notAvailable). */
  ready?(config: C, host: Surroundings): Promise<void>;
  /** For GC: removes what the network has on the host besides the usual, and none of its valid attachments needs; returns it, readable. */
  collect?(request: GcRequest<C>, host: Surroundings): Promise<string[]>;
}

/** The whole plan of an attachment; without an answer of IPAM, its first part. */
export function planFor<C extends PluginConf>(
  definition: Definition<C>,
  input: PlanInput<C>,
  ipam?: IpamResult,
): Plan {
  if (!ipam) return definition.links(input);
  const answer = answerOf(definition, input.config, ipam);
  return [...definition.links(input, answer), ...definition.addresses(input, answer)];
}

/** IPAM's answer as the result will have it. */
export function answerOf<C extends PluginConf>(
  definition: Definition<C>,
  config: C,
  ipam: IpamResult,
): IpamResult {
  return definition.complete?.(config, ipam) ?? ipam;
}

/** The links' part of the plan, also of a configuration that ADD would refuse by now: names follow from the attachment alone. */
export function linksOf<C extends PluginConf>(definition: Definition<C>, input: PlanInput<C>): Step[] {
  try {
    return definition.links(input);
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    const { cniVersion, name, type } = input.config;
    return definition.links({ ...input, args: {}, config: { cniVersion, name, type } as C });
  }
}
