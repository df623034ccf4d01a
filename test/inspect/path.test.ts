/** Predictions over worlds that are written down: routes, forwarding, neighbours, links, who takes it. */
import t from 'tap';
import {
  ask,
  base,
  macOf,
  type Namespaced,
  nat,
  routed,
  rule,
  table,
  to,
  words,
  worldOf,
} from './path-world.ts';

t.test('a router between two', async (t) => {
  const { there, back } = ask(routed(), 'client', '10.0.2.2');
  t.match([there.outcome, back?.outcome], ['delivered', 'delivered']);
  t.same(words(there, 'route'), ['route default via 10.0.1.1 dev eth0', 'route 10.0.2.0/24 dev right']);
  t.equal(ask(routed(), 'client', 'fd02::2').there.outcome, 'delivered');
  t.equal(ask(routed(), 'client', '10.0.1.1').there.outcome, 'delivered', 'the router itself');
  t.equal(ask(routed(), 'client', '10.0.2.1').there.outcome, 'delivered', 'by its other address');
  const refused = ask(routed(), 'client', '10.0.3.3').there;
  t.match(refused, { outcome: 'rejected', why: /router has no route to 10\.0\.3\.3, and tells the sender/ });
});

t.test('which route', async (t) => {
  const way = (routes: string[], rules: Namespaced['rules'] = []) =>
    words(ask(routed({ routes, rules }), 'client', '10.0.9.9').there, 'route', 'drop').slice(1);
  const first = (routes: string[], rules?: Namespaced['rules']) => way(routes, rules)[0];
  t.equal(
    first(['10.0.0.0/16 via 10.0.2.2 dev right', '10.0.9.0/24 via 10.0.1.2 dev left metric 99']),
    'route 10.0.9.0/24 via 10.0.1.2 dev left',
    'the longest prefix, whatever its metric',
  );
  t.equal(
    first(['10.0.9.0/24 via 10.0.1.2 dev left metric 9', '10.0.9.0/24 via 10.0.2.2 dev right metric 5']),
    'route 10.0.9.0/24 via 10.0.2.2 dev right',
    'of one prefix the lowest metric',
  );
  const tables = ['10.0.9.0/24 via 10.0.2.2 dev right', 'default via 10.0.1.2 dev left table 77'];
  const by = (given: object) => first(tables, [{ priority: 50, table: 77, ...given }]);
  const special = 'route default via 10.0.1.2 dev left table 77, by rule 50';
  const usual = 'route 10.0.9.0/24 via 10.0.2.2 dev right';
  t.equal(by({}), special, 'rules are asked by priority');
  t.equal(by({ from: '10.0.1.0/24' }), special);
  t.equal(by({ from: '10.0.2.0/24' }), usual);
  t.equal(by({ from: '10.0.2.0/24', not: true }), special);
  t.equal(by({ iif: 'left' }), special);
  t.equal(by({ iif: 'right' }), usual);
  t.equal(by({ mark: { value: 1, mask: 0xff } }), usual);
  t.equal(by({ suppressPrefixLength: 0 }), usual, 'a default route may be told not to count');
  t.equal(by({ ipProtocol: 6 }), usual);
  t.equal(by({ ipProtocol: 1 }), special);
  t.equal(
    first([...tables, 'throw default table 78'], [{ priority: 50, table: 78 }]),
    usual,
    'throw: the next rule',
  );
  t.equal(
    first(tables, [
      { priority: 40, action: 'goto', target: 60 },
      { priority: 50, table: 77 },
      { priority: 60, action: 'nothing' },
    ]),
    usual,
    'goto',
  );
  t.match(
    way(tables, [{ priority: 50, action: 'prohibit' }])[0],
    /refuses 10\.0\.9\.9 by policy rule 50 \(prohibit\)/,
  );
  const twice = ask(
    routed({ routes: ['10.0.9.0/24 via 10.0.2.2 dev right', '10.0.9.0/24 via 10.0.1.2 dev left'] }),
    ...(['client', '10.0.9.9'] as const),
  );
  t.match(twice.there.assumptions.join(), /of 2 routes to 10\.0\.9\.0\/24/);
});

t.test('two hosts that route to each other', async (t) => {
  const world = routed({ routes: ['10.0.9.0/24 via 10.0.2.2 dev right'] });
  t.match(ask(world, 'client', '10.0.9.9').there, { outcome: 'lost', why: /in circles/ });
});

