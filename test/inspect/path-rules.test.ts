/** Predictions over worlds that are written down: what rules, maps and connection tracking do to a packet. */
import t from 'tap';
import type { Element } from '../../inspect/ruleset/model.ts';
import { ask, base, is, isNot, jump, nat, routed, rule, table, text, verdict, words } from './path-world.ts';

const NOBODY = { who: 'somebody else' };

t.test('chains', async (t) => {
  const through = (...chains: Parameters<typeof table>[1]) =>
    ask(routed({ tables: [table('f', chains)] }), 'client', '10.0.2.2').there.outcome;
  const drop = rule([], [verdict('drop')]);
  t.equal(through(base('f', 'forward', 0, [drop])), 'dropped');
  t.equal(through(base('f', 'input', 0, [drop]), base('o', 'output', 0, [drop])), 'delivered', 'other hooks');
  t.equal(through(base('f', 'forward', 0, [rule([], [verdict('accept')]), drop])), 'delivered');
  t.equal(
    through(base('f', 'forward', 0, [rule([], [verdict('accept')])]), base('g', 'forward', 1, [drop])),
    'dropped',
    'what one chain accepts, a later one may drop',
  );
  t.equal(
    through(base('f', 'forward', 0, [rule([], [jump('x')]), drop]), { name: 'x', rules: [] }),
    'dropped',
  );
  const accepting = { name: 'x', rules: [rule([], [verdict('accept')])] };
  t.equal(through(base('f', 'forward', 0, [rule([], [jump('x')]), drop]), accepting), 'delivered');
  const returning = { name: 'x', rules: [rule([], [verdict('return')]), drop] };
  t.equal(through(base('f', 'forward', 0, [rule([], [jump('x')])]), returning), 'delivered', 'return');
  t.equal(
    through(
      base('f', 'forward', 0, [rule([], [jump('x', 'goto')]), rule([], [verdict('accept')])], {
        policy: 'drop',
      }),
      returning,
    ),
    'dropped',
    'goto does not come back',
  );
  t.equal(through(base('f', 'forward', 0, [rule([], [verdict('return')])], { policy: 'drop' })), 'dropped');
  const endless = { name: 'x', rules: [rule([], [jump('x')])] };
  t.equal(
    through(base('f', 'forward', 0, [rule([], [jump('x')])]), endless),
    'delivered',
    'no way without end',
  );
});

t.test('what rules ask', async (t) => {
  const dropped = (
    match: Parameters<typeof rule>[0],
    where: 'forward' | 'prerouting' | 'output' = 'forward',
    dst = '10.0.2.2:80',
  ) => {
    const tables = [table('f', [base('f', where, 0, [rule(match, [verdict('drop')])])])];
    return (
      ask(where === 'output' ? routed({}, {}, { tables }) : routed({ tables }), 'client', dst).there
        .outcome === 'dropped'
    );
  };
  t.ok(dropped([is('saddr', { prefix: '10.0.1.0/24' }), is('dport', { from: 80, to: 81 })]));
  t.notOk(dropped([is('dport', { from: 81, to: 90 })]));
  t.ok(dropped([is('protocol', text('tcp'))]));
  t.ok(dropped([is('protocol', { from: 6, to: 6 })]));
  t.ok(dropped([isNot('protocol', text('udp'))]));
  t.ok(dropped([is('iifname', text('le*')), is('oifname', text('right'))]));
  t.notOk(dropped([isNot('iifname', text('left'))]));
  t.ok(dropped([isNot('oifname', text('left'))], 'prerouting'), 'where there is no such link yet');
  t.ok(dropped([is('ctState', text('new'))]));
  t.notOk(dropped([is('ctState', text('established'), text('related'))]));
  t.ok(dropped([{ fields: ['ctState'], not: false, mask: 8, value: 8 }]));
  t.ok(dropped([is('family', text('ipv4'))]));
  t.notOk(dropped([is('family', text('ipv4'))], 'forward', '[fd02::2]:80'));
  t.ok(dropped([is('destinationType', text('unicast'))], 'prerouting'));
  t.ok(dropped([is('destinationType', text('local'))], 'prerouting', '10.0.2.1:80'));
  t.ok(dropped([is('sourceLink', text('left'))], 'prerouting'));
  t.notOk(dropped([is('sourceLink', text('0'))], 'prerouting'));
  t.ok(dropped([{ fields: ['tcpFlags'], not: false, mask: 0x17, value: 2 }]), 'syn and no other');
  t.ok(dropped([is('icmpType', { from: 8, to: 8 })], 'forward', '10.0.2.2'));
  t.notOk(dropped([is('dport', { from: 0, to: 65_535 })], 'forward', '10.0.2.2'), 'an echo has no ports');
  t.ok(dropped([is('saddr', { fromAddress: '10.0.1.1', toAddress: '10.0.1.9' })]));
  t.ok(dropped([is('mark', { from: 0, to: 0 })], 'output'));
  t.ok(
    dropped([
      {
        fields: ['saddr', 'dport'],
        not: false,
        values: [{ parts: [{ prefix: '10.0.1.2' }, { from: 80, to: 80 }] }],
      },
    ]),
  );
  t.notOk(
    dropped([
      {
        fields: ['saddr', 'dport'],
        not: false,
        values: [{ parts: [{ prefix: '10.0.1.2' }, { from: 81, to: 81 }] }],
      },
    ]),
  );
});

