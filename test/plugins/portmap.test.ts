/** Published ports, by packets: from wherever somebody may ask, with the source that the container sees. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { render } from '../../plan/engine.ts';
import { portmap } from '../../plugins/portmap/portmap.ts';
import type { PortmapConf } from '../../plugins/portmap/schema.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { type Container, execIn, firewallLines, makeOutside, OUTSIDE, UPLINK } from '../support/host.ts';
import { until } from '../support/until.ts';
import { BRIDGE, makeWorld, type World } from './world.ts';

/** Answers on TCP and UDP port 80, both families, with its name and the address that it was asked from. */
const SERVER = `
const name = process.argv[1], words = (from) => name + ' ' + from.replace('::ffff:', '') + '\\n';
const udp = require('node:dgram').createSocket('udp6');
udp.on('message', (_, { address, port }) => udp.send(words(address), port, address));
udp.bind(80, '::', () => require('node:net').createServer((socket) => socket.on('error', () => {}).end(words(socket.remoteAddress)))
  .listen(80, '::', () => console.log('ready')));`;

async function serve(t: Test, container: Container, name: string): Promise<() => Promise<void>> {
  const child = spawn('nsenter', [`--net=${container.netns}`, '--', process.execPath, '-e', SERVER, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  t.teardown(stop);
  for await (const _ of createInterface({ input: child.stdout })) return stop;
  throw new Error('the server ended');
}

const ASK = {
  tcp: 'exec 3<>"/dev/tcp/$0/$1" && cat <&3',
  udp: 'exec 3<>"/dev/udp/$0/$1" && echo >&3 && head -n 1 <&3',
} as const;

/** What the server says; empty when nobody answers within two seconds. */
async function ask(netns: string, protocol: keyof typeof ASK, address: string, port = 8080): Promise<string> {
  const args = ['2', 'bash', '--norc', '-c', ASK[protocol], address, String(port)];
  return (await execIn(netns, 'timeout', args, { mayFail: true })).stdout.trim();
}

/** UDP may lose a packet: asks up to three times. */
async function answers(
  netns: string,
  protocol: keyof typeof ASK,
  address: string,
  port = 8080,
): Promise<string> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const got = await ask(netns, protocol, address, port);
    if (got !== '') return got;
  }
  return '';
}

