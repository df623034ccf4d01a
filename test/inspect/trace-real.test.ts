/** What is predicted is what packets do: a host is broken in many ways, and each time both are asked. */
import t from 'tap';
import { look } from '../../cli/trace/look.ts';
import { type Comparison, compare } from '../../inspect/path/compare.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { execIn } from '../support/host.ts';
import { until } from '../support/until.ts';
import {
  batch,
  type Foreseen,
  foresee,
  GATEWAY,
  makeLab,
  ONE,
  OUTSIDE,
  outcome,
  pings,
  type TraceLab,
  TWO,
  UPLINK,
} from './trace-lab.ts';

interface Case {
  name: string;
  /** Lines of ip, run on the host; those that start with `one:` and `outside:` there. */
  ip?: readonly string[];
  nft?: string;
  /** One command of the host. */
  run?: readonly string[];
  from?: 'one' | 'host' | 'outside';
  to: string;
  /** Bytes of ping's payload, not to be cut. */
  payload?: number;
  outcome: string;
  why?: RegExp;
  /** A hop that must be there. */
  hop?: RegExp;
}

const MASQUERADE = `table ip nat2 {
  chain post { type nat hook postrouting priority srcnat; ip saddr 10.88.0.0/24 oifname "uplink" masquerade; }
}`;

