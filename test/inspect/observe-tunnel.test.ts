/** A packet between containers of two hosts, through a VXLAN tunnel: what is inside and what is outside, and all of it in one file. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type Observation, observe } from '../../inspect/observe/observe.ts';
import { pcapng } from '../../inspect/observe/pcapng.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { exec, execIn, makeHost, ping } from '../support/host.ts';
import { batch, lines, siteOf } from './observe-lab.ts';

/** Two hosts on a wire, each with a container; by hand, as another program might have done it. */
async function makeTwo(t: Parameters<typeof makeHost>[0]) {
  const host = await makeHost(t);
  const sides = await Promise.all(
    [1, 2].map(async (n) => {
      const [here, inside] = [await host.container(), await host.container()];
      return { n, host: here.netns, container: inside.netns };
    }),
  );
  const [a, b] = sides as [(typeof sides)[0], (typeof sides)[0]];
  const name = (path: string) => path.split('/').at(-1);
  await batch(a.host, `link add wire type veth peer name wire netns ${name(b.host)}`);
  for (const { n, host: netns, container } of sides) {
    const other = 3 - n;
    await execIn(netns, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    await batch(
      netns,
      `addr add 203.0.113.${n}/24 dev wire`,
      'link set wire up',
      `link add vx type vxlan id 42 dstport 4789 local 203.0.113.${n} nolearning`,
      `addr add 10.244.${n}.0/32 dev vx`,
      `link set vx address 02:00:00:00:00:0${n} up`,
      `link add c${n} type veth peer name eth0 netns ${name(container)}`,
      `addr add 10.244.${n}.1/24 dev c${n}`,
      `addr add fd00:244:${n}::1/64 dev c${n} nodad`,
      `link set c${n} up`,
      `route add 10.244.${other}.0/24 via 10.244.${other}.0 dev vx onlink`,
      `route add fd00:244:${other}::/64 via fe80::${other} dev vx onlink`,
      `neigh add 10.244.${other}.0 lladdr 02:00:00:00:00:0${other} dev vx`,
      `neigh add fe80::${other} lladdr 02:00:00:00:00:0${other} dev vx`,
    );
    await execIn(netns, 'bridge', [
      'fdb',
      'add',
      `02:00:00:00:00:0${other}`,
      'dev',
      'vx',
      'dst',
      `203.0.113.${other}`,
    ]);
    await batch(
      container,
      `addr add 10.244.${n}.2/24 dev eth0`,
      `addr add fd00:244:${n}::2/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via 10.244.${n}.1`,
      `route add default via fd00:244:${n}::1`,
    );
  }
  const sites = {
    one: await siteOf(a.container, 'one', 'web'),
    hostOne: await siteOf(a.host, 'one'),
    hostTwo: await siteOf(b.host, 'two'),
    two: await siteOf(b.container, 'two', 'db'),
  };
  return { root: host.root, a, sites };
}

t.test('across two hosts', async (t) => {
  const { root, a, sites } = await makeTwo(t);
  const look = (family: 4 | 6, destination: string): Promise<Observation> =>
    observe(
      {
        tuple: { family, protocol: 'tcp', destination, destinationPort: 80 },
        ...{ rewritten: [], sites: Object.values(sites), sender: sites.one, seconds: 20 },
      },
      { door: openDoor(), pid: process.pid },
    );
  t.ok(await ping(a.container, '10.244.2.2'));
  t.ok(await ping(a.container, 'fd00:244:2::2'));
  for (const [family, destination, length] of [
    [4, '10.244.2.2', 74],
    [6, 'fd00:244:2::2', 94],
  ] as const) {
    const seen = await look(family, destination);
    t.match(lines(seen.hops), [
      'web: sends tcp ',
      `web: out eth0, ${length} bytes`,
      'one: in c1',
      'one: out vx',
      'one: in a tunnel, VNI 42, from 203.0.113.1 to 203.0.113.2',
      `one: out wire, ${length + 50} bytes`,
      `two: in wire, ${length + 50} bytes`,
      'two: in a tunnel, VNI 42, from 203.0.113.1 to 203.0.113.2',
      'two: in vx',
      'two: out c2',
      'db: in eth0',
      'db: nobody listens there (NO_SOCKET)',
    ]);
    t.match(
      seen.hops.find(({ kind }) => kind === 'tunnel'),
      {
        ...{ link: 'vx', vni: 42, tuple: { destination } },
        outer: { protocol: 'udp', destination: '203.0.113.2', destinationPort: 4789 },
      },
    );
    t.equal(lines(seen.hops, 'back').at(-1), 'web: delivered to container web');
    t.match(seen.answer, { kind: 'rst', from: destination });
    const file = join(root, 'trace.pcapng');
    writeFileSync(file, pcapng(seen.packets, 256));
    const { stdout } = await exec('tcpdump', ['-n', '-r', file]);
    t.match(stdout, /VXLAN.*vni 42/);
    t.equal(stdout.match(/Flags \[S\]/g)?.length, 8, 'the SYN on every link of the way');
  }
  await batch(a.host, 'neigh del 10.244.2.0 dev vx', 'neigh add 10.244.2.0 lladdr 02:00:00:00:00:09 dev vx');
  await execIn(a.host, 'bridge', ['fdb', 'add', '02:00:00:00:00:09', 'dev', 'vx', 'dst', '203.0.113.2']);
  const wrong = await observe(
    {
      tuple: { family: 4, protocol: 'icmp', destination: '10.244.2.2' },
      ...{ rewritten: [], sites: Object.values(sites), sender: sites.one, seconds: 1 },
    },
    { door: openDoor(), pid: process.pid },
  );
  t.match(wrong.hops.at(-1), { kind: 'drop', reason: 'OTHERHOST', place: { host: 'two' } });
  t.match(wrong.answer, { kind: 'none' });
});
