/** What was seen beside what was predicted, over worlds that are written down. */
import t from 'tap';
import type { Observation, ObservedHop } from '../../inspect/observe/request.ts';
import { compare } from '../../inspect/path/compare.ts';
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
