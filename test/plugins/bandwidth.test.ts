/** What a container may send and receive, by packets, and by what `tc` shows. */
import { createHash } from 'node:crypto';
import t from 'tap';
import { render } from '../../plan/engine.ts';
import { bandwidth } from '../../plugins/bandwidth/bandwidth.ts';
import type { BandwidthConf } from '../../plugins/bandwidth/schema.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { wayUnderTest } from '../support/agent.ts';
import { execIn, ip, makeOutside, OUTSIDE, UPLINK } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BRIDGE, makeWorld, type World } from './world.ts';

/** What the kernel does with what is made does not depend on who made it. */
const HERE = wayUnderTest() ? { skip: 'shown where the plugin runs in this process' } : {};
/** Bits per second, and bits. */
const RATE = 16_000_000;
const BURST = 400_000;
const config = (more: object = {}) => ({
  ...{ cniVersion: '1.1.0', name: BRIDGE.name, type: 'bandwidth', capabilities: { bandwidth: true } },
  ...more,
});
const BOTH = { ingressRate: RATE, ingressBurst: BURST, egressRate: RATE / 2, egressBurst: BURST };

// biome-ignore lint/suspicious/noExplicitAny: the output of another program, whose shape the assertion is about
async function tc(netns: string, ...args: string[]): Promise<any[]> {
  return JSON.parse((await execIn(netns, 'tc', ['-j', ...args])).stdout || '[]');
}

/** `link: kind rate burst` of the buckets on a host, sorted. */
async function buckets({ host }: World): Promise<string[]> {
  const found = await tc(host.netns, 'qdisc', 'show');
  return found
    .filter(({ kind }) => kind === 'tbf')
    .map(({ dev, options }) => `${dev}: ${options.rate * 8} ${options.burst}`)
    .sort();
}

async function transfer(from: string, to: string, address: string, ...args: string[]) {
  const server = execIn(to, 'iperf3', ['-s', '-1']);
  await until('a server listens', async () =>
    (await execIn(to, 'ss', ['-Hltn', 'sport = :5201'])).stdout.includes('5201'),
  );
  const begin = performance.now();
  const { stdout } = await execIn(from, 'iperf3', ['-c', address, '-J', ...args]);
  const seconds = (performance.now() - begin) / 1000;
  await server;
  return { bytes: JSON.parse(stdout).end.sum_received.bytes as number, seconds };
}

t.test('by packets: both ways, both families, but for what is exempt', HERE, async (t) => {
  const world = await makeWorld(t);
  const outside = await makeOutside(t, world.host);
  const EXEMPT = { v4: '198.51.100.99', v6: '2001:db8:ff::99' };
  for (const [address, ...more] of [[`${EXEMPT.v4}/24`], [`${EXEMPT.v6}/64`, 'nodad']] as const)
    await execIn(outside, 'ip', ['addr', 'add', address, 'dev', 'uplink', ...more]);
  await execIn(outside, 'ip', ['route', 'add', '10.1.0.0/24', 'via', UPLINK.v4]);
  await execIn(outside, 'ip', ['route', 'add', 'fd00:1::/64', 'via', UPLINK.v6]);
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const unshapedSubnets = ['198.51.100.64/26', '2001:db8:ff::99/128'];
  await world.ok('ADD', config({ ...BOTH, unshapedSubnets }), { container, prevResult });

  // On a busy machine it takes longer, never shorter: bytes pass by the burst and by the rate, and a start of iperf3 takes time as well.
  const limited = async (rate: number, address: string, ...args: string[]) => {
    const { bytes, seconds } = await transfer(container.netns, outside, address, '-n', '1M', ...args);
    t.ok(bytes > 0, `${bytes} bytes came through`);
    const most = BURST / 8 + (rate / 8) * seconds;
    t.ok(bytes <= most, `${bytes} bytes in ${seconds} s to ${address} ${args.join(' ')}, at most ${most}`);
  };
  await limited(RATE / 2, OUTSIDE.v4);
  await limited(RATE / 2, OUTSIDE.v6);
  await limited(RATE, OUTSIDE.v4, '-R');
  await limited(RATE, OUTSIDE.v6, '-R');
  // 30 MB would take 15 and 30 seconds.
  for (const address of Object.values(EXEMPT)) {
    for (const [way, rate] of [[[], RATE / 2] as const, [['-R'], RATE] as const]) {
      const { bytes, seconds } = await transfer(container.netns, outside, address, '-n', '30M', ...way);
      t.ok(bytes > (BURST + rate * seconds) / 8, `${bytes} bytes in ${seconds} s with ${address}`);
    }
  }
  const shaped = (await tc(world.host.netns, '-s', 'qdisc', 'show')).filter(({ kind }) => kind === 'tbf');
  t.equal(shaped.length, 2);
  for (const { dev, overlimits } of shaped) t.ok(overlimits > 0, `${dev} held packets back`);
});