const CASES: readonly Case[] = [
  { name: 'container to container', to: TWO.v4, outcome: 'delivered', hop: /bridge br0: vone → vtwo/ },
  { name: 'the same in IPv6', to: TWO.v6, outcome: 'delivered' },
  { name: 'container to its host', to: GATEWAY.v4, outcome: 'delivered', hop: /to the host itself/ },
  { name: 'host to container', from: 'host', to: ONE.v4, outcome: 'delivered', hop: /bridge br0: vone/ },
  {
    name: 'a chain at a port of the bridge, before the bridge',
    nft: `table netdev early {
      chain coming { type filter hook ingress device "vone" priority 0; ip daddr ${TWO.v4} drop; }
    }`,
    to: TWO.v4,
    outcome: 'dropped',
    why: /"ip daddr 10\.88\.0\.3 drop" in chain coming of table netdev early/,
  },
  {
    name: 'a chain at the port that it leaves by',
    nft: `delete table netdev early
    table netdev late {
      chain leaving { type filter hook egress device "vtwo" priority 0; icmp type echo-request drop; }
    }`,
    to: TWO.v4,
    outcome: 'dropped',
    why: /"icmp type echo-request drop" in chain leaving of table netdev late/,
  },
  { name: 'neither of them', nft: 'delete table netdev late', to: TWO.v4, outcome: 'delivered' },
  {
    name: 'to the outside, which knows no way back',
    to: OUTSIDE.v4,
    outcome: 'delivered/rejected',
    why: /has no route to 10\.88\.0\.2.*was not masqueraded/,
  },
  {
    name: 'masqueraded',
    nft: MASQUERADE,
    to: OUTSIDE.v4,
    outcome: 'delivered',
    hop: /^masquerade to 198\.51\.100\.1 /,
  },
  {
    name: 'somebody who is not there',
    to: '10.88.0.77',
    outcome: 'lost',
    why: /asks for 10\.88\.0\.77.*nobody/,
  },
  {
    name: 'forwarding off',
    run: ['sysctl', '-qw', 'net.ipv4.ip_forward=0'],
    to: OUTSIDE.v4,
    outcome: 'dropped',
    why: /net\.ipv4\.ip_forward=1/,
  },
  {
    name: 'a stray drop',
    run: ['sysctl', '-qw', 'net.ipv4.ip_forward=1'],
    nft: `table inet stray {
      chain thru { type filter hook forward priority filter; ip daddr ${OUTSIDE.v4} drop; }
    }`,
    to: OUTSIDE.v4,
    outcome: 'dropped',
    why: /drops it silently: drop by "ip daddr 198\.51\.100\.2 drop" in chain thru of table inet stray/,
  },
  {
    name: 'a drop of answers',
    nft: 'flush table inet stray\nadd rule inet stray thru ct state established counter drop',
    to: OUTSIDE.v4,
    outcome: 'delivered/dropped',
    why: /ct state established/,
  },
  {
    name: 'a refusal in words',
    nft: 'flush table inet stray\nadd rule inet stray thru meta l4proto icmp reject',
    to: OUTSIDE.v4,
    outcome: 'rejected',
    why: /refuses it, and says so/,
  },
  {
    name: 'a policy of iptables',
    nft: 'delete table inet stray',
    run: ['iptables-nft', '-P', 'FORWARD', 'DROP'],
    to: OUTSIDE.v4,
    outcome: 'dropped',
    why: /policy drop of chain FORWARD of table ip filter \(iptables-nft\)/,
  },
  {
    name: 'which bridged traffic sees, too',
    to: TWO.v4,
    outcome: 'dropped',
    why: /policy drop of chain FORWARD/,
  },
  {
    name: 'a rule for the bridge port, but not for answers',
    run: ['iptables-nft', '-A', 'FORWARD', '-m', 'physdev', '--physdev-in', 'vone', '-j', 'ACCEPT'],
    to: TWO.v4,
    outcome: 'delivered/dropped',
  },
  {
    name: 'and one for answers',
    run: [
      'iptables-nft',
      '-A',
      'FORWARD',
      '-m',
      'conntrack',
      '--ctstate',
      'RELATED,ESTABLISHED',
      '-j',
      'ACCEPT',
    ],
    to: TWO.v4,
    outcome: 'delivered',
  },
  {
    name: 'bridged traffic without rules',
    run: ['sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0'],
    ip: ['one:neigh replace 10.88.0.50 lladdr 02:00:00:00:00:50 dev eth0'],
    to: '10.88.0.50',
    outcome: 'lost',
    why: /nobody behind them has 02:00:00:00:00:50/,
  },
  {
    name: 'bridged traffic with rules for addresses',
    run: ['sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1'],
    nft: `table ip nat3 {
      chain pre { type nat hook prerouting priority dstnat; ip daddr 10.88.0.50 dnat to ${TWO.v4}; }
    }`,
    to: '10.88.0.50',
    outcome: 'delivered',
    hop: /^dnat to 10\.88\.0\.3/,
  },
  {
    name: 'isolated ports',
    run: ['bash', '-c', 'for port in vone vtwo; do bridge link set dev $port isolated on; done'],
    to: TWO.v4,
    outcome: 'dropped',
    why: /vone and vtwo of bridge br0 are isolated/,
  },
  {
    name: 'a port that is down',
    run: ['bridge', 'link', 'set', 'dev', 'vone', 'isolated', 'off'],
    ip: ['link set vtwo down'],
    to: TWO.v4,
    outcome: 'lost',
    why: /down are vtwo/,
  },
  {
    name: 'a wrong neighbour',
    ip: ['link set vtwo up', `one:neigh replace ${TWO.v4} lladdr 02:00:00:00:00:99 dev eth0`],
    to: TWO.v4,
    outcome: 'lost',
    why: /02:00:00:00:00:99/,
  },
  {
    name: 'larger than its own link',
    ip: [`one:neigh del ${TWO.v4} dev eth0`],
    to: TWO.v4,
    payload: 1600,
    outcome: 'rejected',
    why: /1628 bytes do not fit through eth0 \(MTU 1500\)/,
  },
  {
    name: 'larger than a later link',
    ip: ['link set uplink mtu 1400'],
    to: OUTSIDE.v4,
    payload: 1450,
    outcome: 'rejected',
    why: /1478 bytes do not fit through uplink \(MTU 1400\)/,
  },
  {
    name: 'policy routing into nothing',
    ip: [
      'rule add from 10.88.0.0/24 to 198.51.100.0/24 lookup 77 prio 50',
      'route add blackhole default table 77',
    ],
    to: OUTSIDE.v4,
    outcome: 'dropped',
    why: /refuses 198\.51\.100\.2 by a route of kind blackhole/,
  },
  {
    name: 'reverse path filter',
    ip: ['rule del prio 50', `route add ${OUTSIDE.v4}/32 dev br0`],
    run: ['sysctl', '-qw', 'net.ipv4.conf.uplink.rp_filter=1'],
    from: 'outside',
    to: UPLINK.v4,
    outcome: 'dropped',
    why: /rp_filter.*comes in by uplink, but the way back to it is through br0/,
  },
];

