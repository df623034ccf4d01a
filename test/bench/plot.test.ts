/** Plots: every point where its numbers say, names that do not lie upon each other, and text that needs no escaping by the caller. */
import t from 'tap';
import { linePlot, type Series } from '../../bench/plot.ts';

const plot = (series: Series[]) =>
  linePlot({ title: 'a < b', x: 'x', y: 'ms', panels: [{ title: 'p', series }] });

const numbers = (svg: string, pattern: RegExp) =>
  [...svg.matchAll(pattern)].map(([, value]) => Number(value));

t.test('time is on a logarithmic axis, containers on a linear one', async (t) => {
  const svg = plot([
    {
      name: 'one',
      look: 'ours',
      points: [
        [0, 1],
        [250, 10],
        [500, 100],
      ],
    },
  ]);
  t.strictSame(numbers(svg, /<circle [^>]*cx="([\d.]+)"/g), [0, 150, 300]);
  t.strictSame(numbers(svg, /<circle [^>]*cy="([\d.]+)"/g), [250, 125, 0]);
  t.match(svg, />100<\/text>/);
  t.match(svg, />1<\/text>/);
});

t.test('the names of lines that end together lie one below the other', async (t) => {
  const points = [
    [1, 5],
    [2, 5],
  ] as const;
  const svg = plot(['one', 'two', 'three'].map((name) => ({ name, look: 'theirs', points })));
  const places = ['one', 'two', 'three'].map(
    (name) => numbers(svg, new RegExp(`y="([\\d.]+)">${name}<`, 'g'))[0] ?? 0,
  );
  for (const [index, place] of places.entries()) if (index > 0) t.ok(place - (places[index - 1] ?? 0) >= 14);
});

t.test('every element is closed, and text is escaped', async (t) => {
  const svg = plot([{ name: 'x & y', look: 'floor', points: [[1, 2]] }]);
  const open: string[] = [];
  for (const [, closing, name, own] of svg.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
    if (closing) t.equal(open.pop(), name);
    else if (!own) open.push(name ?? '');
  }
  t.strictSame(open, []);
  t.match(svg, '<title>a &lt; b</title>');
  t.match(svg, '>x &amp; y</text>');
});
