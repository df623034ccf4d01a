import type { Ambient } from './ambient.ts';
import { withConfigArgs } from './args.ts';
import { describeFaults, withoutFaults } from './config.ts';
import { type Environment, isCommand, quoted, readEnvironment } from './environment.ts';
import { CniError, ErrorCode } from './errors.ts';
import { type LookAtNamespace, lookAtNamespace } from './namespace.ts';
import { checkBase, type DecodedConf, decodeConf, validAttachments } from './netconf.ts';
import type { AttachmentRequest, PluginVerbs, VerbRequest } from './plugin.ts';
import type { CniVersion, Command, Result } from './types.ts';
import { SUPPORTED_VERSIONS } from './types.ts';
import { formatResult, isAtLeast, parseResult } from './versions.ts';

/** What the process shall do: write both texts and end with the status. Logs have gone to `ambient.log` already. */
export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunPluginOptions {
  /** How a namespace's path is compared with our own; tests put their own here. */
  look?: LookAtNamespace;
  /** In place of decodeConf: by who has decoded the same before. */
  decode?: typeof decodeConf;
}

type Verb = Exclude<Command, 'VERSION'>;

interface VerbRules {
  /** The first version of the specification that has the command. */
  since: CniVersion;
  /** An odd option or prevResult is left out instead of refused: what ADD made must go, whatever happened to its file. */
  tolerant: boolean;
}

const RULES: Record<Verb, VerbRules> = {
  ADD: { since: '0.1.0', tolerant: false },
  CHECK: { since: '0.4.0', tolerant: false },
  DEL: { since: '0.1.0', tolerant: true },
  GC: { since: '1.1.0', tolerant: true },
  STATUS: { since: '1.1.0', tolerant: false },
};

/**
 * One call of a plugin, from environment and standard input to exit status and standard output (SPEC 1.1, sections 2 to 5).
 * Never throws: whatever goes wrong becomes one JSON error on stdout and status 1.
 */
export async function runPlugin<C>(
  plugin: PluginVerbs<C>,
  ambient: Ambient,
  options: RunPluginOptions = {},
): Promise<Outcome> {
  const command = ambient.env.CNI_COMMAND ?? '';
  if (command === '') return about(plugin);
  let decoded: DecodedConf = { version: '1.1.0' };
  try {
    const input = await readInput(ambient);
    decoded = (options.decode ?? decodeConf)(input, plugin.config.schema);
    const stdout = await answer(plugin, ambient, command, input, decoded, options.look ?? lookAtNamespace);
    return { status: 0, stdout, stderr: '' };
  } catch (error) {
    return { status: 1, stdout: errorJson(error, decoded.version, ambient), stderr: '' };
  }
}

function about<C>(plugin: PluginVerbs<C>): Outcome {
  const versions = `CNI protocol versions supported: ${SUPPORTED_VERSIONS.join(', ')}`;
  return { status: 0, stdout: '', stderr: `${plugin.about}\n${versions}\n` };
}

async function readInput(ambient: Ambient): Promise<string> {
  try {
    return await ambient.input();
  } catch (error) {
    if (error instanceof CniError) throw error;
    throw new CniError(ErrorCode.io, 'standard input cannot be read', firstLine(error), { cause: error });
  }
}

/** Everything between the door and the plugin's verb; returns what goes to stdout. */
async function answer<C>(
  plugin: PluginVerbs<C>,
  ambient: Ambient,
  command: string,
  input: string,
  decoded: DecodedConf,
  look: LookAtNamespace,
): Promise<string> {
  if (!isCommand(command)) {
    const wanted = 'wanted ADD, DEL, CHECK, GC, STATUS or VERSION';
    throw new CniError(ErrorCode.invalidEnvironment, `CNI_COMMAND is ${JSON.stringify(command)}: ${wanted}`);
  }
  // SPEC 1.1, "VERSION": the input is optional in practice, so a bad one does not count.
  if (command === 'VERSION') {
    return json({ cniVersion: decoded.version, supportedVersions: SUPPORTED_VERSIONS });
  }
  const environment = readEnvironment(ambient.env, command, plugin.knownArgs);
  for (const fault of environment.tolerated) ambient.log(`${command}: ignored: ${fault}`);
  const request = prepare(plugin, ambient, command, input, decoded, environment);
  return perform(plugin, command, request, environment, look);
}

