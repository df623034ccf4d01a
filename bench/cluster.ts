/**
 * What a host that joins costs the others: a hundred simulated hosts on a wire, each with its own kernel state kept by its own reconciler;
 * one more joins, and is reached from all of them. Then one host alone, among few and many: requests to its kernel and milliseconds for
 * whatever may happen, which must not grow with the number of hosts.
 *
 * Usage: tsx bench/cluster.ts [--hosts 100] [--rounds 20] [--json FILE]   (root)
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { type Applied, NetworkReconciler } from '../cluster/host/reconciler.ts';
import type { ClusterNetwork } from '../cluster/network.ts';
import type { Endpoint, Member, NetworkState } from '../cluster/registry.ts';
import { makeWire, stateOf, vxlanNetwork, type Wire, type WiredHost } from '../test/cluster/wire.ts';
import { ip, type Teardown } from '../test/support/host.ts';
import { until } from '../test/support/until.ts';
import { median, p99 } from './statistics.ts';

const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '20' },
    json: { type: 'string' },
  },
});
const hosts = Number(values.hosts);
const rounds = Number(values.rounds);

/** Runs `act`, then what it left to be done, the last first. */
async function withTeardown<T>(act: (t: Teardown) => Promise<T>): Promise<T> {
  const left: (() => Promise<void> | void)[] = [];
  try {
    return await act({ teardown: (fn) => void left.push(fn) });
  } finally {
    for (const fn of left.reverse()) await fn();
  }
}

function reconcilerOf(
  t: Teardown,
  network: ClusterNetwork,
  { member, door }: Pick<WiredHost, 'member' | 'door'>,
) {
  const failed = ({ reason }: { reason: string }) => void process.stderr.write(`${member.host}: ${reason}\n`);
  const made = new NetworkReconciler({ network, self: member, door, hooks: { corrected: () => {}, failed } });
  t.teardown(() => made.close());
  return made;
}

interface Joining {
  backend: string;
  hosts: number;
  /** Requests to the kernel of each of the others, the most of any. */
  requests: number;
  /** Milliseconds from the registry's change to the last kernel's answer, and to the last of the others' first answer from the new host. */
  kernels: number;
  reached: number;
  /** The new host's own: all it has to make. */
  own: { requests: number; milliseconds: number };
}

/**
 * Begins to ask after an address on every host, five times a second, and returns when all have begun; the promise inside is fulfilled when
 * the last has its first answer.
 */
async function ask(
  wire: Wire,
  from: readonly WiredHost[],
  address: string,
): Promise<{ answers: Promise<void> }> {
  // Until they know better, they send it to a router that throws it away.
  const [bridge] = await ip(wire.netns, 'link', 'show', 'wire');
  const router = '192.0.2.254';
  for (const host of from) {
    await host.ip(
      `neigh add ${router} lladdr ${bridge.address} dev ${host.uplink} nud permanent`,
      `route add default via ${router}`,
    );
  }
  const asked = from.map(
    ({ netns }) =>
      new Promise<void>((resolve, reject) => {
        const args = [`--net=${netns}`, 'ping', '-n', '-q', '-c', '1', '-i', '0.2', '-w', '60', address];
        const child = spawn('nsenter', args, { stdio: 'ignore' });
        child.once('exit', (status) =>
          status === 0 ? resolve() : reject(new Error(`${address} never answered`)),
        );
      }),
  );
  const answers = Promise.all(asked).then(() => {});
  answers.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 3000));
  return { answers };
}

