/**
 * A chain in memory: each plugin of ours goes through the whole protocol (decoding, schema, checks), with a verb that plans
 * instead of doing. So what `weft plan` refuses is what the plugin refuses, in the same words.
 */
import type { Ambient, Files } from '../../cni/ambient.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { AttachmentRequest, NetConf, PluginVerbs } from '../../cni/plugin.ts';
import { runPlugin } from '../../cni/skel.ts';
import type { Result } from '../../cni/types.ts';
import { renderCommands as renderIptables } from '../../firewall/iptables-rules.ts';
import { renderCommands as renderNftables } from '../../firewall/nftables-ruleset.ts';
import type { IpamNetConf, IpamResult } from '../../ipam/ipam.ts';
import { render } from '../../plan/engine.ts';
import type { RenderNames } from '../../plan/render.ts';
import type { MasqueradeBackend, Plan } from '../../plan/step.ts';
import { inputOf } from '../../plugins/chained.ts';
import { answerOf, type Definition, type PluginConf, planFor } from '../../plugins/definition.ts';
import { mergeResults, resultOf } from '../../plugins/outcome.ts';
import {
  isPluginName,
  loadChained,
  loadDefinition,
  loadPlugin,
  type PluginName,
} from '../../plugins/registry.ts';
import type { PluginConf as ListedPlugin, NetworkList } from '../../runtime/conflist.ts';
import { executionConf, type RawResult, type Sandbox } from '../../runtime/execution.ts';
import { firstAddresses } from './first-addresses.ts';

export interface DryRunOptions {
  /** Addresses without prefix length that are not free. */
  taken?: readonly string[];
  /** Where the configuration does not say; nftables is the first choice of the plugins as well. */
  backend?: MasqueradeBackend;
  hostId: string;
}

/** What one plugin of the chain would do. */
export interface PlannedPlugin {
  type: string;
  plan: Plan;
  /** The plan as a person would type it. */
  lines: string[];
  /** What cannot be said beforehand. */
  notes: string[];
  /** What the plugins so far would answer. */
  result?: RawResult;
}

/** Plans every plugin of the list. Touches nothing. Throws the CniError that a plugin would answer with. */
export async function dryRun(
  list: NetworkList,
  sandbox: Sandbox,
  options: DryRunOptions,
): Promise<PlannedPlugin[]> {
  const planned: PlannedPlugin[] = [];
  let prevResult: RawResult | undefined;
  for (const plugin of list.plugins) {
    const one = isPluginName(plugin.type)
      ? await planOwn(plugin.type, list, plugin, { sandbox, prevResult, options })
      : foreign(plugin.type);
    planned.push(one);
    prevResult = one.result ?? prevResult;
  }
  return planned;
}

function foreign(type: string): PlannedPlugin {
  return {
    type,
    plan: [],
    lines: [],
    notes: [`${type} is not one of weft's plugins: what it does is its own affair`],
  };
}

interface Surroundings {
  sandbox: Sandbox;
  prevResult: RawResult | undefined;
  options: DryRunOptions;
}

async function planOwn(
  type: PluginName,
  list: NetworkList,
  plugin: ListedPlugin,
  { sandbox, prevResult, options }: Surroundings,
): Promise<PlannedPlugin> {
  const verbs = await loadPlugin(type, { door: CLOSED_DOOR });
  const definition = await loadDefinition(type);
  const planned: PlannedPlugin = { type, plan: [], lines: [], notes: [] };
  const planning: PluginVerbs = {
    ...verbs,
    async add(request) {
      const { plan, result } = await planAdd(type, definition, request, options, planned.notes);
      planned.plan = plan;
      planned.lines = render(plan, renderNames(sandbox.netns, options.backend));
      return result;
    },
  };
  const input = JSON.stringify(executionConf(list, plugin, { command: 'ADD', sandbox, prevResult }));
  const ambient = inMemory(input, sandbox, options.hostId, planned.notes);
  const { status, stdout } = await runPlugin(planning, ambient, { look: () => ({ state: 'other' }) });
  const answer = JSON.parse(stdout);
  if (status !== 0) throw new CniError(answer.code, answer.msg, answer.details);
  planned.result = answer;
  return planned;
}

