/**
 * A simulated host on which plugins run through the whole protocol; containers beside it. They run in this process, or, where
 * WEFT_TEST_WAY says so, as executables, with an agent or without.
 */
import { join } from 'node:path';
import type { Ambient } from '../../cni/ambient.ts';
import { runPlugin } from '../../cni/skel.ts';
import type { Command } from '../../cni/types.ts';
import type { Door } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { isPluginName, loadPlugin } from '../../plugins/registry.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { environmentOf, startAgent, type Way, wayUnderTest } from '../support/agent.ts';
import { type Container, type Host, ip, makeHost, type Teardown } from '../support/host.ts';
import { pluginsUnderTest } from '../support/plugins.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON of a plugin, whose shape the assertions are about
type Json = any;

export interface Answer {
  status: number;
  /** What stdout had, parsed; undefined where it was empty. */
  json: Json;
  log: string[];
}

export interface CallOptions {
  container?: Container | { id: string; netns: string };
  ifname?: string;
  args?: string;
  prevResult?: unknown;
  env?: Record<string, string>;
  /** Instead of the real door; the call is then made in this process. */
  door?: Door;
}

export interface World {
  readonly host: Host;
  container(): Promise<Container>;
  /** Runs a plugin's executable as if it were called by a runtime on this host. */
  call(command: Command, config: object, options?: CallOptions): Promise<Answer>;
  /** ADD that must succeed: its result. */
  add(config: object, container: Container, options?: CallOptions): Promise<Json>;
  /** Any command that must succeed. */
  ok(command: Command, config: object, options?: CallOptions): Promise<Answer>;
  /** Names of the host's links but `lo`, sorted. */
  hostLinks(): Promise<string[]>;
}

export const BRIDGE = {
  cniVersion: '1.1.0',
  name: 'mynet',
  type: 'bridge',
  bridge: 'br0',
  isGateway: true,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.1.0.0/24' }], [{ subnet: 'fd00:1::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
};

/** A bridge without addresses. */
export const L2 = { cniVersion: '1.1.0', name: 'l2net', type: 'bridge', bridge: 'br0' };

interface Call {
  type: string;
  env: Record<string, string>;
  input: string;
}

const HOST_ID = 'test-host';

function answer(status: number, stdout: string, log: string[]): Answer {
  return { status, json: stdout === '' ? undefined : JSON.parse(stdout), log };
}

async function runHere(host: Host, { type, env, input }: Call, door: Door): Promise<Answer> {
  const log: string[] = [];
  const ambient: Ambient = {
    ...realAmbient(env),
    input: async () => input,
    log: (line) => log.push(line),
    hostId: () => HOST_ID,
  };
  if (!isPluginName(type)) throw new Error(`no plugin ${type}`);
  const verbs = await loadPlugin(type, { door, hostNetns: host.netns });
  const { status, stdout } = await runPlugin(verbs, ambient);
  return answer(status, stdout, log);
}

async function execute(host: Host, { type, env, input }: Call, way: Way): Promise<Answer> {
  const { status, stdout, stderr } = await host.exec(join(pluginsUnderTest(), type), [], {
    ...{ input, mayFail: true },
    env: { ...env, ...environmentOf(way), WEFT_HOST_ID: HOST_ID },
  });
  return answer(status, stdout, stderr === '' ? [] : stderr.split('\n'));
}

export async function makeWorld(t: Teardown): Promise<World> {
  const host = await makeHost(t);
  const way = wayUnderTest();
  // These suites remove things to see that the plugins notice: the agent must not be faster.
  const flags = ['--no-repair', '--no-collect'];
  if (way === 'agent' || way === 'mixed') await startAgent(host, { bin: pluginsUnderTest(), flags });
  const call = async (command: Command, config: object, options: CallOptions = {}): Promise<Answer> => {
    const { container, ifname = 'eth0', args, prevResult, env = {}, door } = options;
    const request: Call = {
      type: (config as { type: string }).type,
      env: {
        ...host.env,
        CNI_COMMAND: command,
        CNI_PATH: '/usr/lib/cni',
        ...(container && {
          ...{ CNI_CONTAINERID: container.id, CNI_NETNS: container.netns, CNI_IFNAME: ifname },
        }),
        ...(args && { CNI_ARGS: args }),
        ...env,
      },
      input: JSON.stringify({ ...config, ...(prevResult ? { prevResult } : {}) }),
    };
    return await (way && !door ? execute(host, request, way) : runHere(host, request, door ?? openDoor()));
  };
  const ok = async (command: Command, config: object, options?: CallOptions) => {
    const answer = await call(command, config, options);
    if (answer.status !== 0)
      throw new Error(`${command}: ${JSON.stringify(answer.json)} ${answer.log.join('\n')}`);
    return answer;
  };
  return {
    host,
    container: () => host.container(),
    call,
    ok,
    add: async (config, container, options) => (await ok('ADD', config, { ...options, container })).json,
    hostLinks: async () =>
      (await ip(host.netns, 'link'))
        .map(({ ifname }) => String(ifname))
        .filter((name) => name !== 'lo')
        .sort(),
  };
}