/** A hundred hosts are there, one more joins. */
async function join(network: ClusterNetwork): Promise<Joining> {
  return withTeardown(async (t) => {
    const wire = await makeWire(t);
    const all: WiredHost[] = [];
    for (let number = 1; number <= hosts + 1; number += 1) all.push(await wire.host(number));
    const before = all.slice(0, -1);
    const joining = all.at(-1) as WiredHost;
    const reconcilers = all.map((host) => reconcilerOf(t, network, host));
    await Promise.all(reconcilers.slice(0, -1).map((one) => one.update(stateOf(before))));
    // The tunnel's address of the new host; without a tunnel, an address of its containers' bridge.
    const address = network.vxlan ? `10.244.${hosts + 1}.0` : `10.244.${hosts + 1}.1`;
    if (!network.vxlan) {
      await joining.ip('link add br0 type bridge', `addr add ${address}/24 dev br0`, 'link set br0 up');
    }
    const { answers } = await ask(wire, before, address);
    const start = performance.now();
    const reports = await Promise.all(reconcilers.map((one) => one.update(stateOf(all))));
    const kernels = performance.now() - start;
    const own = reports.at(-1);
    await answers;
    return {
      ...{ backend: network.backend, hosts, kernels, reached: performance.now() - start },
      requests: Math.max(...reports.slice(0, -1).map(({ changes }) => changes)),
      own: { requests: own?.changes ?? 0, milliseconds: own?.milliseconds ?? 0 },
    };
  });
}

interface Cost {
  requests: number;
  median: number;
  p99: number;
}

type Costs = Record<string, Cost>;

/** Hosts that are only in the registry. */
function members(count: number, self: Member): Member[] {
  const others = Array.from({ length: count - 1 }, (_, i) => ({
    host: `other-${i}`,
    addresses: [`192.0.${2 + Math.floor(i / 200)}.${(i % 200) + 10}`],
    subnets: [`10.${245 + Math.floor(i / 256)}.${i % 256}.0/24`],
  }));
  return [self, ...others];
}

/** One container of each of the other hosts (L2), `each` times. */
function endpoints(state: readonly Member[], each: number): Endpoint[] {
  return state.slice(1).flatMap(({ host }, i) =>
    Array.from({ length: each }, (_, k) => ({
      address: `10.244.${i % 256}.${k + 10 + Math.floor(i / 256) * 64}`,
      mac: `02:00:00:${[i >> 8, i & 255, k].map((part) => part.toString(16).padStart(2, '0')).join(':')}`,
      host,
    })),
  );
}

/** What the reconciler puts back within a minute, without a word against it. */
const AFFORDED = 5;

/** From the start of `ip link del` to the last entry that is back. */
async function deletions(
  t: Teardown,
  network: ClusterNetwork,
  host: WiredHost,
  state: NetworkState,
): Promise<Applied[]> {
  let back: Applied | undefined;
  const hooks = {
    corrected: () => {},
    failed: () => {},
    applied: (report: Applied) => {
      if (report.changes > 0) back = report;
    },
  };
  const reconciler = new NetworkReconciler({ network, self: host.member, door: host.door, hooks });
  t.teardown(() => reconciler.close());
  await reconciler.update(state);
  const reports: Applied[] = [];
  for (let round = 0; round < AFFORDED; round += 1) {
    back = undefined;
    const start = performance.now();
    await host.ip(`link del ${network.vxlan?.device}`);
    const report = await until('the device is back', () => back);
    reports.push({ ...report, milliseconds: performance.now() - start });
  }
  return reports;
}

