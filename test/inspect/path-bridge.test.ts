/** Predictions through bridges and tunnels that are written down. */
import t from 'tap';
import {
  ask,
  base,
  macOf,
  type Namespaced,
  nat,
  rule,
  table,
  to,
  verdict,
  words,
  worldOf,
} from './path-world.ts';

const BRIDGE = { kind: 'bridge' };

/** Two containers on a host's bridge. */
function bridged(host: Namespaced = {}, ports: { one?: object; two?: object } = {}, two: Namespaced = {}) {
  const container = (name: string, n: number): Namespaced => ({
    links: { eth0: { peer: `host:v${name}` } },
    addresses: { eth0: [`10.0.0.${n}/24`] },
    routes: ['default via 10.0.0.1 dev eth0'],
  });
  return worldOf({
    one: container('one', 2),
    two: { ...container('two', 3), ...two },
    host: {
      links: {
        br0: BRIDGE,
        vone: { peer: 'one:eth0', in: 'br0', port: { state: 3, ...ports.one } },
        vtwo: { peer: 'two:eth0', in: 'br0', port: { state: 3, ...ports.two } },
      },
      addresses: { br0: ['10.0.0.1/24'] },
      ...host,
    },
  });
}

t.test('bridges', async (t) => {
  t.match(words(ask(bridged(), 'one', '10.0.0.3').there, 'bridge'), [
    'bridge br0: vone → vtwo (flooded, not in the FDB yet)',
  ]);
  const fdb = [{ mac: macOf('two', 'eth0'), link: 4, master: 2 }];
  t.match(words(ask(bridged({ fdb }), 'one', '10.0.0.3').there, 'bridge'), [/FDB has/]);
  const wrong = [{ mac: macOf('two', 'eth0'), link: 3, master: 2 }];
  t.match(ask(bridged({ fdb: wrong }), 'one', '10.0.0.3').there, {
    outcome: 'dropped',
    why: /does not send out of the port it came in by.*hairpin on/,
  });
  t.match(
    ask(bridged({}, { one: { isolated: true }, two: { isolated: true } }), 'one', '10.0.0.3').there.outcome,
    'lost',
    'not even asked',
  );
  t.equal(ask(bridged({}, { one: { isolated: true } }), 'one', '10.0.0.3').there.outcome, 'delivered');
  t.match(ask(bridged({}, { two: { state: 4 } }), 'one', '10.0.0.3').there, {
    outcome: 'dropped',
    why: /vtwo of bridge br0 is blocking/,
  });
  t.equal(ask(bridged(), 'one', '10.0.0.1').there.hops.at(-1)?.place.host, 'host');
  t.match(ask(bridged(), 'host', '10.0.0.3').there, { outcome: 'delivered' });
  const twice = bridged({}, {}, { addresses: { eth0: ['10.0.0.3/24', '10.0.0.1/24'] } });
  t.match(
    ask(twice, 'one', '10.0.0.1').there.notes.join(),
    /10\.0\.0\.1 is there 2 times, at host and two|two and host/,
  );
});

t.test('a published port, asked by who publishes it', async (t) => {
  const dnat = rule([to('10.0.0.1')], [{ kind: 'dnat', address: '10.0.0.2' }], 'dnat');
  const masquerade = rule([to('10.0.0.2')], [{ kind: 'masquerade' }], 'masquerade');
  const post = nat('post', 'postrouting', 100, [masquerade]);
  const tables = (...more: (typeof post)[]) => [
    table('n', [nat('pre', 'prerouting', -100, [dnat]), ...more]),
  ];
  const [plain, hairpin] = [
    bridged({ tables: tables() }, { one: { hairpin: true } }),
    bridged({ tables: tables(post) }),
  ];
  t.match(
    ask(plain, 'one', '10.0.0.1').there,
    { outcome: 'dropped', why: /is an address|martian|same address/ },
    'its own address comes back to it',
  );
  t.match(
    ask(hairpin, 'one', '10.0.0.1').there,
    { outcome: 'delivered' },
    'the host asks, and no hairpin is needed: it is routed',
  );
  t.match(ask(hairpin, 'one', '10.0.0.1').back, { outcome: 'delivered' });
});

