/** What is seen of a packet on a real host: links, rules of all kinds, the kernel's reasons, answers. */
import t from 'tap';
import { execIn, OUTSIDE, UPLINK } from '../support/host.ts';
import { GATEWAY, lines, look, makeLab, type ObserveLab, TWO } from './observe-lab.ts';

const RULES = `
table ip nat {
  chain post { type nat hook postrouting priority srcnat
    ip saddr 10.88.0.0/16 ip daddr != 10.88.0.0/16 masquerade
  }
  chain pre { type nat hook prerouting priority dstnat
    tcp dport 8080 dnat to ${TWO.v4}:80
  }
}
table inet guard {
  chain forwarded { type filter hook forward priority 0
    udp dport 53 counter drop
    tcp dport 81 reject
  }
  chain out { type filter hook output priority 0
    udp dport 5454 drop
  }
}
`;

/** Netfilter's addresses and the kernel's ports differ from run to run. */
const rulesOf = (seen: Awaited<ReturnType<typeof look>>) => seen.hops.filter(({ kind }) => kind === 'rule');

let lab: ObserveLab;
t.before(async () => {
  lab = await makeLab(t);
  await execIn(lab.host.netns, 'nft', ['-f', '-'], { input: RULES });
});

for (const { family, destination } of [
  { family: 4, destination: TWO.v4 },
  { family: 6, destination: TWO.v6 },
] as const) {
  t.test(`between two containers of a bridge, IPv${family}`, async (t) => {
    const protocol = family === 4 ? 'icmp' : 'icmpv6';
    const length = family === 4 ? 52 : 72;
    const seen = await look(lab, { family, protocol, destination });
    t.match(lines(seen.hops), [
      `one: sends ${protocol} `,
      `one: out eth0, ${length} bytes`,
      `this host: in vone, ${length} bytes`,
      'this host: bridge br0, from vone to vtwo',
      `this host: out vtwo, ${length} bytes`,
      `two: in eth0, ${length} bytes`,
      'two: delivered to container two',
    ]);
    t.equal(lines(seen.hops, 'back').at(-1), 'one: delivered to container one');
    t.match(seen.answer, { kind: 'reply', from: destination });
    t.same(seen.drops, [], 'nothing was given up');
    t.same(seen.notSeen, []);
    t.match(seen.hops[1], { kind: 'link', mtu: 1500, tuple: { destination, source: /\b2$/ } });
  });
}

t.test('masqueraded to outside, and refused there', async (t) => {
  const seen = await look(lab, { family: 4, protocol: 'tcp', destination: OUTSIDE.v4, destinationPort: 80 });
  t.match(lines(seen.hops), [
    'one: sends tcp ',
    'one: out eth0',
    'this host: in vone',
    'this host: in br0',
    'this host: ip nat post: ip saddr 10.88.0.0/16 ip daddr != 10.88.0.0/16 masquerade',
    'this host: out uplink',
    'outside: in uplink',
    'outside: nobody listens there (NO_SOCKET)',
  ]);
  t.match(rulesOf(seen)[0], {
    ...{ hook: 'postrouting', verdict: 'accept', owner: { who: String } },
    ...{ tuple: { source: '10.88.0.2' }, rewritten: { source: UPLINK.v4 } },
  });
  t.match(seen.answer, { kind: 'rst', from: OUTSIDE.v4 });
  t.match(seen.drops, [{ reason: 'NO_SOCKET', certainty: 'exact', link: 'uplink', location: /tcp_v4_rcv/ }]);
  const translated = seen.hops.find(({ kind }) => kind === 'translate');
  t.match(translated, { way: 'back', end: 'destination', rewritten: { destination: '10.88.0.2' } });
});

