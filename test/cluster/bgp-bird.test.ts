/** Three simulated hosts on a wire with real BIRD: what `ip route` shows, and what it shows after bad things. */
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { BgpController, type Session } from '../../cluster/bgp/bird.ts';
import { BGP_ROUTE } from '../../cluster/bgp/bird-config.ts';
import type { ClusterNetwork } from '../../cluster/network.ts';
import type { Member } from '../../cluster/registry.ts';
import { execIn, ip, makeHost, type Teardown } from '../support/host.ts';
import { until } from '../support/until.ts';

const NETWORK: ClusterNetwork = {
  name: 'pods',
  backend: 'bgp',
  pools: [
    { prefix: '10.244.0.0/16', blockLength: 24 },
    { prefix: 'fd00:244::/48', blockLength: 64 },
  ],
  bgp: { daemon: 'bird', asn: 64512, reflectors: [] },
};

interface Node {
  member: Member;
  netns: string;
  runDir: string;
  controller: BgpController;
  lines: string[];
  /** Another controller of the same folder: the agent has been started again. */
  anew(): BgpController;
}

/** As many hosts as asked for, each with a BIRD of its own; the wire is a bridge. */
async function nodes(t: Teardown, count: number): Promise<Node[]> {
  const wire = await makeHost(t);
  await execIn(wire.netns, 'ip', ['link', 'add', 'wire', 'type', 'bridge']);
  await execIn(wire.netns, 'ip', ['link', 'set', 'wire', 'up']);
  const made: Node[] = [];
  for (let n = 1; n <= count; n += 1) {
    const { netns } = await wire.container();
    const port = `port${n}`;
    await execIn(netns, 'ip', [
      'link',
      'add',
      'eth0',
      'type',
      'veth',
      'peer',
      'name',
      port,
      'netns',
      wire.netns.slice('/run/netns/'.length),
    ]);
    await execIn(wire.netns, 'ip', ['link', 'set', port, 'master', 'wire', 'up']);
    await execIn(netns, 'ip', ['address', 'add', `192.0.2.${n}/24`, 'dev', 'eth0']);
    await execIn(netns, 'ip', ['address', 'add', `2001:db8::${n}/64`, 'dev', 'eth0', 'nodad']);
    await execIn(netns, 'ip', ['link', 'set', 'eth0', 'up']);
    const member = {
      host: `host-${n}`,
      addresses: [`192.0.2.${n}`, `2001:db8::${n}`],
      subnets: [`10.244.${n}.0/24`, `fd00:244:0:${n}::/64`],
    };
    made.push(node(t, { member, netns, runDir: join(wire.root, `n${n}`) }, n === 3 ? 1000 : undefined));
  }
  return made;
}

/** A host that stands, with a controller whose BIRD ends with the test. Only the third, which is made to hang, has little patience. */
function node(t: Teardown, place: Pick<Node, 'member' | 'netns' | 'runDir'>, patience?: number): Node {
  const { netns, runDir } = place;
  const lines: string[] = [];
  const say = (fields: object, message: string) => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const anew = () =>
    new BgpController({
      runDir,
      log: { info: say, warn: say },
      command: ['nsenter', `--net=${netns}`, 'bird'],
      interval: 100,
      ...(patience !== undefined && { patience }),
    });
  const controller = anew();
  t.teardown(async () => {
    await controller.close();
    const pid = pidOf(runDir);
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  });
  return { ...place, controller, lines, anew };
}

function pidOf(runDir: string): number | undefined {
  const file = join(runDir, 'bird', 'bird.pid');
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
}

const announce = (all: readonly Node[], network = NETWORK, members = all.map(({ member }) => member)) =>
  Promise.all(all.map(({ controller, member }) => controller.update(network, member, members)));

/** `10.244.2.0/24 via 192.0.2.2`, those of BIRD with our metric. */
async function learned({ netns }: Node): Promise<string[]> {
  const routes = [...(await ip(netns, 'route')), ...(await ip(netns, '-6', 'route'))];
  return routes
    .filter(({ protocol, metric }) => protocol === 'bird' && metric === BGP_ROUTE.metric)
    .map(({ dst, gateway, via }) => `${dst} via ${gateway ?? via?.host}`)
    .sort();
}

const expected = (...others: number[]) =>
  others
    .flatMap((n) => [`10.244.${n}.0/24 via 192.0.2.${n}`, `fd00:244:0:${n}::/64 via 2001:db8::${n}`])
    .sort();

async function shows(node: Node, wanted: readonly string[]): Promise<void> {
  let found: string[] = [];
  try {
    await until(`${node.member.host} has the routes`, async () => {
      found = await learned(node);
      return found.join() === wanted.join();
    });
  } catch (error) {
    throw new Error(`wanted ${wanted.join(', ')}; found ${found.join(', ')}\n${node.lines.join('\n')}`, {
      cause: error,
    });
  }
}