t.test('marks choose the route', async (t) => {
  const mark = { kind: 'setMark', value: 7, mask: 0xffffffff, on: 'packet' } as const;
  const world = routed({
    routes: ['blackhole default table 77'],
    rules: [{ priority: 50, table: 77, mark: { value: 7, mask: 0xffffffff } }],
    tables: [table('m', [base('pre', 'prerouting', -150, [rule([to('10.0.2.2')], [mark], 'mark it')])])],
  });
  const { there } = ask(world, 'client', '10.0.2.2');
  t.match(there, { outcome: 'dropped', why: /blackhole/ });
  t.match(words(there, 'rule'), [/packet mark 0x7 by "mark it" in chain pre of table inet m/]);
});

t.test('where it comes from', async (t) => {
  const spoofed = { source: '10.0.2.77' };
  const strict = { 'ipv4/conf/left/rp_filter': 1 };
  const from = (sysctls: Record<string, number>, source: string) =>
    ask(routed({ sysctls }), 'client', '10.0.2.2', { source }).there;
  t.equal(from({}, spoofed.source).outcome, 'delivered');
  t.match(from(strict, spoofed.source), { outcome: 'dropped', why: /rp_filter.*through right.*rp_filter=2/ });
  t.equal(from({ 'ipv4/conf/left/rp_filter': 2 }, spoofed.source).outcome, 'delivered', 'loose');
  t.equal(
    from({ 'ipv4/conf/all/rp_filter': 1 }, spoofed.source).outcome,
    'dropped',
    'that of all counts, too',
  );
  t.equal(from(strict, '10.0.1.77').outcome, 'delivered');
  t.match(from({ 'ipv4/conf/left/rp_filter': 2 }, '192.0.2.9'), {
    outcome: 'dropped',
    why: /way back to it is nowhere/,
  });
  t.match(from({}, '10.0.2.1'), { outcome: 'dropped', why: /is an address of this host itself/ });
  t.equal(from({ 'ipv4/conf/left/accept_local': 1 }, '10.0.2.1').outcome, 'delivered');
  t.match(from({}, '127.0.0.1'), { outcome: 'dropped', why: /localhost stays/ });
});

t.test('forwarding', async (t) => {
  const off = (sysctls: Record<string, number>, dst = '10.0.2.2') =>
    ask(routed({ sysctls }), 'client', dst).there;
  t.match(off({ 'ipv4/ip_forward': 0, 'ipv4/conf/left/forwarding': 0 }), {
    outcome: 'dropped',
    why: /net\.ipv4\.ip_forward=1/,
  });
  t.match(off({ 'ipv4/conf/left/forwarding': 0 }), {
    outcome: 'dropped',
    why: /net\.ipv4\.conf\.left\.forwarding=1/,
  });
  t.equal(off({ 'ipv4/conf/right/forwarding': 0 }).outcome, 'delivered', 'where it comes in counts');
  t.match(off({ 'ipv6/conf/all/forwarding': 0 }, 'fd02::2'), {
    outcome: 'dropped',
    why: /net\.ipv6\.conf\.all\.forwarding=1/,
  });
});

t.test('neighbours', async (t) => {
  const with_ = (neighbours: string[], more: Namespaced = {}) =>
    ask(routed({ neighbours, ...more }), 'client', '10.0.2.2').there;
  t.equal(with_([`10.0.2.2 dev right lladdr ${macOf('server', 'eth0')} nud stale`]).outcome, 'delivered');
  t.match(with_(['10.0.2.2 dev right lladdr 02:00:00:00:00:99']), {
    outcome: 'lost',
    why: /wrong neighbour entry/,
  });
  t.equal(with_(['10.0.2.2 dev right nud failed']).outcome, 'delivered', 'somebody answers now');
  const absent = ask(routed(), 'client', '10.0.2.9').there;
  t.match(absent, { outcome: 'lost', why: /router asks for 10\.0\.2\.9 on right \(ARP\), and nobody there/ });
  const proxied = routed(
    { sysctls: { 'ipv4/conf/left/proxy_arp': 1 } },
    {},
    { routes: ['10.0.2.0/24 dev eth0'] },
  );
  t.equal(ask(proxied, 'client', '10.0.2.2').there.outcome, 'delivered', 'the router stands in');
  const entry = routed({ proxies: ['10.0.2.2 dev left'] }, {}, { routes: ['10.0.2.0/24 dev eth0'] });
  t.equal(ask(entry, 'client', '10.0.2.2').there.outcome, 'delivered');
  t.equal(
    ask(routed({}, {}, { routes: ['10.0.2.0/24 dev eth0'] }), 'client', '10.0.2.2').there.outcome,
    'lost',
  );
});