const config = (mappings: object[], more: object = {}) => ({
  ...{ cniVersion: '1.1.0', name: BRIDGE.name, type: 'portmap', capabilities: { portMappings: true } },
  ...more,
  runtimeConfig: { portMappings: mappings },
});
const MAPPINGS = [
  { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
  // As containerd's CRI writes it.
  { HostPort: 8080, ContainerPort: 80, Protocol: 'UDP', HostIP: '' },
];

interface Wired {
  container: Container;
  prevResult: { ips: { address: string }[] };
  v4: string;
  v6: string;
}

async function wire(world: World, bridge: object = BRIDGE): Promise<Wired> {
  const container = await world.container();
  const prevResult = await world.add(bridge, container);
  const [v4 = '', v6 = ''] = prevResult.ips.map(({ address }: { address: string }) => address.split('/')[0]);
  return { container, prevResult, v4, v6 };
}

for (const backend of ['nftables', 'iptables'] as const) {
  t.test(`ports by ${backend}, from everywhere`, async (t) => {
    const world = await makeWorld(t);
    const outside = await makeOutside(t, world.host);
    const host = world.host.netns;
    const [a, b] = [await wire(world), await wire(world)];
    await serve(t, a.container, 'a');
    const conf = config(MAPPINGS, { backend });
    const options = { container: a.container, prevResult: a.prevResult };
    t.same((await world.ok('ADD', conf, options)).json.ips, a.prevResult.ips, 'the result is passed on');
    for (const protocol of ['tcp', 'udp'] as const) {
      t.equal(await answers(outside, protocol, UPLINK.v4), `a ${OUTSIDE.v4}`, 'the outside as itself');
      t.equal(await answers(outside, protocol, UPLINK.v6), `a ${OUTSIDE.v6}`);
      t.match(await answers(host, protocol, UPLINK.v4), /^a /, 'the host, by an address of its own');
      t.match(await answers(host, protocol, UPLINK.v6), /^a /);
      t.match(await answers(host, protocol, '127.0.0.1'), /^a 10\.1\.0\.1$/, 'the host, by localhost');
      t.match(await answers(b.container.netns, protocol, '10.1.0.1'), /^a /, 'the container beside it');
      t.match(await answers(b.container.netns, protocol, UPLINK.v6), /^a /);
      t.match(await answers(a.container.netns, protocol, UPLINK.v4), /^a /, 'itself');
    }
    await world.ok('CHECK', conf, options);
    await world.ok('STATUS', conf);
    await world.ok('ADD', conf, options);
    t.equal(await answers(outside, 'tcp', UPLINK.v4), `a ${OUTSIDE.v4}`, 'an ADD may be repeated');

    const taken = await world.call('ADD', config(MAPPINGS.slice(0, 1), { backend }), {
      ...{ container: b.container, prevResult: b.prevResult },
    });
    t.match(taken.json, { code: 104, msg: new RegExp(`tcp 8080 .* container ${a.container.id} \\(eth0`) });
    t.equal(await answers(outside, 'tcp', UPLINK.v4), `a ${OUTSIDE.v4}`, 'the owner keeps it');

    await world.ok('DEL', conf, {
      container: { id: a.container.id, netns: '' },
      prevResult: a.prevResult,
    });
    t.same(await firewallLines(host, a.container.id, b.container.id), []);
    t.equal(await ask(outside, 'tcp', UPLINK.v4), '', 'nobody answers');
    await world.ok('DEL', conf, { container: { id: a.container.id, netns: '' } });
  });

  t.test(`the host's addresses, and UDP that goes on, by ${backend}`, async (t) => {
    const world = await makeWorld(t);
    const outside = await makeOutside(t, world.host);
    const [a, b] = [await wire(world), await wire(world)];
    const stop = await serve(t, a.container, 'a');
    await serve(t, b.container, 'b');
    const bound = config([{ hostPort: 8080, containerPort: 80, hostIP: UPLINK.v4 }], { backend });
    await world.ok('ADD', bound, { container: a.container, prevResult: a.prevResult });
    t.equal(await answers(outside, 'tcp', UPLINK.v4), `a ${OUTSIDE.v4}`);
    t.equal(await ask(outside, 'tcp', UPLINK.v6), '', 'the other family is not published');
    t.equal(await ask(world.host.netns, 'tcp', '127.0.0.1'), '', 'nor another address');

    const udp = config([{ hostPort: 53, containerPort: 80, protocol: 'udp' }], { backend });
    await world.ok('ADD', { ...udp, name: 'other' }, { container: a.container, prevResult: a.prevResult });
    // One socket all the time: the same flow for connection tracking.
    const script = 'exec 3<>"/dev/udp/$0/53"; while sleep 0.1; do echo >&3; head -n 1 <&3; done';
    const client = spawn('nsenter', [
      `--net=${outside}`,
      '--',
      'timeout',
      '60',
      'bash',
      '-c',
      script,
      UPLINK.v4,
    ]);
    // By timeout(1), which ends all of its group; a killed one would leave the rest.
    t.teardown(() => client.kill('SIGTERM'));
    const heard: string[] = [];
    createInterface({ input: client.stdout }).on('line', (line) => heard.push(line));
    await until('a answers', () => heard.includes(`a ${OUTSIDE.v4}`));
    await stop();
    await world.ok('DEL', { ...udp, name: 'other' }, { container: a.container, prevResult: a.prevResult });
    await world.ok('ADD', { ...udp, name: 'other' }, { container: b.container, prevResult: b.prevResult });
    // A question that nobody answered keeps the script waiting: another client, by the same source port, is not needed.
    t.equal(await answers(outside, 'udp', UPLINK.v4, 53), `b ${OUTSIDE.v4}`);
    const { stdout } = await execIn(world.host.netns, 'conntrack', ['-L', '-p', 'udp', '-r', a.v4], {
      mayFail: true,
    });
    t.same(
      stdout.split('\n').filter((line) => line.includes(`src=${a.v4} `)),
      [],
      'no flow leads to the old one',
    );
  });

  t.test(`GC, CHECK and what others remove, by ${backend}`, async (t) => {
    const world = await makeWorld(t);
    const host = world.host.netns;
    const [a, b] = [await wire(world), await wire(world)];
    const first = config([{ hostPort: 8081, containerPort: 80 }], { backend });
    const second = config([{ hostPort: 8082, containerPort: 80 }], { backend });
    await world.ok('ADD', first, { container: a.container, prevResult: a.prevResult });
    await world.ok('ADD', second, { container: b.container, prevResult: b.prevResult });
    const valid = [{ containerID: b.container.id, ifname: 'eth0' }];
    await world.ok('GC', { ...config([]), 'cni.dev/valid-attachments': valid });
    t.same(await firewallLines(host, a.container.id), []);
    t.ok((await firewallLines(host, b.container.id)).length > 0);

    await execIn(host, 'nft', ['flush', 'ruleset']);
    const check = await world.call('CHECK', second, { container: b.container, prevResult: b.prevResult });
    t.match(check.json, { code: 101, msg: /published ports: .*8082/ });
    await world.ok('ADD', second, { container: b.container, prevResult: b.prevResult });
    await world.ok('CHECK', second, { container: b.container, prevResult: b.prevResult });
  });
}

t.test('what cannot be meant', async (t) => {
  const world = await makeWorld(t);
  const a = await wire(world);
  const add = async (conf: object, prevResult: unknown = a.prevResult) =>
    (await world.call('ADD', conf, { container: a.container, prevResult })).json;
  const one = { hostPort: 8080, containerPort: 80 };
  t.match(await add(config([{ ...one, hostPort: 0 }])), { code: 7, msg: /portMappings\[0\]\.hostPort is 0/ });
  t.match(await add(config([{ ...one, protocol: 'icmp' }])), { code: 7, msg: /wanted tcp, udp, sctp/ });
  t.match(await add(config([{ ...one, hostIP: 'here' }])), { code: 7, msg: /hostIP is "here"/ });
  t.match(await add(config([one, { ...one, containerPort: 81 }])), {
    code: 7,
    msg: /\[1\] and \[0\] both want/,
  });
  t.match(await add(config([one], { backend: 'nftables', conditionsV4: ['-s', '10.0.0.0/8'] })), { code: 2 });
  t.match(await add(config([one]), null), { code: 7, msg: /no prevResult/ });
  const { status, log } = await world.call('DEL', config([{ ...one, hostPort: 70000 }]), {
    container: a.container,
  });
  t.match([status, log], [0, [/hostPort: found 70000/]]);
  t.equal(log.length, 1, 'said once');
  t.same((await add(config([]))).ips, a.prevResult.ips, 'nothing to publish is no mistake');
  t.same(await firewallLines(world.host.netns, a.container.id), []);
});

t.test('as a person would type it', async (t) => {
  const a = { containerId: 'c1', ifname: 'eth0', network: 'net', netns: '/run/netns/c1' };
  const prevResult = {
    interfaces: [{ name: 'br0' }, { name: 'veth1' }, { name: 'eth0', sandbox: a.netns }],
    ips: [{ address: '10.1.0.2/24', interface: 2 }],
    ...{ routes: [], dns: {} },
  };
  const { paths } = realAmbient({});
  const conf = { ...config([{ hostPort: 8080, containerPort: 80, hostIP: '192.0.2.1' }]) } as PortmapConf;
  const lines = (more: Partial<PortmapConf>) =>
    render(portmap.plan({ config: { ...conf, ...more }, attachment: a, prevResult, args: {}, paths }), {
      netns: a.netns,
      masquerade: () => [],
    });
  const nft = lines({});
  for (const line of [
    `nft 'add element inet weft-ports bound4 { 192.0.2.1 . tcp . 8080 comment "net c1 eth0" : 10.1.0.2 . 80 }'`,
    `nft 'add element inet weft-ports own4 { 10.1.0.2 . 10.1.0.2 comment "net c1 eth0" }'`,
    `nft 'add element inet weft-ports near4 { 10.1.0.2 . "br0" . "br0" comment "net c1 eth0" }'`,
    'ip link set veth1 type bridge_slave hairpin on',
    'sysctl -w net/ipv4/conf/br0/route_localnet=1',
  ]) {
    t.ok(nft.includes(line), line);
  }
  const marked = lines({ externalSetMarkChain: 'KUBE-MARK-MASQ', conditionsV4: ['-s', '10.0.0.0/8'] });
  const rule = '-d 192.0.2.1/32 -p tcp -m tcp --dport 8080';
  const owner = '-m comment --comment "net c1 eth0"';
  for (const line of [
    `iptables -t nat -A WEFT-PORTS -s 10.1.0.0/24 ${rule} ${owner} -j KUBE-MARK-MASQ`,
    `iptables -t nat -A WEFT-PORTS ${rule} -s 10.0.0.0/8 ${owner} -j DNAT --to-destination 10.1.0.2:80`,
  ]) {
    t.ok(marked.includes(line), line);
  }
  t.notOk(
    marked.some((line) => line.includes('MASQUERADE')),
    'whoever marks masquerades',
  );
  t.notMatch(lines({ snat: false }).join('\n'), /own4 \{ 10|route_localnet|hairpin on/);
});