const peersUp = (sessions: readonly Session[]) =>
  sessions.filter(({ established }) => established).map(({ peer }) => peer);

t.test('a full mesh', async (t) => {
  const all = await nodes(t, 3);
  const [one, two, three] = all as [Node, Node, Node];
  await execIn(one.netns, 'ip', [
    'route',
    'add',
    '10.244.9.0/24',
    'via',
    '192.0.2.99',
    'proto',
    'bird',
    'metric',
    '55',
  ]);
  await execIn(one.netns, 'ip', ['route', 'add', '10.244.8.0/24', 'via', '192.0.2.99']);
  const foreign = () => ip(one.netns, 'route', 'list', 'via', '192.0.2.99');
  const before = await foreign();
  await announce(all);
  await t.test('routes appear', async (t) => {
    await shows(one, expected(2, 3));
    await shows(two, expected(1, 3));
    await shows(three, expected(1, 2));
    let sessions: Session[] = [];
    await until('all is told', async () => {
      sessions = await one.controller.sessions();
      return sessions.every(({ imported, exported }) => imported === 1 && exported === 1);
    });
    t.same(peersUp(sessions), ['host-2', 'host-2', 'host-3', 'host-3']);
    t.ok(sessions.every(({ since, error }) => Date.now() - since < 3_600_000 && error === undefined));
    t.equal(one.controller.problem, undefined);
  });

  await t.test('BIRD is killed: it is started again, and the routes stay meanwhile', async (t) => {
    const pid = pidOf(two.runDir) ?? 0;
    const lost: string[] = [];
    process.kill(pid, 'SIGKILL');
    await until('its sessions are back', async () => {
      const here = await learned(two);
      const there = await learned(one);
      if (here.join() !== expected(1, 3).join()) lost.push(`on host-2: ${here.join()}`);
      if (there.join() !== expected(2, 3).join()) lost.push(`on host-1: ${there.join()}`);
      return pidOf(two.runDir) !== pid && peersUp(await two.controller.sessions()).length === 4;
    });
    t.same(lost, []);
    await shows(two, expected(1, 3));
    await shows(one, expected(2, 3));
    t.match(two.lines.join('\n'), /BIRD has ended: it is started again/);
  });

  await t.test('BIRD hangs: another takes its place, and the routes stay', async (t) => {
    const pid = pidOf(three.runDir) ?? 0;
    process.kill(pid, 'SIGSTOP');
    await until('another BIRD runs', () => ![undefined, pid].includes(pidOf(three.runDir)));
    t.throws(() => process.kill(pid, 0));
    await until('its sessions are back', async () => peersUp(await three.controller.sessions()).length === 4);
    await shows(three, expected(1, 2));
    await shows(one, expected(2, 3));
  });

  await t.test('the agent is started again: it finds the BIRD that runs', async (t) => {
    const pid = pidOf(two.runDir);
    await two.controller.close();
    await shows(two, expected(1, 3));
    const next = two.anew();
    t.teardown(() => next.close());
    await next.update(
      NETWORK,
      two.member,
      all.map(({ member }) => member),
    );
    t.equal(pidOf(two.runDir), pid);
    t.equal(peersUp(await next.sessions()).length, 4, 'no session was lost by that');
  });

  await t.test('a member leaves: its routes go, and the sessions of others stay', async (t) => {
    const since = async () =>
      (await one.controller.sessions())
        .filter(({ peer }) => peer === 'host-2')
        .map((session) => session.since);
    const at = await since();
    await one.controller.update(NETWORK, one.member, [one.member, two.member]);
    await shows(one, expected(2));
    t.same(await since(), at);
  });

  await t.test('a route that somebody deletes comes back', async () => {
    await execIn(one.netns, 'ip', ['route', 'del', '10.244.2.0/24']);
    await shows(one, expected(2));
  });

  await t.test(
    'the last network goes: no route of ours, no BIRD, no file; what others made is there',
    async (t) => {
      const pid = pidOf(one.runDir) ?? 0;
      await one.controller.remove(NETWORK.name);
      t.same(await learned(one), []);
      t.throws(() => process.kill(pid, 0));
      t.notOk(existsSync(join(one.runDir, 'bird')));
      t.same(await foreign(), before, 'also one of BIRD with another metric');
    },
  );
});

t.test('by a route reflector, of which no host is told by the others', async () => {
  const all = await nodes(t, 3);
  const [one, two, three] = all as [Node, Node, Node];
  await announce(all, { ...NETWORK, bgp: { daemon: 'bird', asn: 64512, reflectors: ['192.0.2.1'] } });
  await shows(two, expected(1, 3));
  await shows(three, expected(1, 2));
  await shows(one, expected(2, 3));
  t.same(
    (await two.controller.sessions()).map(({ peer }) => peer),
    ['host-1', 'host-1'],
  );
});

