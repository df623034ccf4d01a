/** What others remove or change of a network between hosts is put right by itself, without touching what is theirs. */
import { performance } from 'node:perf_hooks';
import t from 'tap';
import type { NetworkState } from '../../cluster/registry.ts';
import { execIn, ip, type Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';
import {
  container,
  makeWire,
  type Running,
  reaches,
  run,
  stateOf,
  vxlanNetwork,
  type WiredHost,
} from './wire.ts';

interface Scene {
  one: WiredHost;
  running: Running;
  state: NetworkState;
  /** In a container of the first host. */
  inside: string;
}

async function scene(t: Teardown): Promise<Scene> {
  const wire = await makeWire(t);
  const hosts = [await wire.host(1), await wire.host(2)] as const;
  const state = stateOf(hosts);
  const [running] = await run(t, vxlanNetwork(), hosts, state);
  const containers = hosts.map((host, i) =>
    container(t, host, {
      addresses: [`10.244.${i + 1}.5/24`, `fd00:244:0:${i + 1}::5/64`],
      gateways: [`10.244.${i + 1}.1/24`, `fd00:244:0:${i + 1}::1/64`],
      mtu: 1450,
    }),
  );
  const [inside] = await Promise.all(containers);
  return { one: hosts[0], running: running as Running, state, inside: inside ?? '' };
}

/** What belongs to the network, as ip(8) and bridge(8) print it. */
async function printed(host: WiredHost): Promise<string> {
  const parts = await Promise.all(
    [
      ['ip', 'route', 'show', 'proto', '119'],
      ['ip', '-6', 'route', 'show', 'proto', '119'],
      ['ip', 'neigh', 'show', 'dev', 'weft42', 'nud', 'permanent'],
      ['ip', '-6', 'neigh', 'show', 'dev', 'weft42', 'nud', 'permanent'],
      ['bridge', 'fdb', 'show', 'dev', 'weft42'],
      ['ip', '-br', 'link', 'show', 'weft42'],
      ['ip', '-o', '-4', 'addr', 'show', 'dev', 'weft42'],
    ].map(([program = '', ...words]) => execIn(host.netns, program, words, { mayFail: true })),
  );
  const lines = parts
    .flatMap(({ stdout }) => stdout.split('\n'))
    .map((line) => line.replace(/^\d+: |@\w+/g, ''));
  return lines
    .map((line) => line.trim())
    .sort()
    .join('\n');
}

t.test('what is removed comes back', async (t) => {
  const { one, running, inside } = await scene(t);
  const before = await printed(one);
  const slowest: number[] = [];
  const damages: readonly [string, readonly string[], RegExp][] = [
    ['a deleted device', ['ip', 'link', 'del', 'weft42'], /^VXLAN device weft42$/],
    [
      'a flushed FDB',
      ['bridge', 'fdb', 'flush', 'dev', 'weft42'],
      /^FDB entry .* to 192\.0\.2\.2 dev weft42$/,
    ],
    [
      'flushed routes',
      ['ip', 'route', 'flush', 'proto', '119'],
      /^route to 10\.244\.2\.0\/24 via 10\.244\.2\.0 dev weft42$/,
    ],
    [
      'flushed routes of IPv6',
      ['ip', '-6', 'route', 'flush', 'proto', '119'],
      /^route to fd00:244:0:2::\/64 via fe80/,
    ],
    [
      'flushed neighbours',
      ['ip', 'neigh', 'flush', 'dev', 'weft42', 'nud', 'permanent'],
      /^neighbour 10\.244\.2\.0 at /,
    ],
    [
      'a deleted address',
      ['ip', 'addr', 'del', '10.244.1.0/32', 'dev', 'weft42'],
      /^address 10\.244\.1\.0\/32 on weft42$/,
    ],
    ['a device that is down', ['ip', 'link', 'set', 'weft42', 'down'], /^settings of VXLAN device weft42$/],
    ['another MTU', ['ip', 'link', 'set', 'weft42', 'mtu', '1400'], /^settings of VXLAN device weft42$/],
    [
      'another MAC',
      ['ip', 'link', 'set', 'weft42', 'address', '02:00:00:00:00:01'],
      /^settings of VXLAN device weft42$/,
    ],
  ];
  for (const [what, [program = '', ...words], told] of damages) {
    const count = running.corrections.length;
    await execIn(one.netns, program, words);
    const start = performance.now();
    await until(`${what} is put right`, async () => (await printed(one)) === before);
    slowest.push(performance.now() - start);
    await until('it is told', () =>
      running.corrections.slice(count).some((one) => one.what.some((line) => told.test(line))),
    );
    t.ok(await reaches(inside, '10.244.2.5'), what);
    t.ok(await reaches(inside, 'fd00:244:0:2::5'), `${what}, IPv6`);
  }
  t.comment(`put right after ${slowest.map((time) => Math.round(time)).join(', ')} ms`);
  t.same(running.failures, []);
});

t.test('what is changed is put right', async (t) => {
  const { one, inside } = await scene(t);
  const before = await printed(one);
  const [{ mac }] = JSON.parse(
    (await execIn(one.netns, 'bridge', ['-j', 'fdb', 'show', 'dev', 'weft42'])).stdout,
  );
  const damages: readonly string[][] = [
    ['bridge', 'fdb', 'replace', mac, 'dev', 'weft42', 'dst', '192.0.2.77', 'self', 'static'],
    ['bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', 'weft42', 'dst', '192.0.2.77'],
    [
      'ip',
      'neigh',
      'replace',
      '10.244.2.0',
      'lladdr',
      '02:00:00:00:00:01',
      'dev',
      'weft42',
      'nud',
      'permanent',
    ],
  ];
  for (const [program = '', ...words] of damages) {
    await execIn(one.netns, program, words);
    await until(`${words.join(' ')} is put right`, async () => (await printed(one)) === before);
    t.ok(await reaches(inside, '10.244.2.5'), words.join(' '));
  }
});

t.test('after a look nothing is left to do, and a network that is in order is left alone', async (t) => {
  const { running, state, one } = await scene(t);
  t.equal((await running.reconciler.look()).changes, 0);
  t.equal((await running.reconciler.update(state)).changes, 0);
  t.same(running.corrections, []);
  await execIn(one.netns, 'ip', ['link', 'del', 'weft42']);
  await until('the device is back', () => running.corrections.length === 1);
  // Our own messages are no reason for another look at what they did.
  await running.reconciler.look();
  t.same(running.corrections.length, 1);
});

t.test('whoever removes it again and again has his way for a while', async (t) => {
  const { one, running, state } = await scene(t);
  for (let i = 0; i < 40 && running.failures.length === 0; i += 1) {
    await execIn(one.netns, 'ip', ['route', 'del', '10.244.2.0/24'], { mayFail: true });
    await running.reconciler.look();
  }
  t.match(running.failures, [
    {
      reason:
        /^route to 10\.244\.2\.0\/24 .* was put right 6 times within a minute: somebody changes it again and again/,
    },
  ]);
  t.equal(running.corrections.length, 6);
  await running.reconciler.look();
  await running.reconciler.update(state);
  t.match(await ip(one.netns, 'route', 'show', 'proto', '119'), [{ type: 'unreachable' }], 'the rest stays');
});

t.test('the uplink goes and comes', async (t) => {
  const { one, inside, running } = await scene(t);
  await one.ip('addr del 192.0.2.1/24 dev eth0');
  await until('it is told', () => running.failures.length === 1);
  await one.ip('addr add 192.0.2.1/24 dev eth0');
  await until('all is well again', () => running.reports.at(-1)?.problems.length === 0);
  t.ok(await reaches(inside, '10.244.2.5'));
});
