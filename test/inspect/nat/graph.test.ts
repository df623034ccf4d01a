/** The picture of a ruleset: nothing on top of something else, arrows in the direction of reading, letters escaped. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { counted, type Graph, graphOf } from '../../../inspect/nat/graph/graph.ts';
import { layOut } from '../../../inspect/nat/graph/layout.ts';
import { escaped, svgOf } from '../../../inspect/nat/graph/svg.ts';
import { withOwners } from '../../../inspect/owners.ts';
import { readIptables } from '../../../inspect/ruleset/iptables.ts';
import '../../support/seed.ts';

const saved = (name: string) => readFileSync(join(import.meta.dirname, '..', 'rulesets', name), 'utf8');
const rules = (text: string) =>
  withOwners({ tables: readIptables(text, 'iptables-nft', 4, new Map()), unread: [] });

/** Elements are closed in order, and nothing that is no tag has an angle bracket. */
function expectWellFormed(t: Test, svg: string, name: string): void {
  const open: string[] = [];
  const wrong: string[] = [];
  const rest = svg.replaceAll(
    /<(\/?)([a-zA-Z]+)((?: [\w:-]+="[^"<>]*")*)(\/?)>/g,
    (_, end, tag, _attributes, closed) => {
      if (end) wrong.push(...(open.pop() === tag ? [] : [tag]));
      else if (!closed) open.push(tag);
      return '';
    },
  );
  t.strictSame([...open, ...wrong], [], `${name}: all closed`);
  t.notMatch(rest, /[<>]|&(?!(amp|lt|gt|quot);)/, `${name}: nothing but text is left`);
}

function expectReadable(t: Test, graph: Graph, name: string): void {
  const { placed, curves, width, height } = layOut(graph, 80);
  for (const [i, a] of placed.entries()) {
    t.ok(a.x + a.width <= width && a.y + a.height <= height, `${name}: ${a.box.title} is in the picture`);
    const under = placed
      .slice(i + 1)
      .filter(
        (b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height,
      );
    t.strictSame(
      under.map(({ box }) => box.title),
      [],
      `${name}: nothing on ${a.box.title}`,
    );
  }
  t.ok(
    curves.every(({ from, to }) => from.x < to.x),
    `${name}: arrows go to the right`,
  );
}

t.test('real rules', async (t) => {
  for (const name of ['docker', 'kube-proxy', 'libvirt', 'ufw', 'flannel', 'calico']) {
    const graph = graphOf(rules(saved(`${name}.iptables`)));
    expectReadable(t, graph, name);
    expectWellFormed(t, svgOf(graph, name), name);
  }
  const { boxes, arrows } = graphOf(rules(saved('docker.iptables')));
  const id = (title: string, subtitle: string) =>
    boxes.find((box) => box.title === title && box.subtitle.startsWith(subtitle))?.id;
  t.match(
    arrows.filter(({ to }) => to === id('DOCKER', 'ip nat')).map(({ from, line }) => ({ from, line })),
    [
      { from: id('PREROUTING', 'ip nat'), line: 0 },
      { from: id('OUTPUT', 'ip nat'), line: 0 },
    ],
  );
  t.notOk(id('INPUT', 'ip nat'), 'a chain that does nothing is left out');
  const forward = boxes.find(({ title }) => title === 'FORWARD');
  t.match(forward, { hook: { name: 'forward' }, owner: { who: 'docker' }, subtitle: /policy drop 0 p 0 B/ });
});

t.test('very many', async (t) => {
  const lines = ['*nat', ':POSTROUTING ACCEPT [0:0]', ':PREROUTING ACCEPT [0:0]'];
  const hash = (i: number) => `KUBE-SEP-${String(i).padStart(16, 'A')}`;
  for (let i = 0; i < 500; i += 1) lines.push(`:${hash(i)} - [0:0]`);
  for (let i = 0; i < 500; i += 1) {
    lines.push(
      `[2:100] -A PREROUTING -d 10.96.0.${i % 250}/32 -j ${hash(i)}`,
      `-A ${hash(i)} -j DNAT --to-destination 10.1.0.1:80`,
    );
  }
  const graph = graphOf(rules(lines.join('\n')));
  t.strictSame(
    graph.boxes.map(({ title }) => title),
    ['PREROUTING', `500 chains like ${hash(0)}`],
  );
  t.match(graph.boxes[0]?.lines.at(-1), {
    text: '... and 476 rules more',
    counters: { packets: 952, bytes: 47_600 },
  });
  t.equal(
    graph.arrows.reduce((sum, { count }) => sum + count, 0),
    500,
    'no jump is lost',
  );
  t.ok(svgOf(graph, 'many').length < 60_000);
  t.equal(counted({ packets: 12_345_678, bytes: 999 }), '12M p 999 B');
});

t.test('any text', async (t) => {
  t.equal(escaped('a<b>&"\u0000'), 'a&lt;b&gt;&amp;&quot;�');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const graph = graphOf(
        rules(`*nat\n:X - [0:0]\n-A X -m comment --comment "${text.replaceAll(/["\\\n]/g, '')}" -j X`),
      );
      expectWellFormed(t, svgOf(graph, text), 'any');
    }),
    { numRuns: 50 },
  );
});