t.test('hosts with IPv6 alone', async (t) => {
  const all = await nodes(t, 2);
  const [one, two] = all as [Node, Node];
  const members = all.map(({ member }) => ({ ...member, addresses: member.addresses.slice(1) }));
  await Promise.all(
    all.map(({ controller }, n) => controller.update(NETWORK, members[n] as Member, members)),
  );
  const wanted = (n: number) => expected(n).map((line) => line.replace(/192\.0\.2\./, '2001:db8::'));
  await shows(one, wanted(2));
  await shows(two, wanted(1));
});

t.test('BIRD is missing, or does not take its configuration', async (t) => {
  const host = await makeHost(t);
  const lines: string[] = [];
  const say = (fields: object, message: string) => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const options = { runDir: host.dirs.run, log: { info: say, warn: say } };
  const member: Member = { host: 'a', addresses: ['192.0.2.1'], subnets: ['10.244.1.0/24'] };
  const missing = new BgpController({ ...options, command: ['no-such-bird'] });
  t.teardown(() => missing.close());
  await t.rejects(missing.update(NETWORK, member, [member]), {
    code: 105,
    message:
      /no-such-bird, which shall announce the routes of this host, does not start: it is not installed \(Debian: bird2\)/,
  });
  t.match(missing.problem, /is not installed/);
  await until('it is tried again', () => lines.length > 0);
  const failing = new BgpController({ ...options, command: ['sh', '-c', 'echo bird: cannot >&2; exit 3'] });
  t.teardown(() => failing.close());
  await t.rejects(failing.update(NETWORK, member, [member]), { message: /does not start: bird: cannot/ });
});

const ROUTER = `router id 192.0.2.254;
protocol device { }
protocol direct { ipv4; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
template bgp reflected { local as 64512; rr client; connect delay time 1; connect retry time 1; ipv4 { import all; export where source = RTS_BGP; }; }
protocol bgp one from reflected { neighbor 192.0.2.1 as 64512; }
protocol bgp two from reflected { neighbor 198.51.100.1 as 64512; }
`;

t.test(
  'hosts on two subnets, by a router that reflects: the next hop is found by way of the default route',
  async (t) => {
    const router = await makeHost(t);
    const hosts = ['192.0.2', '198.51.100'] as const;
    for (const subnet of hosts) {
      const { netns } = await router.container();
      const n = hosts.indexOf(subnet) + 1;
      const name = router.netns.slice('/run/netns/'.length);
      const inside = (...words: string[]) => execIn(netns, 'ip', words);
      await inside('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `to${n}`, 'netns', name);
      await inside('address', 'add', `${subnet}.1/24`, 'dev', 'eth0');
      await inside('link', 'set', 'eth0', 'up');
      await execIn(router.netns, 'ip', ['address', 'add', `${subnet}.254/24`, 'dev', `to${n}`]);
      await execIn(router.netns, 'ip', ['link', 'set', `to${n}`, 'up']);
      await inside('route', 'add', 'default', 'via', `${subnet}.254`);
      await inside('address', 'add', `10.244.${n}.1/32`, 'dev', 'lo');
    }
    await execIn(router.netns, 'sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1']);
    await writeFile(join(router.root, 'router.conf'), ROUTER);
    await router.daemon('router', 'bird', [
      '-f',
      '-c',
      join(router.root, 'router.conf'),
      '-s',
      join(router.root, 'router.ctl'),
    ]);
    const all = hosts.map((subnet, i): Node => {
      const netns = `${router.netns}-c${i + 1}`;
      const member = { host: `host-${i + 1}`, addresses: [`${subnet}.1`], subnets: [`10.244.${i + 1}.0/24`] };
      return node(t, { member, netns, runDir: join(router.root, `n${i + 1}`) });
    });
    const pools = NETWORK.pools.slice(0, 1);
    const reflectors = ['192.0.2.254', '198.51.100.254'];
    await announce(all, { ...NETWORK, pools, bgp: { daemon: 'bird', asn: 64512, reflectors } });
    const [one, two] = all as [Node, Node];
    await shows(one, ['10.244.2.0/24 via 192.0.2.254']);
    await shows(two, ['10.244.1.0/24 via 198.51.100.254']);
    await until(
      'a packet goes there and back',
      async () => await pings(one.netns, '10.244.1.1', '10.244.2.1'),
    );
  },
);

async function pings(netns: string, from: string, to: string): Promise<boolean> {
  const args = ['-n', '-q', '-c', '1', '-w', '3', '-I', from, to];
  return (await execIn(netns, 'ping', args, { mayFail: true })).status === 0;
}
