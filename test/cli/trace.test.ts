/** `weft trace`: what is typed, what is printed, and a probe through a simulated host. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { parseDestination, parseHost, parseSize } from '../../cli/trace/parse.ts';
import { comparisonLines, predictionLines } from '../../cli/trace/view.ts';
import type { Observation, ObservedHop } from '../../inspect/observe/request.ts';
import { compare } from '../../inspect/path/compare.ts';
import { ask, base, rule, table, verdict, worldOf } from '../inspect/path-world.ts';
import { makeLab, ONE, OUTSIDE, TWO } from '../inspect/trace-lab.ts';
import { makeGround } from '../runtime/fake-plugins.ts';
import { execIn } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { weft } from './weft.ts';

t.test('destinations', async (t) => {
  const parsed = (text: string) => {
    const { host, port, protocol } = parseDestination(text);
    return [host, port, protocol];
  };
  t.same(parsed('10.88.0.3'), ['10.88.0.3', undefined, 'icmp']);
  t.same(parsed('10.88.0.3:80'), ['10.88.0.3', 80, 'tcp']);
  t.same(parsed('web1:53/udp'), ['web1', 53, 'udp']);
  t.same(parsed('fd00::3'), ['fd00::3', undefined, 'icmp']);
  t.same(parsed('[fd00::3]:53/UDP'), ['fd00::3', 53, 'udp']);
  t.same(parsed('[fd00::3]'), ['fd00::3', undefined, 'icmp']);
  t.same(parsed(':8080'), [undefined, 8080, 'tcp']);
  t.same(parsed('/run/netns/blue:80'), ['/run/netns/blue', 80, 'tcp']);
  t.same(parsed('/run/netns/blue'), ['/run/netns/blue', undefined, 'icmp']);
  t.same(parsed('default/web-0'), ['default/web-0', undefined, 'icmp'], 'a pod of Kubernetes');
  for (const [text, why] of [
    ['', /TO is empty/],
    ['web1:0', /between 1 and 65535/],
    ['web1:http', /between 1 and 65535/],
    ['web1/udp', /udp without a port: wanted web1:PORT\/udp/],
    ['web1:80/icmp', /icmp has no ports/],
    ['web1:80/quic', /protocol "quic"/],
  ] as const) {
    t.throws(() => parseDestination(text), { name: 'UsageError', message: why }, JSON.stringify(text));
  }
  t.same(parseHost('two=/run/netns/two'), ['two', '/run/netns/two']);
  t.throws(() => parseHost('two'), /NAME=NETNS/);
  t.throws(() => parseSize('9'), /between 28 and 65535/);
});

const plain = (text: string) => text;
const paint = { bold: plain, dim: plain, green: plain, red: plain, yellow: plain, cyan: plain };

const WORLD = worldOf({
  web: {
    links: { eth0: { peer: 'host:veth1' } },
    addresses: { eth0: ['10.0.0.2/24'] },
    routes: ['default via 10.0.0.1 dev eth0'],
  },
  host: {
    links: { veth1: { peer: 'web:eth0' }, veth2: { peer: 'db:eth0' } },
    addresses: { veth1: ['10.0.0.1/24'], veth2: ['10.0.1.1/24'] },
    tables: [
      table('f', [base('fwd', 'forward', 0, [{ ...rule([], [verdict('accept')], 'accept'), handle: 7 }])]),
    ],
  },
  db: {
    links: { eth0: { peer: 'host:veth2' } },
    addresses: { eth0: ['10.0.1.2/24'] },
    routes: ['default via 10.0.1.1 dev eth0'],
  },
});

t.test('what is seen beside what is predicted', async (t) => {
  const prediction = ask(WORLD, 'web', '10.0.1.2');
  const { hops } = prediction.there;
  const seen = (kinds: string[], upTo = hops.length): ObservedHop[] =>
    hops
      .slice(0, upTo)
      .filter(({ kind }) => kinds.includes(kind))
      .map((hop) => ({ ...hop, way: 'there' }));
  const tuple = hops[0]?.tuple ?? {
    family: 4 as const,
    protocol: 'icmp' as const,
    source: '',
    destination: '',
  };
  const rules = [
    {
      place: { host: 'host', namespace: 'host' },
      id: 1,
      family: 'inet',
      table: 'f',
      chain: 'fwd',
      what: 'rule' as const,
      verdict: 'accept',
    },
  ];
  const observation: Observation = {
    ...{ tuple, hops: seen(['send', 'link', 'rule']), packets: [], rules, drops: [], notSeen: [] },
    answer: { kind: 'reply', from: '10.0.1.2', microseconds: 90 },
  };
  const good = compare(prediction, observation);
  t.match(good, { outcome: 'delivered', words: '10.0.1.2 answers after 0.09 ms', differences: [] });
  t.same(predictionLines(prediction, paint), [
    ...['web', '    sends icmp 10.0.0.2 → 10.0.1.2', '    route default via 10.0.0.1 dev eth0'],
    `    neighbour 10.0.0.1 (not known yet): asked, ${WORLD.snapshots.get('host')?.links[1]?.mac} answers`,
    ...['    out through eth0', 'host', '    in by veth1', '    route 10.0.1.0/24 dev veth2'],
    '    accept  forward: inet f fwd: accept',
    `    neighbour 10.0.1.2 (not known yet): asked, ${WORLD.snapshots.get('db')?.links[1]?.mac} answers`,
    ...['    out through veth2', 'db', '    in by eth0', '    delivered to db', ''],
    ...['✓ delivered: arrives at db', '✓ and back: arrives at web'],
  ]);
  const lines = comparisonLines(prediction, good, [], paint);
  t.ok(lines.includes('  ✓ out through eth0'));
  t.ok(lines.includes('  ✓ accept  forward: inet f fwd: accept'));
  t.ok(lines.includes('seen       ✓ 10.0.1.2 answers after 0.09 ms'));

  const at = hops.findIndex((hop) => hop.kind === 'link' && hop.link === 'veth2');
  const lost = compare(prediction, {
    ...observation,
    hops: seen(['send', 'link'], at),
    answer: { kind: 'none' },
  });
  t.equal(lost.outcome, 'lost');
  t.match(
    lost.differences,
    [/predicted delivered, seen lost: seen last in host/, /host: out through veth2: not seen here/],
    'the first place where it was not seen, and no other',
  );
  const astray = compare(prediction, {
    ...observation,
    hops: seen(['send', 'link', 'rule']).map((hop) =>
      hop.place.host === 'db' ? { ...hop, tuple: { ...hop.tuple, source: '10.0.1.1' } } : hop,
    ),
  });
  t.match(astray.differences, [
    /db: in by eth0: seen as icmp 10\.0\.1\.1 → 10\.0\.1\.2, predicted icmp 10\.0\.0\.2/,
  ]);
  const around = compare(prediction, { ...observation, hops: seen(['send', 'link']) });
  t.match(around.differences, [/this rule did not decide/], 'it went another way through the rules');
  const dropped = compare(prediction, {
    ...observation,
    hops: [
      ...seen(['send', 'link'], at),
      {
        place: { host: 'host', namespace: 'host' },
        tuple,
        way: 'there',
        kind: 'drop',
        reason: 'XDP',
        words: 'an XDP program dropped it (XDP)',
      },
    ],
    answer: { kind: 'none' },
  });
  t.match(dropped, { outcome: 'dropped', words: 'dropped in host: an XDP program dropped it (XDP)' });
  t.match(dropped.differences.join(), /an XDP program dropped it \(XDP\): not predicted/);
  const nothing: Observation = { ...observation, hops: [], answer: { kind: 'none' } };
  t.match(compare(prediction, nothing), { outcome: 'lost', words: 'no packet came to a link' });
  t.match(
    compare(prediction, nothing, false),
    { outcome: 'unknown', differences: [] },
    'who watches may wait in vain',
  );
});

t.test('what cannot be meant', async (t) => {
  const { ambient } = makeGround(t);
  for (const [words, why] of [
    [['a', 'b:x'], /wanted a port/],
    [['a', 'b', '--watch', '--predict-only'], /give one of them/],
    [['a', 'b', '--size', '1'], /wanted bytes between/],
    [['a'], /expected/i],
  ] as const) {
    const { status, err } = await weft(ambient, 'trace', ...words);
    t.match([status, err], [2, why], words.join(' '));
  }
});

t.test('a probe', { skip: await weftIsMissing() }, async (t) => {
  const lab = await makeLab(t);
  const { host, one } = lab;
  const trace = (...words: string[]) =>
    host.exec(join(pluginsUnderTest(), 'weft'), ['trace', one, ...words], { mayFail: true });
  const [pcap, svg] = [join(host.root, 'trace.pcapng'), join(host.root, 'trace.svg')];
  const sound = await trace(TWO.v4, '--pcap', pcap, '--svg', svg);
  t.equal(sound.status, 0, sound.stdout + sound.stderr);
  t.match(sound.stdout, /^ {2}✓ out through eth0$/m);
  t.match(sound.stdout, /^ {4}bridge br0: vone → vtwo|^ {2}✓ bridge br0: vone → vtwo/m);
  t.match(sound.stdout, /^predicted {2}✓ delivered: arrives at /m);
  t.match(sound.stdout, /^seen {7}✓ 10\.88\.0\.3 answers after /m);
  t.notMatch(sound.stdout, /What differs/);
  const { stdout: packets } = await execIn(host.netns, 'tcpdump', ['-n', '-r', pcap]);
  t.match(packets, /10\.88\.0\.2 > 10\.88\.0\.3: ICMP echo request/);
  t.match(await readFile(svg, 'utf8'), /^<svg .*out through eth0.*<\/svg>\n$/s);

  await execIn(host.netns, 'nft', ['-f', '-'], {
    input: `table inet stray {\n chain thru { type filter hook forward priority filter; ip daddr ${OUTSIDE.v4} drop; }\n}\n`,
  });
  const stray = await trace(OUTSIDE.v4, '--seconds', '2');
  t.equal(stray.status, 1);
  t.match(stray.stdout, /^ {2}✓ drop {2}forward: inet stray thru: ip daddr 198\.51\.100\.2 drop$/m);
  t.match(stray.stdout, /^seen {7}✗ dropped in this host: /m);
  t.match(stray.stderr, /the packet does not get through/);

  const begun = await trace(`${OUTSIDE.v4}:80`, '--seconds', '2');
  t.match(
    [begun.status, begun.stdout],
    [1, /^seen {7}✗ dropped in this host: /m],
    'a connection that is not answered',
  );

  const json = await trace(OUTSIDE.v4, '--predict-only', '--json');
  t.equal(json.status, 1);
  t.match(JSON.parse(json.stdout), {
    question: { tuple: { destination: OUTSIDE.v4, protocol: 'icmp' } },
    there: { outcome: 'dropped', hops: [{ kind: 'send', tuple: { source: ONE.v4 } }] },
  });
  const nobody = await trace('nobody');
  t.match([nobody.status, nobody.stderr], [2, /TO "nobody" is no address, and no container is called so/]);
});