/** One kernel among many hosts of the registry: what each event costs it. */
async function alone(network: ClusterNetwork, count: number, each: number): Promise<Costs> {
  return withTeardown(async (t) => {
    const host = await (await makeWire(t)).host(1, { addresses: ['192.0.2.1/16'] });
    const known = members(count, host.member);
    const state: NetworkState = { members: known, endpoints: endpoints(known, each) };
    const more: Member = { host: 'new', addresses: ['192.0.2.250'], subnets: ['10.250.0.0/24'] };
    const container = { address: '10.244.255.250', mac: '02:00:00:ff:ff:ff', host: 'new' };
    const joined: NetworkState = {
      members: [...known, more],
      endpoints: each > 0 ? [...state.endpoints, container] : [],
    };
    const moved: NetworkState = {
      ...joined,
      members: [...known, { ...more, addresses: ['192.0.2.251'] }],
    };
    const samples: Record<string, { requests: number; time: number }[]> = {};
    const take = async (what: string, act: () => Promise<{ changes: number; milliseconds: number }>) => {
      const { changes, milliseconds } = await act();
      samples[what] ??= [];
      samples[what].push({ requests: changes, time: milliseconds });
    };
    for (let round = 0; round < Math.max(3, rounds / 4); round += 1) {
      const first = reconcilerOf(t, network, host);
      await take('start on an empty host', () => first.update(state));
      await first.close();
      const again = reconcilerOf(t, network, host);
      await take('start again, all there', () => again.update(state));
      await again.remove();
    }
    const reconciler = reconcilerOf(t, network, host);
    await reconciler.update(state);
    for (let round = 0; round < rounds; round += 1) {
      await take('a host joins', () => reconciler.update(joined));
      await take('its address changes', () => reconciler.update(moved));
      await take('it leaves', () => reconciler.update(state));
      await take('a look, all in order', () => reconciler.look());
    }
    if (network.vxlan) {
      await reconciler.close();
      const reports = await deletions(t, network, host, state);
      for (const report of reports) await take('its device is deleted', async () => report);
    }
    return Object.fromEntries(
      Object.entries(samples).map(([what, list]) => {
        const times = list.map(({ time }) => time);
        const requests = Math.max(...list.map(({ requests }) => requests));
        return [what, { requests, median: median(times), p99: p99(times) }];
      }),
    );
  });
}

const pools = [
  { prefix: '10.128.0.0/9', blockLength: 24 },
  { prefix: 'fd00:244::/48', blockLength: 64 },
];
const networks: readonly ClusterNetwork[] = [
  vxlanNetwork({}, { pools }),
  { name: 'blue', backend: 'routed', pools },
];
const L2 = vxlanNetwork({ bridge: 'br42' }, { pools });
const round = (value: number) => (value < 10 ? value.toFixed(1) : value.toFixed(0));

const joins: Joining[] = [];
for (const network of networks) joins.push(await join(network));
console.log(`one more host joins ${hosts} (IPv4 and IPv6):`);
for (const one of joins) {
  console.log(
    `  ${one.backend.padEnd(9)} ${one.requests} requests to each of the others, all kernels have it after ${round(one.kernels)} ms, ` +
      `all reach it after ${round(one.reached)} ms; its own start: ${one.own.requests} requests, ${round(one.own.milliseconds)} ms`,
  );
}

const costs: { backend: string; hosts: number; containers: number; costs: Costs }[] = [];
for (const [network, each] of [
  [networks[0], 0],
  [networks[1], 0],
  [L2, 10],
] as const) {
  for (const count of [10, 100, 1000]) {
    if (network === undefined || count > hosts * 10) continue;
    costs.push({
      ...{ backend: network.backend, hosts: count, containers: each * (count - 1) },
      costs: await alone(network, count, each),
    });
  }
}
console.log(`\none host among others; requests, then milliseconds, median (p99) of ${rounds} rounds`);
const whats = Object.keys(costs[0]?.costs ?? {});
console.log(`${''.padEnd(32)}${whats.map((what) => what.padStart(26)).join('')}`);
for (const { backend, hosts, containers, costs: found } of costs) {
  const name = `${backend}, ${hosts} hosts${containers > 0 ? `, ${containers} containers` : ''}`;
  const cells = whats.map((what) => {
    const cost = found[what];
    return cost === undefined ? '' : `${cost.requests}: ${round(cost.median)} (${round(cost.p99)})`;
  });
  console.log(`${name.padEnd(32)}${cells.map((cell) => cell.padStart(26)).join('')}`);
}
if (values.json) writeFileSync(values.json, `${JSON.stringify({ joins, costs }, undefined, 2)}\n`);