t.test('bridged traffic and rules', async (t) => {
  const dropping = [table('f', [base('f', 'forward', 0, [rule([], [verdict('drop')], 'drop')])])];
  const call = { 'bridge/bridge-nf-call-iptables': 1 };
  t.equal(
    ask(bridged({ tables: dropping }), 'one', '10.0.0.3').there.outcome,
    'delivered',
    'rules for IP do not see it',
  );
  t.equal(
    ask(bridged({ tables: dropping, sysctls: call }), 'one', '10.0.0.3').there.outcome,
    'dropped',
    'but with br_netfilter',
  );
  const own = {
    tables: [table('b', [base('f', 'forward', 0, [rule([], [verdict('drop')], 'drop')])], [], 'bridge')],
  };
  t.equal(ask(bridged(own), 'one', '10.0.0.3').there.outcome, 'dropped', 'rules for bridges do');
  t.equal(ask(bridged(own), 'one', '10.0.0.1').there.outcome, 'delivered');
  const dnat = rule([to('10.0.0.9')], [{ kind: 'dnat', address: '10.0.0.3' }], 'dnat');
  const tables = [table('n', [nat('pre', 'prerouting', -100, [dnat])])];
  const world = bridged(
    { tables, sysctls: call },
    {},
    { addresses: { eth0: ['10.0.0.3/24'] }, proxies: ['10.0.0.9 dev eth0'] },
  );
  const { there, back } = ask(world, 'one', '10.0.0.9');
  t.match(
    [there.outcome, there.hops.at(-1)?.tuple.destination, back?.outcome],
    ['delivered', '10.0.0.3', 'delivered'],
  );
});

t.test('a table that is full', async (t) => {
  const sysctls = { 'netfilter/nf_conntrack_count': 4, 'netfilter/nf_conntrack_max': 4 };
  const flow = {
    source: '10.9.9.9',
    destination: '10.9.9.8',
    protocol: 6,
    sourcePort: 1,
    destinationPort: 2,
  };
  const connection = (status: number) => ({
    family: 2,
    status,
    mark: 0,
    id: 1,
    zone: undefined,
    original: flow,
    reply: flow,
  });
  const assured = bridged({ sysctls, connections: [connection(14)] });
  t.match(ask(assured, 'one', '10.0.0.1').there, {
    outcome: 'dropped',
    why: /tracking is full: 4 of 4 connections.*nf_conntrack_max=8/,
  });
  const early = ask(
    bridged({ sysctls, connections: [connection(14), connection(8)] }),
    'one',
    '10.0.0.1',
  ).there;
  t.match([early.outcome, early.assumptions.join()], ['delivered', /makes room/]);
});

/** Two hosts with a tunnel on a wire. */
function tunnelled(one: { fdb?: string | undefined; mtu?: number; vni?: number } = {}, two: Namespaced = {}) {
  const { fdb = '192.0.2.2', mtu = 1450, vni = 42 } = one;
  const host = (n: 1 | 2, peer: string, dst: string, id: number): Namespaced => ({
    links: {
      eth0: { peer: `${peer}:eth0` },
      vx0: { kind: 'vxlan', mtu, vxlan: { vni: id, local: `192.0.2.${n}`, port: 4789 } },
    },
    addresses: { eth0: [`192.0.2.${n}/24`], vx0: [`10.9.${n}.1/32`] },
    routes: [`10.9.${3 - n}.0/24 via 10.9.${3 - n}.1 dev vx0`],
    neighbours: [`10.9.${3 - n}.1 dev vx0 lladdr ${macOf(n === 1 ? 'two' : 'one', 'vx0')} nud permanent`],
    fdb: dst === '' ? [] : [{ mac: macOf(n === 1 ? 'two' : 'one', 'vx0'), link: 3, dst, self: true }],
  });
  return worldOf({ one: host(1, 'two', fdb, vni), two: { ...host(2, 'one', '192.0.2.1', 42), ...two } });
}

t.test('tunnels', async (t) => {
  const { there, back } = ask(tunnelled(), 'one', '10.9.2.1');
  t.match([there.outcome, back?.outcome], ['delivered', 'delivered']);
  t.match(
    there.hops.find(({ kind }) => kind === 'tunnel'),
    { vni: 42, outer: { source: '192.0.2.1', destination: '192.0.2.2', destinationPort: 4789 } },
  );
  t.match(ask(tunnelled({ fdb: '' }), 'one', '10.9.2.1').there, {
    outcome: 'dropped',
    why: /vx0 does not know which host has/,
  });
  t.match(ask(tunnelled({ fdb: '192.0.2.9' }), 'one', '10.9.2.1').there, {
    outcome: 'lost',
    why: /asks for 192\.0\.2\.9/,
  });
  t.match(ask(tunnelled({ vni: 43 }), 'one', '10.9.2.1').there, {
    outcome: 'lost',
    why: /no VXLAN device has VNI 43 and port 4789/,
  });
  const input = base('in', 'input', 0, [
    rule(
      [{ fields: ['dport'], not: false, values: [{ from: 4789, to: 4789 }] }],
      [verdict('drop')],
      'udp dport 4789 drop',
    ),
  ]);
  t.match(ask(tunnelled({}, { tables: [table('f', [input])] }), 'one', '10.9.2.1').there, {
    outcome: 'dropped',
    why: /udp dport 4789 drop/,
  });
  const wide = ask(tunnelled({ mtu: 1500 }), 'one', '10.9.2.1', { length: 1500 }).there;
  t.match(
    [wide.outcome, wide.notes.join()],
    ['delivered', /1550 bytes do not fit through eth0.*in pieces/],
    'the outer packet may be cut',
  );
});
