/** bandwidth and sbr as data: what limits become, which tables addresses have. No root, no kernel. */
import t from 'tap';
import { CniError } from '../../cni/errors.ts';
import type { Result } from '../../cni/types.ts';
import { burstOf, isBucket } from '../../netlink/qdisc.ts';
import type { ShapeStep, SourceRouteStep } from '../../plan/step.ts';
import { bandwidthPlan, bucketFor, validateBandwidth } from '../../plugins/bandwidth/plan.ts';
import type { BandwidthConf } from '../../plugins/bandwidth/schema.ts';
import { hostLinks } from '../../plugins/outcome.ts';
import { sbrPlan, sbrResult } from '../../plugins/sbr/plan.ts';
import type { SbrConf } from '../../plugins/sbr/schema.ts';
import { realAmbient } from '../../runtime/ambient.ts';

const BASE = { cniVersion: '1.1.0', name: 'mynet' };
const SANDBOX = '/run/netns/c1';
const PREVIOUS: Result = {
  interfaces: [{ name: 'br0' }, { name: 'veth0' }, { name: 'eth0', sandbox: SANDBOX }],
  ips: [
    { address: '10.1.0.5/24', gateway: '10.1.0.1', interface: 2 },
    { address: 'fd00:1::5/64', gateway: 'fd00:1::1', interface: 2 },
    { address: '10.2.0.5/24', gateway: '10.2.0.1', interface: 2 },
  ],
  routes: [
    { dst: '0.0.0.0/0' },
    { dst: '192.0.2.0/24', gw: '10.2.0.9' },
    { dst: '::/0', gw: 'fe80::1' },
    { dst: '198.51.100.0/24', table: 7 },
  ],
  dns: {},
};

const input = <C>(config: object, prevResult: Result | undefined = PREVIOUS) => ({
  config: { ...BASE, ...config } as unknown as C,
  attachment: { network: 'mynet', containerId: 'c1', ifname: 'eth0', netns: SANDBOX },
  ...{ prevResult, args: {}, paths: realAmbient({}).paths },
});

t.test('a burst is not a queue', async (t) => {
  const table: [rate: number, burst: number | undefined, wanted: [number, number, number]][] = [
    // The least: TCP's first window passes at once, and more than that waits.
    [1e6, undefined, [125_000, 16_384, 24_576]],
    [1e6, 0, [125_000, 16_384, 24_576]],
    // 10 ms at once, 25 ms wait.
    [1e8, undefined, [12_500_000, 125_000, 312_500]],
    [1e10, undefined, [1_250_000_000, 12_500_000, 31_250_000]],
    // As runtimes write it unasked, and as somebody asked for it.
    [1e8, 2 ** 31 - 1, [12_500_000, 125_000, 312_500]],
    [1e8, 2 ** 32 - 1, [12_500_000, 125_000, 312_500]],
    [1e6, 80_000_000, [125_000, 10_000_000, 65_536]],
    [1e6, 8, [125_000, 1, 24_576]],
    // Four gigabytes is what the kernel counts to.
    [1e13, undefined, [1.25e12, 2 ** 32 - 1, 2 ** 32 - 1]],
  ];
  for (const [rate, burst, wanted] of table) {
    const { rate: bytes, burst: passes, limit } = bucketFor(rate, burst);
    t.same([bytes, passes, limit], wanted, `${rate} bit/s, ${burst}`);
  }
});

t.test('a bucket as the kernel tells it', async (t) => {
  const wanted = { rate: 125_000, burst: 50_000, limit: 65_536 };
  const found = { rate: 125_000, limit: 65_536, buffer: 6_250_000 };
  t.ok(isBucket(found, wanted));
  t.equal(burstOf(found), 50_000);
  for (const other of [{ rate: 125_001 }, { limit: 1 }, { buffer: 6_260_000 }])
    t.notOk(isBucket({ ...found, ...other }, wanted));
  // Of a burst of minutes the kernel tells what is left by 32 bits.
  t.ok(
    isBucket(
      { rate: 1, limit: 65_536, buffer: (1600e9 / 64) % 2 ** 32 },
      { rate: 1, burst: 1600, limit: 65_536 },
    ),
  );
});

