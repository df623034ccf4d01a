/** What was seen beside what was predicted, over worlds that are written down. */
import t from 'tap';
import type { Observation, ObservedHop } from '../../inspect/observe/request.ts';
import { compare, fitting } from '../../inspect/path/compare.ts';
import type { Hop, Tuple } from '../../inspect/path/hop.ts';
import type { Prediction } from '../../inspect/path/predict.ts';
import { ask, base, nat, rule, table, verdict, worldOf } from './path-world.ts';

const MASQUERADE = rule([], [{ kind: 'masquerade' }], 'masquerade fully-random');

function masqueraded() {
  return worldOf({
    client: {
      links: { eth0: { peer: 'router:left' } },
      addresses: { eth0: ['10.0.1.2/24', 'fd01::2/64'] },
      routes: ['default via 10.0.1.1 dev eth0', 'default via fd01::1 dev eth0'],
    },
    router: {
      links: { left: { peer: 'client:eth0' }, right: { peer: 'server:eth0' } },
      addresses: { left: ['10.0.1.1/24', 'fd01::1/64'], right: ['10.0.2.1/24', 'fd02::1/64'] },
      tables: [table('n', [nat('post', 'postrouting', 100, [MASQUERADE])])],
    },
    server: {
      links: { eth0: { peer: 'router:right' } },
      addresses: { eth0: ['10.0.2.2/24', 'fd02::2/64'] },
      listeners: undefined,
    },
  });
}

/** All links that were predicted, with what is made of their tuples. */
function seenAs(prediction: Prediction, change: (tuple: Tuple) => Tuple): Observation {
  const links = (way: 'there' | 'back', hops: readonly Hop[] = []): ObservedHop[] =>
    hops
      .filter(({ kind }) => kind === 'link' || kind === 'send')
      .map((hop) => ({ ...hop, way, at: 0, tuple: change(hop.tuple) }) as ObservedHop);
  const { there, back } = prediction;
  return {
    hops: [...links('there', there.hops), ...links('back', back?.hops)],
    rules: [],
    packets: [],
    notSeen: [],
    tuple: there.hops[0]?.tuple,
    answer: { kind: 'syn-ack', from: '10.0.2.2', microseconds: 80 },
  } as unknown as Observation;
}

t.test('masquerade may take another port, and answers come to that', async (t) => {
  const prediction = ask(masqueraded(), 'client', '10.0.2.2:80');
  t.equal(prediction.back?.outcome, 'delivered', prediction.there.why);
  const other = (tuple: Tuple): Tuple => ({
    ...tuple,
    ...(tuple.source === '10.0.2.1' ? { sourcePort: 1234 } : {}),
    ...(tuple.destination === '10.0.2.1' ? { destinationPort: 1234 } : {}),
  });
  t.same(compare(prediction, seenAs(prediction, other)).differences, []);
});

t.test('but a port that nothing rewrites is a difference', async (t) => {
  const prediction = ask(masqueraded(), 'client', '10.0.2.2:80');
  const wrong = (tuple: Tuple): Tuple =>
    tuple.destination === '10.0.1.2' ? { ...tuple, destinationPort: 1234 } : tuple;
  t.match(
    compare(prediction, seenAs(prediction, wrong)).differences.join(),
    /seen as tcp .* → 10\.0\.1\.2:1234/,
  );
});

t.test('the address of localhost comes in by no link', async (t) => {
  const { there } = ask(masqueraded(), 'client', '[fd01::1]:80', { source: '::1' });
  t.match(there, { outcome: 'dropped', why: /source ::1 comes in by left.*localhost stays in its host/ });
});

t.test('who sends what its own rules drop is told so', async (t) => {
  const DROP = rule([], [verdict('drop')], 'drop');
  const world = worldOf({
    one: {
      links: { eth0: { peer: 'two:eth0' } },
      addresses: { eth0: ['10.0.1.2/24'] },
      tables: [table('n', [base('out', 'output', 0, [DROP])])],
    },
    two: { links: { eth0: { peer: 'one:eth0' } }, addresses: { eth0: ['10.0.1.3/24'] } },
  });
  const prediction = ask(world, 'one', '10.0.1.3');
  t.equal(prediction.there.outcome, 'dropped');
  const told = (errno: string) => ({
    ...seenAs(prediction, (one) => one),
    answer: { kind: 'refused', errno },
  });
  t.same(compare(prediction, told('EPERM') as Observation).differences, []);
  t.match(compare(prediction, told('ENETUNREACH') as Observation).differences.join(), /predicted dropped/);
});

