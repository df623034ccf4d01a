/** Calls of plugins' executables on a simulated host, and what an agent there says of them. */
import { join } from 'node:path';
import { parseExposition, type Sample, select } from '../../agent/exposition.ts';
import type { RunningAgent } from '../support/agent.ts';
import type { Container, Host } from '../support/host.ts';
import { pluginsUnderTest } from '../support/plugins.ts';
import { until } from '../support/until.ts';

export const BIN = pluginsUnderTest();

export const NETWORK = {
  cniVersion: '1.0.0',
  name: 'agentnet',
  type: 'bridge',
  bridge: 'br0',
  isGateway: true,
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.88.0.0/16' }]], routes: [{ dst: '0.0.0.0/0' }] },
};

export interface Called {
  status: number;
  stdout: string;
  stderr: string;
  // biome-ignore lint/suspicious/noExplicitAny: JSON of a plugin, whose shape the assertions are about
  json: any;
}

export interface CallOptions {
  container?: Pick<Container, 'id' | 'netns'>;
  ifname?: string;
  config?: object;
  env?: Readonly<Record<string, string>>;
  /** Folder of the executables. */
  bin?: string;
}

/** Runs a plugin's executable on a host, as a runtime there would. */
export async function call(host: Host, command: string, options: CallOptions = {}): Promise<Called> {
  const { container, ifname = 'eth0', config = NETWORK, env = {}, bin = BIN } = options;
  const { type } = config as { type: string };
  const done = await host.exec(join(bin, type), [], {
    env: {
      CNI_COMMAND: command,
      CNI_PATH: bin,
      ...(container && {
        ...{ CNI_CONTAINERID: container.id, CNI_NETNS: container.netns, CNI_IFNAME: ifname },
      }),
      ...env,
    },
    input: JSON.stringify(config),
    mayFail: true,
    timeout: 60_000,
  });
  return { ...done, json: done.stdout === '' ? undefined : JSON.parse(done.stdout) };
}

/** As call(); throws unless it succeeds. */
export async function ok(host: Host, command: string, options: CallOptions = {}): Promise<Called> {
  const called = await call(host, command, options);
  if (called.status !== 0) throw new Error(`${command}: ${called.stdout}${called.stderr}`);
  return called;
}

/**
 * How many requests of a command an agent has served. The log is written behind the answer: waits, with patience but not for
 * ever, until so many are there.
 */
export async function served(agent: RunningAgent, command: string, atLeast = 0): Promise<number> {
  const count = async () =>
    (await agent.log()).filter((line) => line.msg === 'served' && line.command === command).length;
  await until(`${atLeast} of ${command} served`, async () => (await count()) >= atLeast).catch(() => {});
  return await count();
}

/** What the agent of a host counts. Throws when it does not answer. */
export async function metrics(host: Host): Promise<Sample[]> {
  const socket = join(host.dirs.run, 'metrics.sock');
  const args = ['-s', '--fail', '--unix-socket', socket, 'http://agent/metrics'];
  return parseExposition((await host.exec('curl', args)).stdout);
}

/** The counts of one metric that are not zero, by one of its labels. */
export function byLabel(samples: readonly Sample[], name: string, label: string): Record<string, number> {
  const found = select(samples, name).filter(({ value }) => value > 0);
  return Object.fromEntries(found.map(({ labels, value }) => [labels[label] ?? '', value]));
}