t.test('the verbs, and what tc shows', async (t) => {
  const world = await makeWorld(t);
  const { netns } = world.host;
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const port = prevResult.interfaces[1].name;
  const bare = await world.hostLinks();
  const options = { container, prevResult };
  await world.ok('STATUS', config(BOTH));
  t.same((await world.ok('ADD', config(), options)).json, prevResult, 'nothing is asked');

  const { json: result } = await world.ok('ADD', config(BOTH), options);
  const ifb = result.interfaces.at(-1).name;
  t.match(ifb, /^ifb[a-z2-7]{12}$/);
  t.same(await world.hostLinks(), [...bare, ifb].sort());
  t.match((await ip(netns, 'link', 'show', ifb))[0], {
    ifalias: `weft ${BRIDGE.name} ${container.id} eth0`,
    flags: ['BROADCAST', 'NOARP', 'UP', 'LOWER_UP'],
    mtu: 1500,
  });
  const expected = [`${ifb}: ${RATE / 2} ${BURST / 8}`, `${port}: ${RATE} ${BURST / 8}`];
  t.same(await buckets(world), expected);
  const now = { container, prevResult: result };
  await world.ok('CHECK', config(BOTH), now);
  await world.ok('CHECK', BRIDGE, now);
  await world.ok('ADD', config(BOTH), options);
  t.same(await buckets(world), expected, 'an ADD may be repeated');
  t.equal(
    (await tc(netns, 'filter', 'show', 'dev', port, 'ingress')).length,
    3,
    'one filter, its table and its head',
  );

  // Go's spelling, and the burst that runtimes write when nobody asked for one.
  const cri = { IngressRate: 1e6, IngressBurst: 2 ** 31 - 1, EgressRate: 1e9, EgressBurst: 2 ** 32 - 1 };
  await world.ok('ADD', config({ runtimeConfig: { bandwidth: cri } }), options);
  t.same(await buckets(world), [`${ifb}: 1000000000 1250000`, `${port}: 1000000 16384`]);
  await world.ok('ADD', config(BOTH), options);

  const differs = async (words: RegExp, ...lines: string[][]) => {
    for (const [program = '', ...args] of lines) await execIn(netns, program, args);
    t.match((await world.call('CHECK', config(BOTH), now)).json, { code: 101, msg: words });
    await world.ok('ADD', config(BOTH), options);
    await world.ok('CHECK', config(BOTH), now);
  };
  const change = ['tc', 'qdisc', 'change', 'dev', port, 'root', 'handle', '7765:'];
  await differs(
    new RegExp(
      `token bucket on ${port} .* receives by ${port}: wanted 16000000 bit/s .*, found 8000000 bit/s`,
    ),
    [...change, 'tbf', 'rate', '8mbit', 'burst', '50000', 'limit', '60000'],
  );
  await differs(/wanted present, found noqueue/, ['tc', 'qdisc', 'del', 'dev', port, 'root']);
  await differs(/filters on veth.* sends by veth.*found nothing/, [
    'tc',
    'filter',
    'del',
    'dev',
    port,
    'ingress',
  ]);
  await differs(new RegExp(`link ${ifb} on the host.*found no such link`), ['ip', 'link', 'del', ifb]);

  // The same network a second time: another link, and other buckets.
  const second = { container, ifname: 'eth1' };
  const other = await world.add(BRIDGE, container, second);
  const { json: both } = await world.ok('ADD', config(BOTH), { ...second, prevResult: other });
  t.equal((await buckets(world)).length, 4);
  await world.ok('CHECK', config(BOTH), now);
  await world.ok('DEL', config(), { container: { id: container.id, netns: '' }, ifname: 'eth1' });
  t.same(await buckets(world), expected, 'without namespace, previous result and limits');
  t.notOk((await world.hostLinks()).includes(both.interfaces.at(-1).name));
  await world.ok('DEL', config(BOTH), now);
  t.same(await buckets(world), []);
  t.same(await world.hostLinks(), [...bare, other.interfaces[1].name].sort());
  t.same(await tc(netns, 'filter', 'show', 'dev', port, 'ingress'), []);
  await world.ok('DEL', config(BOTH), now);
});