t.test('what is too large for the other end of a pair is dropped there, and nobody is told', async (t) => {
  const ends = (mtu: number) =>
    worldOf({
      one: { links: { eth0: { peer: 'two:eth0' } }, addresses: { eth0: ['10.0.1.2/24'] } },
      two: { links: { eth0: { peer: 'one:eth0', mtu } }, addresses: { eth0: ['10.0.1.3/24'] } },
    });
  const send = (mtu: number, length: number) => ask(ends(mtu), 'one', '10.0.1.3', { length }).there;
  t.match(send(1400, 1405), {
    outcome: 'dropped',
    why: /1405 bytes .* through eth0 \(MTU 1400\) of two.*silently/,
  });
  t.equal(send(1400, 1404).outcome, 'delivered', 'with the room of a VLAN tag');
  t.match(send(1400, 84).notes.join(), /more than 1400 bytes do not fit through eth0 of two/);
  t.same(send(1500, 84).notes, []);
});

t.test('groups have no prediction, whatever the default route says', async (t) => {
  for (const group of ['224.0.0.251', '239.1.1.1', '255.255.255.255']) {
    const { there } = ask(masqueraded(), 'client', group);
    t.match(there, { outcome: 'unknown', why: /cast address: its ways are not predicted/ }, group);
  }
});

t.test('what a kernel on the way has to say comes in the place of the answer', async (t) => {
  const prediction = ask(masqueraded(), 'client', '10.0.2.2:80/sctp');
  const seen = seenAs(prediction, (one) => one);
  const hops = seen.hops.map((hop) =>
    hop.way === 'there' ? hop : { ...hop, tuple: { ...hop.tuple, protocol: 'icmp' as const } },
  );
  const answer = { kind: 'icmp', from: '10.0.2.2', words: 'protocol unreachable' };
  const { differences } = compare(prediction, { ...seen, hops, answer } as unknown as Observation);
  t.match(differences, [/predicted delivered, seen rejected/]);
  t.equal(differences.length, 1);
});

t.test('who watches sees other ports than were asked for', async (t) => {
  const prediction = ask(masqueraded(), 'client', '10.0.2.2:80');
  const theirs = (tuple: Tuple): Tuple => ({
    ...tuple,
    ...(tuple.destinationPort === 40_000 ? { destinationPort: 1234 } : { sourcePort: 1234 }),
  });
  t.same(compare(prediction, seenAs(prediction, theirs), false).differences, []);
});

t.test('what was seen says which of two it was', async (t) => {
  const half = rule([{ unknown: 'random' }], [verdict('drop')], 'every second');
  const world = worldOf({
    one: {
      links: { eth0: { peer: 'two:eth0' } },
      addresses: { eth0: ['10.0.1.2/24'] },
      tables: [table('n', [base('out', 'output', 0, [half])])],
    },
    two: { links: { eth0: { peer: 'one:eth0' } }, addresses: { eth0: ['10.0.1.3/24'] } },
  });
  const usual = ask(world, 'one', '10.0.1.3');
  t.equal(usual.there.outcome, 'delivered');
  const told = { ...seenAs(usual, (one) => one), hops: [], answer: { kind: 'refused', errno: 'EPERM' } };
  const { prediction, comparison } = fitting(usual, told as unknown as Observation);
  t.match(prediction.there, { outcome: 'dropped', why: /every second/ });
  t.same(comparison.differences, []);
  t.match(prediction.there.assumptions.join(), /rule "every second".* matches/);
  t.equal(
    fitting(
      usual,
      seenAs(usual, (one) => one),
    ).prediction,
    usual,
    'or the usual one',
  );
});