async function arrange(lab: TraceLab, { ip = [], nft, run }: Case): Promise<void> {
  const { host, one, outside } = lab;
  for (const [prefix, netns] of [
    ['one:', one],
    ['outside:', outside],
    ['', host.netns],
  ] as const) {
    const lines = ip.filter((line) =>
      prefix === '' ? !/^(one|outside):/.test(line) : line.startsWith(prefix),
    );
    if (lines.length > 0) await batch(netns, ...lines.map((line) => line.slice(prefix.length)));
  }
  if (nft !== undefined) await execIn(host.netns, 'nft', ['-f', '-'], { input: `${nft}\n` });
  const [file, ...args] = run ?? [];
  if (file !== undefined) await execIn(host.netns, file, args);
}

/** Sends the probe that `weft trace` sends. */
async function seen(foreseen: Foreseen): Promise<Comparison> {
  const terminal = { out() {}, err() {}, color: false, onInterrupt: () => () => {} };
  const options = { watch: false, seconds: 20 };
  const { gathered, question } = foreseen;
  return compare(foreseen, await look(gathered, question, foreseen, options, { door: openDoor(), terminal }));
}

t.test('one host', async (t) => {
  const lab = await makeLab(t);
  const places = { one: lab.one, host: lab.host.netns, outside: lab.outside };
  for (const one of CASES) {
    await arrange(lab, one);
    const { from = 'one', to, payload } = one;
    const size = payload === undefined ? {} : { size: payload + 28 };
    const foreseen = await foresee(lab.host, from === 'one' ? lab.one : from, to, size);
    const { there, back } = foreseen;
    const end = there.outcome === 'delivered' ? (back ?? there) : there;
    t.equal(outcome(foreseen), one.outcome, `${one.name}: ${end.why}`);
    if (one.why) t.match(end.why, one.why, `${one.name}: why`);
    if (one.hop)
      t.ok(
        there.hops.some(({ words }) => one.hop?.test(words)),
        `${one.name}: hops`,
      );
    const arrives = one.outcome === 'delivered';
    const large = payload === undefined ? [] : ['-M', 'do', '-s', `${payload}`];
    // What is seen at once is compared as well; to wait for what does not come takes seconds.
    if (arrives || /drops it silently: /.test(end.why)) {
      t.same((await seen(foreseen)).differences, [], `${one.name}: as predicted`);
    }
    // Silence proves nothing but in the way that is expected: it may be short.
    t.equal(
      await pings(places[from], to, arrives ? 20 : 0.25, ...large),
      arrives,
      `${one.name}: ping agrees`,
    );
  }

  await batch(lab.host.netns, `route del ${OUTSIDE.v4}/32 dev br0`);
  const send = `const s = require('node:dgram').createSocket('udp4').bind(5555, () => s.send('x', 9999, '${UPLINK.v4}', () => s.close()))`;
  await until('the connection is tracked', async () => {
    await execIn(lab.outside, process.execPath, ['-e', send]);
    return (await execIn(lab.host.netns, 'cat', ['/proc/net/nf_conntrack'])).stdout.includes('sport=5555');
  });
  const dnat = `table ip late {
    chain pre { type nat hook prerouting priority dstnat; udp dport 9999 dnat to ${ONE.v4}:53; }
  }`;
  await execIn(lab.host.netns, 'nft', ['-f', '-'], { input: `${dnat}\n` });
  const known = await foresee(lab.host, 'outside', `${UPLINK.v4}:9999/udp`, { sourcePort: 5555 });
  t.match(known.there.notes.join(), /198\.51\.100\.2:5555 to 198\.51\.100\.1:9999 is known already/);
  t.match(
    known.there,
    { outcome: 'rejected', why: /arrives at this host, but nobody listens/ },
    'as it was when it began',
  );
  const fresh = await foresee(lab.host, 'outside', `${UPLINK.v4}:9999/udp`);
  t.match(fresh.there.hops.at(-1)?.tuple, { destination: ONE.v4, destinationPort: 53 });
  t.match(fresh.there.notes.join(), /conntrack -D -p udp --orig-dst 198\.51\.100\.1 --orig-port-dst 9999/);
});