async function planAdd(
  type: PluginName,
  definition: Definition<PluginConf> | undefined,
  request: AttachmentRequest<NetConf>,
  { hostId, taken }: DryRunOptions,
  notes: string[],
): Promise<{ plan: Plan; result: Result }> {
  const { attachment, args, prevResult, ambient } = request;
  const chained = await loadChained(type);
  if (chained && prevResult) {
    const input = inputOf({ ...request, config: request.config as PluginConf });
    const plan = chained.plan(input);
    return { plan, result: chained.result?.(input, prevResult) ?? prevResult };
  }
  const given = request.config as PluginConf;
  const config = definition?.resolve?.(given, ambient, 'PLAN') ?? given;
  if (config.ipam?.type === 'cluster') {
    const { mtu } = config as { mtu?: unknown };
    const size = mtu ? `the MTU is ${mtu}, or what fits where that is less` : 'the MTU is what fits';
    notes.push(
      `addresses are those of a host that holds the first part of the pool, ${size}: \`weft agent\` knows both`,
    );
  }
  const answer = addresses(config, args, taken, notes);
  if (definition === undefined) {
    const plan: Plan = type === 'loopback' ? [{ kind: 'link-up', in: 'container', dev: 'lo' }] : [];
    const own = resultOf(plan, {}, attachment, answer ?? NO_ADDRESSES, config.dns);
    return { plan, result: mergeResults(prevResult, own) };
  }
  const input = { config, attachment, args, hostId };
  const completed = answer && answerOf(definition, config, answer);
  const plan = planFor(definition, input, answer);
  const own = resultOf(plan, {}, attachment, completed ?? NO_ADDRESSES, config.dns);
  return { plan, result: mergeResults(prevResult, own) };
}

const NO_ADDRESSES: IpamResult = { ips: [], routes: [], dns: {} };

/** Undefined: only IPAM itself can tell. Without any IPAM there are no addresses. */
function addresses(
  config: PluginConf,
  args: Readonly<Record<string, string>>,
  taken: readonly string[] | undefined,
  notes: string[],
): IpamResult | undefined {
  if (!config.ipam?.type) return NO_ADDRESSES;
  const answer = firstAddresses(config as IpamNetConf, args, taken);
  if (answer === undefined) {
    notes.push(`addresses and routes come from ${config.ipam.type}, which says them only when it is run`);
  }
  return answer;
}

function renderNames(netns: string, fallback: MasqueradeBackend | undefined): RenderNames {
  return {
    netns,
    masquerade: (member, backend) =>
      (backend ?? fallback) === 'iptables' ? renderIptables(member) : renderNftables(member),
  };
}

const refuse = (what: string) => async (): Promise<never> => {
  throw new CniError(ErrorCode.internal, `a plan must not ${what}`);
};

const touch = (): never => {
  throw new CniError(ErrorCode.internal, 'a plan must not touch files');
};

const NO_FILES: Files = {
  lookAtFolder: touch,
  dateFolder: touch,
  overwrite: touch,
  claim: touch,
  retire: touch,
  replace: touch,
};

const CLOSED_DOOR = { open: refuse('open a namespace') };

/** The protocol's surroundings, with nothing behind them. */
function inMemory(input: string, sandbox: Sandbox, hostId: string, notes: string[]): Ambient {
  return {
    env: {
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: sandbox.containerId,
      CNI_IFNAME: sandbox.ifname,
      CNI_NETNS: sandbox.netns,
      CNI_PATH: '/nonexistent',
      CNI_ARGS: sandbox.args.map(([key, value]) => `${key}=${value}`).join(';'),
    },
    paths: { dataDir: '', runDir: '', cacheDir: '', confDir: '' },
    input: async () => input,
    log: (line) => notes.push(line),
    now: () => 0,
    hostId: () => hostId,
    lock: refuse('take a lock'),
    files: NO_FILES,
    run: refuse('run a program'),
  };
}
