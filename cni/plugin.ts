import type { Ambient } from './ambient.ts';
import type { Attachment, AttachmentId, CniVersion, Result } from './types.ts';

/**
 * One mistake in a configuration: where it is (`ipam.ranges[0].subnet`), what was found, what is allowed.
 * Validators (generated from JSON schemas at build time) answer with these instead of throwing.
 */
export interface ConfigFault {
  field: string;
  found: unknown;
  wanted: string;
  /** The keys that `field` is written from (a key may itself have a dot). */
  path: readonly (string | number)[];
}

/** A JSON schema with its generated check. The schema is needed at run time only for folding keys (Go's spelling). */
export interface ConfigSchema<C> {
  readonly schema: object;
  /** Validates folded input; returns no fault when `input` is a C. */
  faults(input: unknown): ConfigFault[];
  /** Carries the type; never there. */
  readonly type?: C;
}

/** The part of a configuration that every plugin has (SPEC 1.1, section 1). */
export interface NetConf {
  cniVersion: string;
  name: string;
  type: string;
  [key: string]: unknown;
}

/** What is common to all verbs. */
export interface VerbRequest<C> {
  /** Folded to the declared spelling of keys, nulls removed, validated; unknown keys are kept. */
  config: C;
  cniVersion: CniVersion;
  /** CNI_PATH, split. */
  path: readonly string[];
  /** CNI_ARGS, parsed; without IgnoreUnknown. */
  args: Readonly<Record<string, string>>;
  ambient: Ambient;
  /** Standard input as it came: what a delegate gets. */
  input: string;
}

export interface AttachmentRequest<C> extends VerbRequest<C> {
  attachment: Attachment;
  /** In the newest shape. */
  prevResult?: Result | undefined;
}

export interface GcRequest<C> extends VerbRequest<C> {
  /** Every attachment that is still valid; never undefined here (an absent list never reaches the plugin). */
  valid: readonly AttachmentId[];
}

/** A plugin as the protocol skeleton (cni/skel.ts) sees it. Verbs throw CniError; anything else becomes code 999. */
export interface PluginVerbs<C = NetConf> {
  readonly type: string;
  /** One line for the unset CNI_COMMAND. */
  readonly about: string;
  readonly config: ConfigSchema<C>;
  /** CNI_ARGS keys that this plugin knows besides IgnoreUnknown and K8S_*; others are an error unless IgnoreUnknown=1. */
  readonly knownArgs: readonly string[];
  /** False: CNI_NETNS must be set, but is not looked at. People call IPAM by hand with /dev/null there. */
  readonly usesNetns?: false;
  /** Semantic checks of the configuration, pure; throws CniError(invalidConfig). Runs for ADD, CHECK and STATUS; DEL and GC tolerate. */
  validate?(config: C): void;
  add(request: AttachmentRequest<C>): Promise<Result>;
  check(request: AttachmentRequest<C>): Promise<void>;
  del(request: AttachmentRequest<C>): Promise<void>;
  gc(request: GcRequest<C>): Promise<void>;
  status(request: VerbRequest<C>): Promise<void>;
}
