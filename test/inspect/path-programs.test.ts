/** Predictions over worlds that are written down: what stands on links, and what is of other parts of the kernel than routes and rules. */
import t from 'tap';
import { parseVirtualServices } from '../../inspect/host/virtual-services.ts';
import { ask, base, is, routed, rule, table, text, to, verdict, words, worldOf } from './path-world.ts';

const LINKS = { left: { peer: 'client:eth0' }, right: { peer: 'server:eth0' } };

t.test('chains of family netdev', async (t) => {
  const drops = (hook: 'ingress' | 'egress', devices: string[]) =>
    table(
      'early',
      [base('at', hook, 0, [rule([to('10.0.2.0/24')], [verdict('drop')], 'drop it')], { devices })],
      [],
      'netdev',
    );
  const asked = (hook: 'ingress' | 'egress', ...devices: string[]) =>
    ask(routed({ tables: [drops(hook, devices)] }), 'client', '10.0.2.2').there;
  t.match(asked('ingress', 'left'), {
    outcome: 'dropped',
    why: /"drop it" in chain at of table netdev early/,
  });
  t.match(asked('egress', 'right'), { outcome: 'dropped', why: /"drop it"/ });
  t.same(words(asked('egress', 'right'), 'link').slice(-1), ['in by left'], 'before it leaves');
  t.equal(asked('ingress', 'right').outcome, 'delivered', 'by another link');
  t.equal(asked('egress', 'left').outcome, 'delivered');

  const bridged = (hook: 'ingress' | 'egress', device: string) =>
    ask(
      worldOf({
        a: { links: { eth0: { peer: 'host:pa' } }, addresses: { eth0: ['10.0.2.1/24'] } },
        b: { links: { eth0: { peer: 'host:pb' } }, addresses: { eth0: ['10.0.2.2/24'] } },
        host: {
          links: {
            br0: { kind: 'bridge' },
            pa: { peer: 'a:eth0', in: 'br0' },
            pb: { peer: 'b:eth0', in: 'br0' },
          },
          addresses: { br0: ['10.0.2.254/24'] },
          tables: [drops(hook, [device])],
        },
      }),
      'a',
      '10.0.2.2',
    ).there.outcome;
  t.equal(bridged('ingress', 'pa'), 'dropped', 'a port of a bridge, before the bridge');
  t.equal(bridged('egress', 'pb'), 'dropped');
  t.equal(bridged('ingress', 'br0'), 'delivered', 'what is passed on does not come to the bridge itself');
});

t.test('programs are assumed to let through', async (t) => {
  const programs = [
    { link: 2, at: 'xdp', words: 'XDP program 12' },
    { link: 3, at: 'egress', words: 'tc filter bpf (program 7, "out")' },
    { link: 3, at: 'ingress', words: 'tc filter flower' },
  ] as const;
  const { there, back } = ask(routed({ links: LINKS, programs }), 'client', '10.0.2.2');
  t.equal(there.outcome, 'delivered');
  t.same(there.assumptions, [
    'XDP program 12, which looks at what comes in by left of router, lets it through as it is',
    'tc filter bpf (program 7, "out"), which looks at what leaves by right of router, lets it through as it is',
  ]);
  t.match(back?.assumptions, [/tc filter flower, which looks at what comes in by right/]);
});

t.test('services of IPVS', async (t) => {
  const services = parseVirtualServices(
    [
      'IP Virtual Server version 1.2.1 (size=4096)',
      'Prot LocalAddress:Port Scheduler Flags',
      '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn',
      'TCP  0A600001:0050 rr',
      '  -> 0A010005:1F90      Masq    1      0          0',
      '  -> 0A010006:1F90      Masq    0      0          0',
      'UDP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0035 rr persistent 10800',
      'FWM  00000064 rr',
      '  -> 0A010007:1F90      Masq    1      0          0',
    ].join('\n'),
  );
  t.same(services, [
    { protocol: 'tcp', address: '10.96.0.1', port: 80, servers: ['10.1.0.5:8080'] },
    { protocol: 'udp', address: 'fd00::1', port: 53, servers: [] },
  ]);
  const own = {
    addresses: { left: ['10.0.1.1/24', 'fd01::1/64'], right: ['10.0.2.1/24', '10.96.0.1/32', 'fd00::1/128'] },
  };
  const asked = (at: string) => ask(routed({ ...own, services, listeners: [] }), 'client', at).there;
  t.match(asked('10.96.0.1:80'), { outcome: 'unknown', why: /IPVS of router .* to one of 10\.1\.0\.5:8080/ });
  t.match(asked('[fd00::1]:53/udp'), { outcome: 'lost', why: /it has no server/ });
  t.match(asked('10.96.0.1:81'), { outcome: 'rejected', why: /nobody listens/ }, 'another port');
});

t.test('a VRF has a table of its own', async (t) => {
  const vrf = {
    links: {
      blue: { kind: 'vrf', vrf: { table: 10 } },
      left: { peer: 'client:eth0', in: 'blue' },
      right: { peer: 'server:eth0' },
    },
    routes: ['10.0.9.0/24 via 10.0.2.2 dev right table 10', '10.0.9.0/24 via 10.0.1.2 dev left'],
    rules: [{ priority: 1000, action: 'table', table: 0, family: 2, l3mdev: true }] as const,
  };
  const { there } = ask(routed(vrf), 'client', '10.0.9.9');
  t.same(words(there, 'route')[1], 'route 10.0.9.0/24 via 10.0.2.2 dev right table 10, by rule 1000');
  const { left, right } = vrf.links;
  const outside = {
    ...vrf,
    links: { blue: vrf.links.blue, left: { peer: left.peer }, right: { ...right, in: 'blue' } },
  };
  t.match(
    words(ask(routed(outside), 'client', '10.0.9.9').there, 'route')[1],
    /dev left/,
    'only for its own links',
  );
});

t.test('what rules see of links', async (t) => {
  const tables = [
    table('f', [base('fwd', 'forward', 0, [rule([is('iifname', text('left'))], [verdict('drop')])])]),
  ];
  t.equal(ask(routed({ tables }), 'client', 'fd02::2').there.outcome, 'dropped', 'of IPv6 as well');
});
