/** Simulated hosts on one wire, each with an agent that joins the networks of its conflists. The wire's own end is their way to the outside. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NetworkSummary } from '../../agent/cluster/summary.ts';
import { type RunningAgent, startAgent } from '../support/agent.ts';
import { installConflist } from '../support/conflist.ts';
import { type Container, exec, execIn, type Host, makeHost, ping, type Teardown } from '../support/host.ts';
import { pluginsUnderTest } from '../support/plugins.ts';
import { until } from '../support/until.ts';

export const BIN = pluginsUnderTest();
const WEFT = join(BIN, 'weft');

/** The wire's own addresses. */
export const WORLD = { v4: '192.0.2.254', v6: '2001:db8::254' } as const;

export const POOLS = [
  { prefix: '10.244.0.0/16', hostLength: 24 },
  { prefix: 'fd00:244::/48', hostLength: 64 },
];

/** A conflist of one plugin. */
export const conflist = (plugin: object, name = 'podnet') => ({
  cniVersion: '1.1.0',
  name,
  plugins: [{ pools: POOLS, ...plugin }],
});

export interface LabHost extends Host {
  /** Its name in the registry. */
  node: string;
  /** Its addresses on the wire. */
  v4: string;
  v6: string;
  agent(options?: {
    registry?: string;
    name?: string;
    node?: string;
    flags?: string[];
  }): Promise<RunningAgent>;
  /** `weft ...`; throws unless it succeeds. */
  weft(...words: string[]): Promise<string>;
  /** Attaches a new container, and returns it with its addresses. */
  add(network?: string, ...words: string[]): Promise<Attached>;
  /** What the agent says of a network. */
  network(name?: string): Promise<NetworkSummary>;
}

export interface Attached extends Container {
  v4: string;
  v6: string;
  mtu: number;
}

export interface Lab {
  /** Path of the registry file that all share. */
  registry: string;
  /** Path of the wire's namespace. */
  wire: string;
  host(number: number): Promise<LabHost>;
}

export async function makeLab(t: Teardown): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-t-registry-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const registry = join(folder, 'registry.yaml');
  const name = `weft-t-${randomBytes(5).toString('hex')}`;
  await exec('ip', ['netns', 'add', name]);
  t.teardown(async () => void (await exec('ip', ['netns', 'del', name])));
  await batch(name, [
    'link set lo up',
    'link add wire type bridge mcast_snooping 0',
    `addr add ${WORLD.v4}/24 dev wire`,
    `addr add ${WORLD.v6}/64 dev wire nodad`,
    'link set wire up',
  ]);
  return { registry, wire: `/run/netns/${name}`, host: (number) => labHost(t, name, registry, number) };
}

const batch = (name: string, lines: readonly string[]) =>
  exec('ip', ['-n', name, '-batch', '-'], { input: `${lines.join('\n')}\n` });

async function labHost(t: Teardown, wire: string, registry: string, number: number): Promise<LabHost> {
  const host = await makeHost(t);
  const [node, v4, v6] = [`host-${number}`, `192.0.2.${number}`, `2001:db8::${number}`];
  await batch(wire, [
    `link add to${number} master wire type veth peer name eth0 netns ${host.name}`,
    `link set to${number} up`,
  ]);
  await batch(host.name, [
    `addr add ${v4}/24 dev eth0`,
    `addr add ${v6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${WORLD.v4}`,
    `route add default via ${WORLD.v6}`,
  ]);
  const weft = async (...words: string[]) => (await host.exec(WEFT, words)).stdout;
  return {
    ...host,
    ...{ node, v4, v6, weft },
    agent: ({ registry: location = registry, name = 'agent', node: called = node, flags = [] } = {}) =>
      startAgent(host, { bin: BIN, name, flags: ['--registry', location, '--node', called, ...flags] }),
    add: async (network = 'podnet', ...words) => {
      const container = await host.container();
      const { ips, interfaces } = JSON.parse(
        await weft('net', 'add', network, container.netns, '--json', ...words),
      );
      const addresses: string[] = ips.map(({ address }: { address: string }) => address.replace(/\/.*/, ''));
      const one = (pattern: RegExp) => addresses.find((address) => pattern.test(address)) ?? '';
      const inside = interfaces.find(({ sandbox }: { sandbox?: string }) => sandbox);
      return { ...container, v4: one(/\./), v6: one(/:/), mtu: inside.mtu };
    },
    network: async (name = 'podnet') => {
      const all: NetworkSummary[] = JSON.parse(await weft('network', 'list', '--json'));
      const found = all.find((network) => network.name === name);
      if (!found) throw new Error(`${node} has no network ${name}`);
      return found;
    },
  };
}

/** Hosts 1 to `count` with one conflist, an agent each, all members. */
export async function members(
  lab: Lab,
  count: number,
  list: { name: string },
  registry = lab.registry,
): Promise<LabHost[]> {
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  const hosts = await Promise.all(
    numbers.map(async (number) => {
      const host = await lab.host(number);
      await installConflist(host, list);
      await host.agent({ registry });
      return host;
    }),
  );
  await Promise.all(hosts.map((host) => knows(host, count, list.name)));
  return hosts;
}

const knows = (host: LabHost, count: number, name: string) =>
  until(`${host.node} knows all`, async () => {
    const { joined, members, problems } = await host.network(name);
    return joined && members.length === count && problems.length === 0;
  });

export interface LabEtcd {
  /** For `--registry`. */
  location: string;
  /** SIGSTOP, SIGCONT. */
  stop(): void;
  resume(): void;
}

/** An etcd at the wire's own end; it ends with the test. */
export async function etcd(t: Teardown, lab: Lab, parameters = ''): Promise<LabEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-t-etcd-'));
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const [client, peer] = [`http://${WORLD.v4}:2379`, `http://${WORLD.v4}:2380`];
  // nsenter becomes etcd: its process id is etcd's. Short intervals: what a lease can be at least follows from them.
  // biome-ignore format: one option with its value per line says more
  const child = spawn('nsenter', [`--net=${lab.wire}`, '--', 'etcd',
    '--name', 'one', '--data-dir', join(folder, 'data'), '--log-level', 'error',
    '--listen-client-urls', client, '--advertise-client-urls', client,
    '--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `one=${peer}`,
    '--heartbeat-interval', '20', '--election-timeout', '200',
  ], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const env = { ETCDCTL_API: '3' };
  await until('etcd answers', () =>
    execIn(lab.wire, 'etcdctl', [`--endpoints=${client}`, 'endpoint', 'health'], { env }),
  );
  return {
    location: `etcd://${WORLD.v4}:2379${parameters}`,
    stop: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
  };
}

/** Both families, both directions. */
export async function reach(a: Attached, b: Attached): Promise<void> {
  const ways = [a, b].flatMap((from) => {
    const to = from === a ? b : a;
    return [to.v4, to.v6].filter(Boolean).map((address) => ({ from, address }));
  });
  await Promise.all(
    ways.map(({ from, address }) => until(`${from.id} reaches ${address}`, () => ping(from.netns, address))),
  );
}

/** The address by which `to` sees a TCP connection of `from`. */
export async function seenAs(from: string, to: string, address: string): Promise<string> {
  const server = execIn(to, 'iperf3', ['-s', '-1', '-J']);
  await until(
    'the server listens',
    async () => (await execIn(to, 'ss', ['-Hltn', 'sport = :5201'])).stdout !== '',
  );
  await execIn(from, 'iperf3', ['-c', address, '-n', '100K', '--connect-timeout', '5000']);
  return String(JSON.parse((await server).stdout).start.connected[0].remote_host);
}