t.test('which limits hold, and where', async (t) => {
  const plan = (config: object, previous?: Result) =>
    bandwidthPlan(input<BandwidthConf>({ type: 'bandwidth', ...config }, previous)) as ShapeStep[];
  const seen = (config: object) =>
    plan(config).map(({ direction, rate, dev, ifb, only, except }) => [
      ...[direction, rate * 8, dev, ifb?.name.slice(0, 3), only, except],
    ]);
  t.same(seen({}), []);
  t.same(seen({ ingressRate: 8e6 }), [['ingress', 8e6, 'veth0', undefined, undefined, undefined]]);
  const asked = { runtimeConfig: { bandwidth: { ingressRate: 16e6, egressRate: 24e6 } } };
  t.same(seen(asked), [
    ['ingress', 16e6, 'veth0', undefined, undefined, undefined],
    ['egress', 24e6, 'veth0', 'ifb', undefined, undefined],
  ]);
  t.same(seen({ egressRate: 8e6, ...asked }), [['egress', 8e6, 'veth0', 'ifb', undefined, undefined]]);
  const except = ['10.0.0.0/8'];
  t.same(seen({ unshapedSubnets: except, ...asked }), [
    ['ingress', 16e6, 'veth0', 'ifb', undefined, except],
    ['egress', 24e6, 'veth0', 'ifb', undefined, except],
  ]);
  const bare = { ...PREVIOUS, interfaces: [{ name: 'veth9' }, { name: 'eth0', sandbox: SANDBOX }] };
  t.match(plan({ ingressRate: 8e6 }, bare), [{ dev: 'veth9' }], 'without a bridge');
  const again = {
    ...PREVIOUS,
    interfaces: [...PREVIOUS.interfaces, { name: 'bwp0123456789ab' }, { name: 'ifbabcdefghijkl' }],
  };
  t.same(hostLinks(again), { links: ['br0'], port: 'veth0' }, 'ifbs lead nowhere');
  t.throws(() => plan({ ingressRate: 8e6 }, { ...PREVIOUS, interfaces: [] }), { code: 7 });

  const refused = (config: object) => {
    try {
      validateBandwidth(input<BandwidthConf>(config).config);
    } catch (error) {
      return error instanceof CniError ? error.message : error;
    }
    return undefined;
  };
  t.equal(refused({ ...asked, unshapedSubnets: ['::/0'] }), undefined);
  t.match(refused({ egressRate: 7 }), /egressRate: wanted at least 8 .* found 7/);
  t.match(
    refused({ runtimeConfig: { bandwidth: { ingressBurst: 9 } } }),
    /ingressBurst is 9, but there is no/,
  );
  t.match(refused({ egressRate: 8, egressBurst: 2 ** 36 }), /egressBurst: wanted less than .* 4 GiB/);
  t.match(refused({ shapedSubnets: ['10.0.0.0/33'] }), /shapedSubnets: wanted a prefix .*"10.0.0.0\/33/);
  t.match(refused({ shapedSubnets: ['::/0'], unshapedSubnets: ['::/0'] }), /both set/);
});

t.test('each address has a table, the first of both families the same', async (t) => {
  const plan = (config: object) => sbrPlan(input<SbrConf>({ type: 'sbr', ...config }))[0] as SourceRouteStep;
  const { sources, tables } = plan({});
  t.same(
    sources.map(({ address, gateway, table }) => [address, gateway, table - tables]),
    [
      ['10.1.0.5', '10.1.0.1', 0],
      ['fd00:1::5', 'fd00:1::1', 0],
      ['10.2.0.5', '10.2.0.1', 1],
    ],
  );
  t.match(plan({ gateways: ['fd00:1::9'] }).sources, [{}, { gateway: 'fd00:1::9', fixed: true }, {}]);
  t.match(plan({ table: 5 }), { move: false, sources: [{ table: 5 }, { table: 5 }, { table: 5 }] });
  t.same(
    sbrResult(input<SbrConf>({}), PREVIOUS).routes.map(({ table }) => (table ?? 0) - tables),
    [0, 1, 0, 7 - tables],
  );
  t.same(sbrResult(input<SbrConf>({ table: 5 }), PREVIOUS), PREVIOUS);
});