t.test('what nobody can know: both ways are told', async (t) => {
  const chance = { unknown: 'statistic mode random probability 0.5' };
  const tables = [table('f', [base('f', 'forward', 0, [rule([chance], [verdict('drop')], 'sometimes')])])];
  const { there } = ask(routed({ tables }), 'client', '10.0.2.2');
  t.match(there.outcome, 'delivered');
  t.match(there.assumptions.join(), /rule "sometimes" of chain f of table inet f does not match/);
  t.match(there.notes.join(), /if rule "sometimes".*matches after all: router drops it silently/);
  const limited = [
    rule([{ unknown: 'limit rate 10/second' }], [verdict('accept')], 'few'),
    rule([], [verdict('drop')]),
  ];
  const other = ask(
    routed({ tables: [table('f', [base('f', 'forward', 0, limited)])] }),
    'client',
    '10.0.2.2',
  );
  t.match(
    [other.there.outcome, other.there.notes.join()],
    ['delivered', /if rule "few".*does not match after all/],
  );
});

t.test('verdict maps and maps of addresses', async (t) => {
  const element = (key: string, more: Partial<Element>): Element => ({
    key: { prefix: key },
    owner: NOBODY,
    ...more,
  });
  const sets = [
    {
      ...{ name: 'who', kind: 'vmap' as const, type: 'ipv4_addr' },
      elements: [
        element('10.0.1.2', {
          verdict: { kind: 'jump', chain: 'x' },
          owner: { who: 'weft', containerId: 'c1' },
        }),
      ],
    },
    {
      ...{ name: 'ports', kind: 'map' as const, type: 'inet_service' },
      elements: [
        {
          key: { from: 8080, to: 8080 },
          data: { parts: [{ prefix: '10.0.2.2' }, { from: 80, to: 80 }] },
          owner: NOBODY,
        },
      ],
    },
  ];
  const chains = [
    base('f', 'forward', 0, [
      rule([], [{ kind: 'vmap', fields: ['saddr'], set: 'who' }], 'ip saddr vmap @who'),
    ]),
    { name: 'x', rules: [rule([], [verdict('drop')], 'drop')] },
  ];
  const { there } = ask(routed({ tables: [table('f', chains, sets)] }), 'client', '10.0.2.2');
  t.match(there.hops.at(-1), {
    kind: 'rule',
    element: '10.0.1.2 : jump x',
    owner: { containerId: 'c1' },
    verdict: 'drop',
  });
  const dnat = { kind: 'dnat', map: { fields: ['dport'], set: 'ports' } } as const;
  const tables = [table('n', [nat('pre', 'prerouting', -100, [rule([], [dnat], 'dnat map')])], sets)];
  const mapped = ask(routed({ tables }), 'client', '10.0.1.1:8080');
  t.match([mapped.there.outcome, mapped.back?.outcome], ['delivered', 'delivered']);
  t.match(mapped.there.hops.at(-1)?.tuple, { destination: '10.0.2.2', destinationPort: 80 });
  t.match(mapped.back?.hops.at(-1)?.tuple, { source: '10.0.1.1', sourcePort: 8080 });
  t.equal(
    ask(routed({ tables }), 'client', '10.0.1.1:8081').there.hops.at(-1)?.place.host,
    'router',
    'no element: no change',
  );
});