t.test('GC, what others did, and what fails', async (t) => {
  const world = await makeWorld(t);
  const { netns } = world.host;
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const port = prevResult.interfaces[1].name;
  const options = { container, prevResult };
  const links = await world.hostLinks();
  await world.ok('ADD', config(BOTH), options);
  const add = async (more: object) => (await world.call('ADD', config(more), options)).json;

  const gc = async (name: string, ids: string[]) => {
    const valid = ids.map((containerID) => ({ containerID, ifname: 'eth0' }));
    const { log } = await world.ok('GC', { ...config(), name, 'cni.dev/valid-attachments': valid });
    return log.filter((line) => line.includes('removed'));
  };
  t.same(await gc(BRIDGE.name, [container.id]), []);
  t.same(await gc('othernet', []), []);
  t.match(await gc(BRIDGE.name, []), [/removed link ifb.* \(weft mynet .* eth0\)/]);
  t.same(await world.hostLinks(), links);

  await world.ok('DEL', config(BOTH), options);
  await execIn(netns, 'tc', ['qdisc', 'add', 'dev', port, 'root', 'handle', '9:', 'htb']);
  t.match(await add({ ...BOTH, egressRate: 0, egressBurst: 0 }), {
    code: 104,
    msg: /queueing discipline of somebody else/,
  });
  t.match(await add(BOTH), { code: 104 });
  t.same(await world.hostLinks(), links, 'what fails leaves nothing');
  t.same(await buckets(world), []);
  t.match(await tc(netns, 'qdisc', 'show', 'dev', port, 'root'), [{ kind: 'htb', handle: '9:' }]);
  await execIn(netns, 'tc', ['qdisc', 'del', 'dev', port, 'root']);
  t.match(await add({ ingressBurst: 5 }), { code: 7, msg: /there is no ingressRate/ });
  t.match(await add({ egressRate: -1 }), { code: 7, msg: /egressRate/ });
  t.match(await add({ ...BOTH, unshapedSubnets: ['10.0.0.0/33'] }), {
    code: 7,
    msg: /unshapedSubnets.*10.0.0.0\/33/,
  });
  t.match(await add({ ...BOTH, unshapedSubnets: ['::/0'], shapedSubnets: ['::/0'] }), {
    code: 7,
    msg: /both set/,
  });
  const inside = prevResult.interfaces.slice(2);
  const alone = { ...prevResult, interfaces: inside, ips: [] };
  t.match((await world.call('ADD', config(BOTH), { container, prevResult: alone })).json, {
    ...{ code: 7, msg: /named no link of the host/ },
  });

  // Made by the reference, before this node changed over.
  const name = `bwp${createHash('sha512').update(`${BRIDGE.name}${container.id}`).digest('hex').slice(0, 12)}`;
  const theirs = { ...config(BOTH), cniVersion: '1.0.0' };
  const { stdout } = await world.host.exec('/usr/lib/cni/bandwidth', [], {
    env: {
      ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: container.id, CNI_NETNS: container.netns },
      ...{ CNI_IFNAME: 'eth0', CNI_PATH: '/usr/lib/cni' },
    },
    input: JSON.stringify({ ...theirs, prevResult: { ...prevResult, cniVersion: '1.0.0' } }),
  });
  t.same(await world.hostLinks(), [...links, name].sort());
  await world.ok('CHECK', theirs, { container, prevResult: JSON.parse(stdout) });
  await world.ok('DEL', theirs, { container: { id: container.id, netns: '' } });
  t.same(await world.hostLinks(), links);
});

t.test('what is printed is what is done', HERE, async (t) => {
  const world = await makeWorld(t);
  const { netns } = world.host;
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  const port = prevResult.interfaces[1].name;
  for (const more of [
    {},
    { unshapedSubnets: ['10.9.0.0/16', 'fd00:9::/64'] },
    { shapedSubnets: ['10.9.0.0/16', 'fd00:9::/60'] },
  ]) {
    const conf = config({ ...BOTH, ...more });
    const state = async () => {
      const all = [
        ...(await tc(netns, 'qdisc', 'show')),
        ...(await tc(netns, 'filter', 'show', 'dev', port, 'ingress')),
        ...(await tc(netns, 'filter', 'show', 'dev', port, 'egress')),
      ];
      return JSON.stringify(all).replace(/"(?:index|ref|bind|refcnt)":\d+,?/g, '');
    };
    await world.ok('ADD', conf, { container, prevResult });
    const made = await state();
    await world.ok('DEL', conf, { container, prevResult });
    const lines = render(
      bandwidth.plan({
        ...{ config: conf as unknown as BandwidthConf, prevResult, args: {}, paths: realAmbient({}).paths },
        attachment: {
          containerId: container.id,
          ifname: 'eth0',
          netns: container.netns,
          network: BRIDGE.name,
        },
      }),
      { netns: container.netns, masquerade: () => [] },
    );
    await execIn(netns, 'sh', ['-ec', lines.join('\n')]);
    t.equal(await state(), made, lines.join('\n'));
    await world.ok('DEL', conf, { container, prevResult });
  }
});