t.test('links', async (t) => {
  const links = (right: object, eth0: object = {}) => ({
    router: { links: { left: { peer: 'client:eth0' }, right: { peer: 'server:eth0', ...right } } },
    server: { links: { eth0: { peer: 'router:right', ...eth0 } } },
  });
  const through = (given: ReturnType<typeof links>, more: object = {}) =>
    ask(routed(given.router, given.server), 'client', '10.0.2.2', more).there;
  t.match(
    through(links({ running: false }, { up: false })).outcome,
    'lost',
    'nobody answers behind a link that is down',
  );
  t.match(through(links({ mtu: 1400 })), {
    outcome: 'delivered',
    notes: [/more than 1400 bytes do not fit through right of router/],
  });
  t.match(through(links({ mtu: 1400 }), { length: 1450 }), {
    outcome: 'rejected',
    why: /1450 bytes do not fit/,
  });
  t.match(through(links({ mtu: 1400 }), { length: 1450, dontFragment: false }), {
    outcome: 'delivered',
    notes: [/in pieces/],
  });
  const open = worldOf({
    host: {
      links: { eth0: {} },
      addresses: { eth0: ['192.0.2.1/24'] },
      routes: ['default via 192.0.2.254 dev eth0'],
    },
  });
  const left = ask(open, 'host', '203.0.113.9');
  t.match(
    [left.there, left.back],
    [
      { outcome: 'left', why: /leaves host through eth0 towards 192\.0\.2\.254; what happens there/ },
      { outcome: 'delivered' },
    ],
  );
  t.match(left.there.assumptions.join(), /beyond eth0 answers for 192\.0\.2\.254/);
});

t.test('who takes it', async (t) => {
  const listeners = [
    { protocol: 'tcp' as const, family: 6 as const, any: true, address: '::', port: 80 },
    { protocol: 'udp' as const, family: 4 as const, any: false, address: '10.0.2.2', port: 53 },
  ];
  const at = (dst: string) => ask(routed({}, { listeners }), 'client', dst).there;
  t.equal(at('10.0.2.2:80').outcome, 'delivered', 'a socket of both families');
  t.equal(at('[fd02::2]:80').outcome, 'delivered');
  t.equal(at('10.0.2.2:53/udp').outcome, 'delivered');
  t.match(at('10.0.2.2:81'), {
    outcome: 'rejected',
    why: /nobody listens on tcp 10\.0\.2\.2:81 there: .* reset/,
  });
  t.match(at('10.0.2.2:54/udp'), { outcome: 'rejected', why: /ICMP port unreachable/ });
  const deaf = routed({}, { sysctls: { 'ipv4/icmp_echo_ignore_all': 1 } });
  t.match(ask(deaf, 'client', '10.0.2.2').there, { outcome: 'dropped', why: /icmp_echo_ignore_all=0/ });
  t.match(ask(routed(), 'client', '10.0.1.1', { target: 'server' }).there, {
    outcome: 'lost',
    why: /ends at router.*and not at server/,
  });
});

t.test('the answer goes another way', async (t) => {
  // Around the router that rewrote the address: nobody turns it back.
  const dnat = rule([to('10.0.1.1')], [{ kind: 'dnat', address: '10.0.2.2' }], 'dnat');
  const world = worldOf({
    client: {
      links: { eth0: { peer: 'router:left' }, eth1: { peer: 'server:eth1' } },
      addresses: { eth0: ['10.0.1.2/24'], eth1: ['10.0.3.1/24'] },
    },
    router: {
      links: { left: { peer: 'client:eth0' }, right: { peer: 'server:eth0' } },
      addresses: { left: ['10.0.1.1/24'], right: ['10.0.2.1/24'] },
      tables: [table('n', [nat('pre', 'prerouting', -100, [dnat])])],
    },
    server: {
      links: { eth0: { peer: 'router:right' }, eth1: { peer: 'client:eth1' } },
      addresses: { eth0: ['10.0.2.2/24'], eth1: ['10.0.3.2/24'] },
      routes: ['10.0.1.0/24 via 10.0.3.1 dev eth1'],
    },
  });
  const { there, back } = ask(world, 'client', '10.0.1.1');
  t.match(
    [there.outcome, back],
    [
      'delivered',
      { outcome: 'lost', why: /comes back as icmp 10\.0\.2\.2 → 10\.0\.1\.2.*waits for icmp 10\.0\.1\.1/ },
    ],
  );
});