/** Checks the configuration as the command demands. Pure but for the log. */
function prepare<C>(
  plugin: PluginVerbs<C>,
  ambient: Ambient,
  command: Verb,
  input: string,
  decoded: DecodedConf,
  environment: Environment,
): VerbRequest<C> {
  if (decoded.conf === undefined) throw decoded.fault;
  const { conf, version } = decoded;
  const { since, tolerant } = RULES[command];
  if (!isAtLeast(version, since)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `cniVersion ${version} has no ${command}: wanted ${since} or newer`,
    );
  }
  checkBase(conf);
  let config: Record<string, unknown> = conf;
  if (tolerant) {
    config = withoutFaults(plugin.config, conf, (fault) =>
      ambient.log(`${command}: ignored: ${describeFaults([fault])}`),
    );
  } else {
    const faults = plugin.config.faults(conf);
    if (faults.length > 0) throw new CniError(ErrorCode.invalidConfig, describeFaults(faults));
    plugin.validate?.(config as C);
  }
  return {
    config: config as C,
    cniVersion: version,
    path: environment.path,
    args: withConfigArgs(environment.args, config, plugin.knownArgs),
    ambient,
    input,
  };
}

async function perform<C>(
  plugin: PluginVerbs<C>,
  command: Verb,
  request: VerbRequest<C>,
  environment: Environment,
  look: LookAtNamespace,
): Promise<string> {
  if (command === 'STATUS') {
    await plugin.status(request);
    return '';
  }
  if (command === 'GC') {
    const valid = validAttachments(request.config as Record<string, unknown>);
    if (valid !== undefined) await plugin.gc({ ...request, valid });
    return '';
  }
  const looked = plugin.usesNetns === false ? environment.netns : checkNetns(command, environment, look);
  const attachment = attachmentRequest(command, request, environment, looked);
  if (command === 'ADD') return add(plugin, attachment);
  await (command === 'CHECK' ? plugin.check(attachment) : plugin.del(attachment));
  return '';
}

async function add<C>(plugin: PluginVerbs<C>, request: AttachmentRequest<C>): Promise<string> {
  const result = await plugin.add(request);
  try {
    return json(formatResult(result, request.cniVersion));
  } catch (error) {
    // The runtime gets an error, so nothing may stay (SPEC 1.1, "ADD").
    await plugin.del(request).catch((failure) => {
      request.ambient.log(`ADD: cleaning up failed: ${firstLine(failure)}`);
    });
    throw error;
  }
}

function attachmentRequest<C>(
  command: 'ADD' | 'CHECK' | 'DEL',
  request: VerbRequest<C>,
  environment: Environment,
  netns: string,
): AttachmentRequest<C> {
  const config = request.config as Record<string, unknown>;
  const prevResult = readPrevResult(command, config, request);
  const { containerId, ifname } = environment;
  const attachment = { network: config.name as string, containerId, ifname, netns };
  return { ...request, attachment, ...(prevResult !== undefined && { prevResult }) };
}

/** A previous result without a version has that of the configuration. */
function readPrevResult<C>(
  command: Verb,
  config: Readonly<Record<string, unknown>>,
  { cniVersion, ambient }: VerbRequest<C>,
): Result | undefined {
  if (config.prevResult === undefined) return undefined;
  try {
    return parseResult(config.prevResult, cniVersion, { name: 'prevResult', code: ErrorCode.invalidConfig });
  } catch (error) {
    if (!RULES[command].tolerant) throw error;
    ambient.log(`${command}: ignored: ${firstLine(error)}`);
    return undefined;
  }
}

/** The namespace's path; empty when DEL's is gone. Throws CniError(invalidNamespace). */
function checkNetns(command: Verb, environment: Environment, look: LookAtNamespace): string {
  const { netns, netnsOverride } = environment;
  if (netns === '') return '';
  const { state, details } = look(netns);
  const refuse = (problem: string): never => {
    throw new CniError(ErrorCode.invalidNamespace, `CNI_NETNS ${quoted(netns)} ${problem}`, details);
  };
  if (state === 'own' && !netnsOverride) {
    refuse("is the plugin's own: wanted the container's, or CNI_NETNS_OVERRIDE=1 if this is meant");
  }
  if (state !== 'gone' && state !== 'foreign') return netns;
  if (command === 'DEL') return '';
  return refuse(
    state === 'gone'
      ? 'cannot be found: wanted the path of a network namespace'
      : 'is no namespace: wanted the path of a network namespace',
  );
}

/** The JSON error of SPEC 1.1, "Error". What is no CniError is a mistake of ours: code 999. */
function errorJson(error: unknown, version: CniVersion, ambient: Ambient): string {
  const known = error instanceof CniError && Number.isSafeInteger(error.code) && error.code > 0;
  if (!known && ambient.env.WEFT_DEBUG && error instanceof Error) ambient.log(error.stack ?? error.message);
  const code = known ? error.code : ErrorCode.internal;
  const msg = known ? error.message : `internal error: ${firstLine(error)}`;
  const details = known ? error.details : undefined;
  return json({ cniVersion: version, code, msg, ...(details && { details }) });
}

/** Other programs' messages may carry a stack trace after their first line. */
function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] || 'an error without a message';
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