t.test('a published port, from outside', async (t) => {
  const server = "require('net').createServer(s => s.end()).listen(80, () => console.log('up'))";
  const child = await lab.host.exec('sh', [
    '-c',
    `ip netns exec ${lab.site.two.path?.split('/').at(-1)} true`,
  ]);
  t.equal(child.status, 0);
  await lab.host.daemon('server', 'nsenter', [
    `--net=${lab.site.two.path}`,
    '--',
    process.execPath,
    '-e',
    server,
  ]);
  const tuple = { family: 4, protocol: 'tcp', destination: UPLINK.v4, destinationPort: 8080 } as const;
  const more = { sender: lab.site.outside };
  // Until the server listens.
  let seen = await look(lab, tuple, more);
  for (let i = 0; seen.answer.kind !== 'syn-ack' && i < 100; i++) seen = await look(lab, tuple, more);
  t.match(seen.answer, { kind: 'syn-ack', from: UPLINK.v4 });
  t.match(lines(seen.hops), [
    'outside: sends tcp ',
    'outside: out uplink',
    'this host: in uplink',
    `this host: ip nat pre: tcp dport 8080 dnat to ${TWO.v4}:80`,
    'this host: out br0',
    'this host: out vtwo',
    'two: in eth0',
    'two: delivered to container two',
  ]);
  t.match(rulesOf(seen)[0], { rewritten: { destination: TWO.v4, destinationPort: 80 } });
});

t.test('dropped and rejected by rules of nf_tables', async (t) => {
  const to = { family: 4, destination: OUTSIDE.v4 } as const;
  const dropped = await look(lab, { ...to, protocol: 'udp', destinationPort: 53 });
  t.equal(lines(dropped.hops).at(-1), 'this host: inet guard forwarded: udp dport 53 counter drop');
  t.match(rulesOf(dropped).at(-1), { verdict: 'drop', hook: 'forward', table: 'guard', handle: Number });
  t.match(dropped.answer, { kind: 'none' });
  const rejected = await look(lab, { ...to, protocol: 'tcp', destinationPort: 81 });
  t.equal(lines(rejected.hops).at(-1), 'this host: inet guard forwarded: tcp dport 81 reject');
  t.match(rejected.answer, { kind: 'icmp', from: GATEWAY.v4, words: 'port unreachable' });
  const own = await look(lab, { ...to, protocol: 'udp', destinationPort: 5454 }, { sender: lab.site.host });
  t.match(lines(own.hops), ['this host: sends udp ', 'this host: inet guard out: udp dport 5454 drop']);
  t.match(own.answer, { kind: 'refused', errno: 'EPERM' });
});

t.test('dropped between two ports of a bridge, and a protocol that nobody speaks', async (t) => {
  const rules = `table bridge b {
    chain f { type filter hook forward priority 0
      udp dport 7777 drop
    }
  }
  `;
  await execIn(lab.host.netns, 'nft', ['-f', '-'], { input: rules });
  for (const family of [4, 6] as const) {
    const to = { family, destination: TWO[`v${family}`], destinationPort: 7777 };
    const dropped = await look(lab, { ...to, protocol: 'udp' });
    t.match(lines(dropped.hops).slice(-2), [
      'this host: in vone',
      'this host: bridge b f: udp dport 7777 drop',
    ]);
    const unknown = await look(lab, { ...to, protocol: 'sctp' });
    t.match(lines(unknown.hops).slice(-2), ['two: in eth0', 'two: nothing there speaks this protocol']);
    t.match(unknown.answer, { kind: 'icmp', from: TWO[`v${family}`] });
  }
});

t.test('dropped by a rule of iptables, of either kind', async (t) => {
  const logger = async () => (await execIn(lab.host.netns, 'sysctl', ['net.netfilter.nf_log.2'])).stdout;
  const before = await logger();
  for (const [program, port, family] of [
    ['iptables-nft', 97, 4],
    ['iptables-legacy', 98, 4],
    ['ip6tables-legacy', 99, 6],
  ] as const) {
    const rule = ['FORWARD', '-p', 'udp', '--dport', `${port}`, '-j', 'DROP'];
    await execIn(lab.host.netns, program, ['-A', ...rule]);
    const seen = await look(lab, {
      family,
      protocol: 'udp',
      destination: OUTSIDE[`v${family}`],
      destinationPort: port,
    });
    t.match(
      lines(seen.hops).at(-1),
      new RegExp(`^this host: ip6? filter FORWARD: -p udp .*--dport ${port} -j DROP$`),
    );
    t.match(rulesOf(seen).at(-1), { verdict: 'drop', hook: 'forward' });
    t.same(seen.notSeen, []);
    await execIn(lab.host.netns, program, ['-D', ...rule]);
  }
  t.equal(await logger(), before, 'the log is as it was');
});

