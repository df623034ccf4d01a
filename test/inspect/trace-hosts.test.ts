/** Two hosts with a tunnel between them: one picture, and each way to break it. */
import t from 'tap';
import { type Host, makeHost } from '../support/host.ts';
import { batch, foresee, outcome, pings, settled } from './trace-lab.ts';

const MAC = { 1: '02:00:00:00:01:00', 2: '02:00:00:00:02:00' } as const;

/** A host with one container on a bridge; the tunnel's state is as a network between hosts has it. */
async function build(host: Host, n: 1 | 2): Promise<string> {
  const { netns } = await host.container();
  const other = n === 1 ? 2 : 1;
  const peer = netns.slice('/run/netns/'.length);
  await batch(
    host.netns,
    `addr add 192.0.2.${n}/24 dev uplink`,
    'link set uplink up',
    `link add vx0 mtu 1450 address ${MAC[n]} type vxlan id 42 dstport 4789 local 192.0.2.${n} dev uplink nolearning`,
    `addr add 10.9.${n}.0/32 dev vx0`,
    'link set vx0 up',
    'link add br0 mtu 1450 type bridge',
    `addr add 10.9.${n}.1/24 dev br0`,
    'link set br0 up',
    `link add v1 mtu 1450 type veth peer name eth0 mtu 1450 netns ${peer}`,
    'link set v1 up master br0',
    `neigh add 10.9.${other}.0 lladdr ${MAC[other]} dev vx0`,
    `route add 10.9.${other}.0/24 via 10.9.${other}.0 dev vx0 onlink`,
  );
  await host.exec('bridge', ['fdb', 'add', MAC[other], 'dev', 'vx0', 'dst', `192.0.2.${other}`]);
  await host.exec('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  await batch(
    netns,
    `addr add 10.9.${n}.2/24 dev eth0`,
    'link set eth0 up',
    `route add default via 10.9.${n}.1`,
  );
  return netns;
}

interface Case {
  name: string;
  /** Program and arguments, on the first or second host. */
  one?: string;
  two?: string;
  outcome: string;
  why?: RegExp;
}

const CASES: readonly Case[] = [
  { name: 'sound', outcome: 'delivered' },
  {
    name: 'no FDB entry',
    one: `bridge fdb del ${MAC[2]} dev vx0 dst 192.0.2.2`,
    outcome: 'dropped',
    why: /vx0 does not know which host has 02:00:00:00:02:00/,
  },
  {
    name: 'an FDB entry that leads to nobody',
    one: `bridge fdb add ${MAC[2]} dev vx0 dst 192.0.2.77`,
    outcome: 'lost',
    why: /asks for 192\.0\.2\.77/,
  },
  {
    name: 'a wrong neighbour',
    one: `bridge fdb replace ${MAC[2]} dev vx0 dst 192.0.2.2; ip neigh replace 10.9.2.0 lladdr 02:00:00:00:09:99 dev vx0`,
    outcome: 'dropped',
    why: /02:00:00:00:09:99/,
  },
  {
    name: 'a firewall that does not know the tunnel',
    one: `ip neigh replace 10.9.2.0 lladdr ${MAC[2]} dev vx0`,
    two: 'iptables-nft -A INPUT -p udp --dport 4789 -j DROP',
    outcome: 'dropped',
    why: /-p udp .*--dport 4789 .*-j DROP/,
  },
  {
    name: 'no route back',
    two: 'iptables-nft -F INPUT; ip route del 10.9.1.0/24',
    outcome: 'delivered/rejected',
    why: /has no route to 10\.9\.1\.2/,
  },
  {
    name: 'forwarding off there',
    two: 'ip route add 10.9.1.0/24 via 10.9.1.0 dev vx0 onlink; sysctl -qw net.ipv4.ip_forward=0',
    outcome: 'dropped',
    why: /does not forward what comes in by vx0/,
  },
  {
    name: 'sound again',
    two: 'sysctl -qw net.ipv4.ip_forward=1',
    outcome: 'delivered',
  },
  {
    name: 'a firewall here that keeps the tunnel in',
    one: 'iptables-nft -A OUTPUT -p udp --dport 4789 -j DROP',
    outcome: 'dropped',
    why: /this host drops it silently: drop by "-p udp .*--dport 4789 -j DROP" in chain OUTPUT/,
  },
  {
    name: 'the tunnel there has another MAC than it had',
    one: 'iptables-nft -F OUTPUT',
    two: 'ip link set vx0 address 02:00:00:00:02:99',
    outcome: 'lost',
    why: /addressed to 02:00:00:00:02:00, and comes to vx0 of second, which has 02:00:00:00:02:99/,
  },
  {
    name: 'the other host has lost its address',
    one: 'ip neigh flush dev uplink',
    two: `ip link set vx0 address ${MAC[2]}; ip addr del 192.0.2.2/24 dev uplink`,
    outcome: 'lost',
    why: /asks for 192\.0\.2\.2/,
  },
  {
    name: 'a strict filter there, and the way back elsewhere',
    two: 'ip addr add 192.0.2.2/24 dev uplink; sysctl -qw net.ipv4.conf.vx0.rp_filter=1; ip route replace 10.9.1.0/24 via 192.0.2.1 dev uplink',
    outcome: 'dropped',
    why: /rp_filter.*comes in by vx0, but the way back to it is through uplink/,
  },
  {
    name: 'a tunnel of another port there',
    two:
      'ip link del vx0; ip link add vx0 mtu 1450 address 02:00:00:00:02:00 type vxlan id 42 dstport 8472 local 192.0.2.2 dev uplink nolearning; ' +
      'ip addr add 10.9.2.0/32 dev vx0; ip link set vx0 up',
    outcome: 'lost',
    why: /arrives at second, but there no VXLAN device has VNI 42 and port 4789 \(vx0 has VNI 42 and port 8472\)/,
  },
  {
    name: 'of another number',
    two:
      'ip link del vx0; ip link add vx0 mtu 1450 address 02:00:00:00:02:00 type vxlan id 43 dstport 4789 local 192.0.2.2 dev uplink nolearning; ' +
      'ip addr add 10.9.2.0/32 dev vx0; ip link set vx0 up',
    outcome: 'lost',
    why: /\(vx0 has VNI 43 and port 4789\)/,
  },
  {
    name: 'all as it was',
    two:
      `ip link del vx0; ip link add vx0 mtu 1450 address ${MAC[2]} type vxlan id 42 dstport 4789 local 192.0.2.2 dev uplink nolearning; ` +
      `ip addr add 10.9.2.0/32 dev vx0; ip link set vx0 up; ip neigh replace 10.9.1.0 lladdr ${MAC[1]} dev vx0; ` +
      `ip route replace 10.9.1.0/24 via 10.9.1.0 dev vx0 onlink; bridge fdb add ${MAC[1]} dev vx0 dst 192.0.2.1`,
    outcome: 'delivered',
  },
];

