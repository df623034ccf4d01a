/** containerd's Container Runtime Interface: how Kubernetes makes and removes the network of a pod. */
import t from 'tap';
import { bridgeConflist, installConflist } from '../support/conflist.ts';
import {
  cachedResults,
  execIn,
  firewallLines,
  type Host,
  leases,
  links,
  makeHost,
  makeOutside,
  OUTSIDE,
  ping,
  SILENCE,
  type Teardown,
} from '../support/host.ts';
import { calls, expectWay, fillBin } from '../support/plugins.ts';
import { until } from '../support/until.ts';
import { startContainerd } from './containerd.ts';
import { connectCri } from './cri.ts';

/** Makes the runtime hand its port mappings and name servers to the bridge, too, in Go's spelling and with nulls. */
const CAPABLE = { capabilities: { portMappings: true, dns: true } };
const PORTMAP = { type: 'portmap', capabilities: { portMappings: true } };
const BANDWIDTH = { type: 'bandwidth', capabilities: { bandwidth: true } };

/** What `tc -j` says of a token bucket: bytes per second, bytes. */
interface Bucket {
  options: { rate: number; burst: number };
}

async function setUp(t: Teardown, ranges?: object[][]) {
  const host = await makeHost(t);
  const outside = await makeOutside(t, host);
  await fillBin(host, { record: true });
  await installConflist(
    host,
    bridgeConflist({ ...(ranges && { ranges }), extra: CAPABLE, chained: [PORTMAP, BANDWIDTH] }),
  );
  const { address } = await startContainerd(host, 'k8s.io');
  const cri = await connectCri(t, host, address);
  await until('the runtime finds its network ready', async () => (await cri.networkFault()) === undefined);
  return { host, outside, cri };
}

/** What no pod may leave behind: leases, cached results, host ends of veth pairs. */
const footprint = async (host: Host) => ({
  leases: await leases(host),
  results: await cachedResults(host),
  links: (await links(host.netns)).filter((name) => !['lo', 'uplink', 'weft0'].includes(name)),
});
const NOTHING = { leases: [], results: [], links: [] };

t.test('pods come, are reached, and go', async (t) => {
  const { host, outside, cri } = await setUp(t);

  await t.test('one pod, stopped twice', async (t) => {
    const pod = await cri.run('web', { hostPort: 8080 });
    t.equal(pod.addresses.length, 2, 'the runtime reports an address of each family');
    t.strictSame(
      await leases(host),
      pod.addresses.map((address) => `weftnet/${address}`),
    );
    for (const address of pod.addresses) t.ok(await ping(host.netns, address), `${address} answers`);
    const ports = await firewallLines(host.netns, 'tcp . 8080', 'dport 8080');
    t.ok(ports.length > 0, 'the plugin that follows in the chain published the port');
    const made = (await calls(host)).filter((call) => call.containerId === pod.id && call.type === 'bridge');
    t.match(made, [{ command: 'ADD', args: /IgnoreUnknown=1/ }]);
    t.match(made, [{ args: /K8S_POD_NAME=web/ }]);
    const loopback = (await calls(host)).filter((call) => call.type === 'loopback');
    t.match(
      loopback,
      [{ command: 'ADD', containerId: pod.id, ifname: 'lo' }],
      'the runtime brings its own loopback',
    );

    await cri.stop(pod.id);
    t.strictSame(await footprint(host), NOTHING);
    t.strictSame(await firewallLines(host.netns, pod.id, ...pod.addresses), []);
    await cri.stop(pod.id);
    await cri.remove(pod.id);
    const dels = (await calls(host)).filter((call) => call.containerId === pod.id && call.command === 'DEL');
    t.match(
      dels.filter((call) => call.type === 'bridge'),
      [{ netns: /./ }, { netns: '' }],
      'the second stop came without a namespace',
    );

    const again = await cri.run('web');
    await cri.stop(again.id);
    await cri.remove(again.id);
    t.strictSame(await footprint(host), NOTHING, 'the name was free again');
  });

  await t.test('a pod whose bandwidth is limited', async (t) => {
    const limits = { 'kubernetes.io/ingress-bandwidth': '1M', 'kubernetes.io/egress-bandwidth': '1G' };
    const pod = await cri.run('slow', { annotations: limits });
    for (const address of pod.addresses) t.ok(await ping(host.netns, address), `${address} answers`);
    const shown = await execIn(host.netns, 'tc', ['-j', 'qdisc', 'show']);
    const buckets = JSON.parse(shown.stdout).filter(({ kind }: { kind: string }) => kind === 'tbf');
    t.match(
      buckets.sort((a: Bucket, b: Bucket) => a.options.rate - b.options.rate),
      [
        { dev: /^veth/, options: { rate: 1_000_000 / 8, burst: 16384 } },
        { dev: /^ifb/, options: { rate: 1_000_000_000 / 8, burst: 1_250_000 } },
      ],
      'nobody asked for a burst: it is ours, not the 512 MB that the runtime writes',
    );
    await cri.stop(pod.id);
    await cri.remove(pod.id);
    t.strictSame(await footprint(host), NOTHING);
  });

  await t.test('ten pods at once', async (t) => {
    const names = Array.from({ length: 10 }, (_, index) => `many-${index}`);
    const pods = await Promise.all(names.map((name) => cri.run(name)));
    const addresses = pods.flatMap((pod) => pod.addresses);
    t.equal(new Set(addresses).size, 20, 'no address was given twice');
    t.strictSame(await leases(host), addresses.map((address) => `weftnet/${address}`).sort());
    const answers = await Promise.all(addresses.map((address) => ping(host.netns, address)));
    t.ok(answers.every(Boolean), 'each of them answers');
    t.notOk(await ping(outside, addresses[0] ?? '', SILENCE), 'the outside has no way in');
    t.ok(await ping(host.netns, OUTSIDE.v4));

    await Promise.all(pods.map((pod) => cri.stop(pod.id).then(() => cri.remove(pod.id))));
    t.strictSame(await footprint(host), NOTHING);
    t.strictSame(await firewallLines(host.netns, ...pods.map((pod) => pod.id), ...addresses), []);
  });
  await expectWay(t, host);
});

t.test('an ADD that fails is cleaned up, and the name can be used again', async (t) => {
  // One address for containers: .1 is the gateway.
  const { host, cri } = await setUp(t, [[{ subnet: '10.78.0.0/30', gateway: '10.78.0.1' }]]);
  const first = await cri.run('first');
  t.strictSame(first.addresses, ['10.78.0.2']);

  await t.rejects(cri.run('second'), { message: /weftnet|10\.78\.0/ }, 'the range is exhausted');
  const failed = (await calls(host)).filter(
    (call) => call.type === 'bridge' && call.containerId !== first.id,
  );
  t.strictSame(
    failed.map((call) => call.command),
    ['ADD', 'DEL'],
    'the runtime took back what it asked for',
  );
  const portmap = (await calls(host)).filter(
    (call) => call.type === 'portmap' && call.containerId !== first.id,
  );
  t.match(portmap, [{ command: 'DEL' }], 'also from the plugin that never ran');
  t.strictSame(await leases(host), ['weftnet/10.78.0.2'], 'the first pod keeps its address');
  t.ok(await ping(host.netns, '10.78.0.2'));

  await cri.stop(first.id);
  await cri.remove(first.id);
  const second = await cri.run('second');
  t.strictSame(second.addresses, ['10.78.0.2'], 'the address and the name are free again');
  await cri.stop(second.id);
  await cri.remove(second.id);
  t.strictSame(await footprint(host), NOTHING);
  await expectWay(t, host);
});