t.test('dropped by the kernel itself', async (t) => {
  const source = '172.31.0.9';
  await execIn(lab.host.netns, 'sysctl', ['-qw', 'net.ipv4.conf.br0.rp_filter=1']);
  await execIn(lab.site.one.path ?? '', 'ip', ['addr', 'add', `${source}/32`, 'dev', 'eth0']);
  const seen = await look(
    lab,
    { family: 4, protocol: 'icmp', source, destination: OUTSIDE.v4 },
    { seconds: 1 },
  );
  t.match(lines(seen.hops).at(-1), 'this host: rp_filter: the answer would go another way (IP_RPFILTER)');
  t.match(seen.hops.at(-1), { kind: 'drop', reason: 'IP_RPFILTER', way: 'there' });
  t.match(seen.drops, [{ certainty: 'exact', link: 'br0', way: 'there' }]);
  const nowhere = await look(
    lab,
    { family: 4, protocol: 'udp', destination: '203.0.113.9', destinationPort: 9 },
    { sender: lab.site.outside },
  );
  t.match(nowhere.answer, { kind: 'refused', errno: 'ENETUNREACH' });
});

t.test('nobody has the address', async (t) => {
  const own = await look(lab, { family: 4, protocol: 'icmp', destination: '10.88.0.99' }, { seconds: 1 });
  t.match(lines(own.hops), ['one: sends icmp 10.88.0.2 → 10.88.0.99', 'one: nobody on eth0 has 10.88.0.99']);
  const destination = OUTSIDE.v6.replace('::2', '::77');
  const tuple = { family: 6, protocol: 'udp', destination, destinationPort: 9 } as const;
  const forwarded = await look(lab, tuple, { seconds: 1 });
  t.match(lines(forwarded.hops).slice(-2), ['this host: in br0', 'this host: nobody on uplink has ']);
  t.match(forwarded.hops.at(-1), { kind: 'drop', reason: 'NEIGH_FAILED', way: 'there' });
});

t.test('too large for the way', async (t) => {
  await execIn(lab.host.netns, 'ip', ['link', 'set', UPLINK.name, 'mtu', '1300']);
  for (const family of [4, 6] as const) {
    const destination = family === 4 ? OUTSIDE.v4 : OUTSIDE.v6;
    const tuple = { family, protocol: 'udp', destination, destinationPort: 9 } as const;
    const seen = await look(lab, tuple, { size: 1400 });
    t.match(seen.answer, { kind: 'icmp', mtu: 1300, words: /at most 1300 bytes/ });
    t.match(lines(seen.hops).at(-1), /^this host: larger than the MTU.*PKT_TOO_BIG/);
  }
  await execIn(lab.host.netns, 'ip', ['link', 'set', UPLINK.name, 'mtu', '1500']);
});

t.test('what is watched for is seen without a probe', async (t) => {
  const { sender: _, ...request } = { sender: undefined, seconds: 20 };
  const tuple = { family: 4, protocol: 'icmp', destination: TWO.v4 } as const;
  const watching = look(lab, tuple, { ...request, sender: undefined as never });
  let ended = false;
  const seen = watching.finally(() => {
    ended = true;
  });
  while (!ended) await execIn(lab.site.one.path ?? '', 'ping', ['-n', '-q', '-c', '1', '-W', '1', TWO.v4]);
  const { hops, answer } = await seen;
  t.match(lines(hops)[0], 'one: out eth0');
  t.match(answer, { kind: 'reply', from: TWO.v4 });
});
