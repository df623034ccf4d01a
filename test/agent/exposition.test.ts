import t from 'tap';
import { parseExposition, quantile, select, total } from '../../agent/exposition.ts';

t.test('samples are read with their labels', async (t) => {
  const text = [
    '# HELP a_total Some, with a # and {braces}',
    '# TYPE a_total counter',
    'a_total{plugin="bridge",verb="ADD"} 3',
    'a_total{plugin="a \\"quoted\\" \\\\ one",verb="x,y=\\"z\\"\\nline"} 4 1700000000000',
    'b 1.5e-7',
    'c{le="+Inf"} +Inf',
    '',
  ].join('\n');
  const samples = parseExposition(text);
  t.same(samples, [
    { name: 'a_total', labels: { plugin: 'bridge', verb: 'ADD' }, value: 3 },
    { name: 'a_total', labels: { plugin: 'a "quoted" \\ one', verb: 'x,y="z"\nline' }, value: 4 },
    { name: 'b', labels: {}, value: 1.5e-7 },
    { name: 'c', labels: { le: '+Inf' }, value: Number.POSITIVE_INFINITY },
  ]);
  t.equal(total(samples, 'a_total'), 7);
  t.equal(total(samples, 'a_total', { verb: 'ADD' }), 3);
  t.equal(total(samples, 'none'), 0);
  t.same(select(samples, 'a_total', { plugin: 'none' }), []);
});

t.test('quantiles lie where Prometheus sees them', async (t) => {
  const { POSITIVE_INFINITY } = Number;
  t.equal(quantile(0.5, []), undefined);
  t.equal(
    quantile(0.5, [
      [1, 0],
      [POSITIVE_INFINITY, 0],
    ]),
    undefined,
  );
  // Evenly spread in its bucket.
  t.equal(
    quantile(0.5, [
      [1, 10],
      [POSITIVE_INFINITY, 10],
    ]),
    0.5,
  );
  t.equal(
    quantile(0.5, [
      [1, 0],
      [2, 4],
      [POSITIVE_INFINITY, 4],
    ]),
    1.5,
  );
  t.equal(
    quantile(0.75, [
      [1, 2],
      [2, 2],
      [4, 4],
      [POSITIVE_INFINITY, 4],
    ]),
    3,
  );
  t.equal(
    quantile(0.99, [
      [1, 1],
      [2, 2],
      [POSITIVE_INFINITY, 100],
    ]),
    2,
    'above the last bound: the last bound',
  );
});