t.test('translation', async (t) => {
  const masquerade = rule([is('oifname', text('right'))], [{ kind: 'masquerade' }], 'masquerade');
  const withoutWay = { routes: [] };
  const plain = ask(routed({}, withoutWay), 'client', '10.0.2.2:80');
  t.match(plain.back, {
    outcome: 'rejected',
    why: /server has no route to 10\.0\.1\.2.*was not masqueraded/,
  });
  const tables = [table('n', [nat('post', 'postrouting', 100, [masquerade])])];
  const hidden = ask(routed({ tables }, withoutWay), 'client', '10.0.2.2:80');
  t.match([hidden.there.hops.at(-1)?.tuple.source, hidden.back?.outcome], ['10.0.2.1', 'delivered']);
  t.match(words(hidden.back ?? { hops: [] }, 'translate'), [/destination becomes 10\.0\.1\.2:40000/]);
  // The first chain that rewrites wins, by priority; of other types, all are asked.
  const snat = (address: string) => rule([], [{ kind: 'snat', address }], `snat ${address}`);
  const two = [
    table('n', [
      nat('late', 'postrouting', 110, [snat('10.0.2.98')]),
      nat('early', 'postrouting', 90, [snat('10.0.2.99')]),
    ]),
  ];
  t.equal(ask(routed({ tables: two }), 'client', '10.0.2.2').there.hops.at(-1)?.tuple.source, '10.0.2.99');
  const untracked = [
    ...tables,
    table('r', [base('raw', 'prerouting', -300, [rule([], [{ kind: 'notrack' }])])]),
  ];
  t.equal(
    ask(routed({ tables: untracked }), 'client', '10.0.2.2').there.hops.at(-1)?.tuple.source,
    '10.0.1.2',
    'not tracked, not rewritten',
  );
  const redirect = [
    table('n', [
      nat('pre', 'prerouting', -100, [
        rule([is('dport', { from: 80, to: 80 })], [{ kind: 'redirect', port: '3128' }]),
      ]),
    ]),
  ];
  t.match(ask(routed({ tables: redirect }), 'client', '10.0.2.2:80').there.hops.at(-1), {
    ...{ place: { host: 'router' }, tuple: { destination: '10.0.1.1', destinationPort: 3128 } },
  });
});

t.test('what connection tracking knows comes before the rules', async (t) => {
  const flow = (source: string, destination: string, sourcePort: number, destinationPort: number) => ({
    source,
    destination,
    protocol: 17,
    sourcePort,
    destinationPort,
  });
  const connection = {
    ...{ family: 2, status: 0, mark: 0, id: 1, zone: undefined },
    original: flow('10.0.1.2', '10.0.1.1', 40_000, 53),
    reply: flow('10.0.1.1', '10.0.1.2', 53, 40_000),
  };
  const dnat = rule(
    [is('dport', { from: 53, to: 53 })],
    [{ kind: 'dnat', address: '10.0.2.2', port: '53' }],
    'dnat',
  );
  const tables = [table('n', [nat('pre', 'prerouting', -100, [dnat])])];
  const fresh = ask(routed({ tables }), 'client', '10.0.1.1:53/udp').there;
  t.match(fresh.hops.at(-1)?.place.host, 'server');
  const stale = ask(routed({ tables, connections: [connection] }), 'client', '10.0.1.1:53/udp').there;
  t.match(stale.hops.at(-1)?.place.host, 'router', 'the old way');
  t.match(stale.notes.join(), /a tracked connection of 10\.0\.1\.2:40000 to 10\.0\.1\.1:53 is known already/);
  const other = {
    ...connection,
    original: { ...connection.original, sourcePort: 5 },
    reply: { ...connection.reply, destinationPort: 5 },
  };
  const beside = ask(routed({ tables, connections: [other] }), 'client', '10.0.1.1:53/udp').there;
  t.match(beside.hops.at(-1)?.place.host, 'server', 'another port is another connection');
  t.match(beside.notes.join(), /conntrack -D -p udp --orig-dst 10\.0\.1\.1 --orig-port-dst 53/);
});