t.test('two hosts', async (t) => {
  const [host1, host2] = [await makeHost(t), await makeHost(t)];
  const other = host2.netns.slice('/run/netns/'.length);
  await batch(host1.netns, `link add uplink type veth peer name uplink netns ${other}`);
  const one = await build(host1, 1);
  await build(host2, 2);
  for (const { netns } of [host1, host2]) await settled(netns);
  const hosts = new Map([['second', host2.netns]]);
  const run = async (host: Host, script: string | undefined) => {
    if (script !== undefined) await host.exec('sh', ['-ec', script]);
  };
  for (const { name, one: first, two: second, outcome: expected, why } of CASES) {
    await run(host1, first);
    await run(host2, second);
    const foreseen = await foresee(host1, one, '10.9.2.2', { hosts });
    const { there, back } = foreseen;
    const end = there.outcome === 'delivered' ? (back ?? there) : there;
    t.equal(outcome(foreseen), expected, `${name}: ${end.why}`);
    if (why) t.match(end.why, why, `${name}: why`);
    const arrives = expected === 'delivered';
    t.equal(await pings(one, '10.9.2.2', arrives ? 20 : 0.25), arrives, `${name}: ping agrees`);
  }
  const { there } = await foresee(host1, one, '10.9.2.2', { hosts });
  const kinds = there.hops.map(({ kind, place }) => `${place.host === 'second' ? 2 : 1} ${kind}`);
  t.ok(
    kinds.includes('1 tunnel') && kinds.indexOf('2 link') > kinds.indexOf('1 tunnel'),
    'both in one picture',
  );
  t.match(
    there.hops.find(({ kind }) => kind === 'tunnel'),
    {
      ...{ vni: 42, outer: { source: '192.0.2.1', destination: '192.0.2.2', destinationPort: 4789 } },
      fdb: `${MAC[2]} dst 192.0.2.2`,
    },
  );
  await run(host1, 'ip link set uplink mtu 1400');
  const large = await foresee(host1, one, '10.9.2.2', { hosts });
  t.match(large.there.notes.join(), /packets of more than 1350 bytes do not fit through uplink/);
});
