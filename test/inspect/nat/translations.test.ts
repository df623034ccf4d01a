/** What rewrites addresses, found in rules of real programs and of any shape; and which connections it rewrites. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { liveConnections } from '../../../inspect/nat/live.ts';
import { ownerWords, ruleWords, translationWords } from '../../../inspect/nat/translation.ts';
import { translationsOf } from '../../../inspect/nat/translations.ts';
import { withOwners } from '../../../inspect/owners.ts';
import { readIptables } from '../../../inspect/ruleset/iptables.ts';
import type { Connection } from '../../../netlink/conntrack.ts';
import '../../support/seed.ts';

const saved = (name: string) =>
  readFileSync(join(import.meta.dirname, '..', 'rulesets', `${name}.iptables`), 'utf8');
const rules = (text: string) =>
  withOwners({ tables: readIptables(text, 'iptables-nft', 4, new Map()), unread: [] });
const words = (text: string) =>
  translationsOf(rules(text)).map((one) => `${ownerWords(one.owner)}: ${translationWords(one)}`);

t.test('Docker', async (t) => {
  t.strictSame(words(saved('docker')), [
    'docker: tcp 8081 -> 172.17.0.2:80',
    'docker: masquerade 172.17.0.0/16',
    'docker: masquerade 172.18.0.0/16',
    'docker: masquerade tcp 172.17.0.2 to 172.17.0.2',
  ]);
});

t.test('kube-proxy: each way to an endpoint', async (t) => {
  t.strictSame(words(saved('kube-proxy')), [
    'kube-proxy: tcp 10.96.0.10:80 -> 10.244.0.5:8080',
    'kube-proxy: tcp 10.96.0.10:80 -> 10.244.0.6:8080',
    'kube-proxy: tcp 30080 -> 10.244.0.5:8080',
    'kube-proxy: tcp 30080 -> 10.244.0.6:8080',
    'kube-proxy: masquerade all marked 0x4000/0x4000',
  ]);
});

t.test('Podman and flannel; libvirt', async (t) => {
  t.strictSame(words(saved('flannel')), [
    'netavark (podman feedface): tcp 8084 -> 10.88.0.9:80',
    'flannel: masquerade 10.244.0.0/16',
    'netavark: masquerade 10.88.0.0/16',
  ]);
  t.equal(words(saved('libvirt'))[0], 'libvirt: masquerade tcp 192.168.122.0/24');
});

t.test('ways that cannot be gone are none; two hooks are one line', async (t) => {
  const table = [
    ...[
      '*nat',
      ':PREROUTING ACCEPT [0:0]',
      ':OUTPUT ACCEPT [0:0]',
      ':POSTROUTING ACCEPT [0:0]',
      ':P - [0:0]',
      ':Q - [0:0]',
    ],
    ...[
      '-A PREROUTING -p tcp -m tcp --dport 80 -j P',
      '-A OUTPUT -p tcp -m tcp --dport 80 -j P',
      '-A P -p udp -j DNAT --to-destination 10.0.0.1',
    ],
    ...[
      '-A P -d 10.1.0.0/16 -p tcp -m tcp --dport 70:90 -j Q',
      '[3:180] -A Q -d 10.1.2.3/32 -j DNAT --to-destination 10.0.0.2:8080',
    ],
    ...[
      '-A Q -d 10.2.0.0/16 -j DNAT --to-destination 10.0.0.3',
      '-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.7',
    ],
  ];
  const [dnat, snat, ...more] = translationsOf(rules(table.join('\n')));
  t.strictSame(more, []);
  t.match(dnat, {
    ...{ kind: 'dnat', protocols: ['tcp'], destinations: ['10.1.2.3'], ports: ['80'] },
    ...{
      to: { address: '10.0.0.2', port: '8080' },
      hooks: ['prerouting', 'output'],
      counters: { packets: 3, bytes: 180 },
    },
    rules: [{ chain: 'Q', position: 1 }],
  });
  t.equal(dnat?.rules[0] && ruleWords(dnat.rules[0]), 'ip nat Q rule 1');
  t.equal(snat && translationWords(snat), 'source of all -> 192.0.2.7 out eth0');
});

const flow = (source: string, destination: string, sourcePort: number, destinationPort: number) => ({
  ...{ source, destination, sourcePort, destinationPort },
  protocol: 6,
});
const connection = (
  status: number,
  original: Connection['original'],
  reply: Connection['reply'],
): Connection => ({
  ...{ family: 2, status, original, reply, mark: 0, id: 1, zone: undefined },
});

t.test('live connections', async (t) => {
  const translations = translationsOf(rules(saved('docker')));
  const found = liveConnections(translations, [
    connection(32, flow('192.0.2.9', '192.0.2.1', 5000, 8081), flow('172.17.0.2', '192.0.2.9', 80, 5000)),
    connection(32, flow('192.0.2.9', '192.0.2.1', 5001, 9999), flow('172.17.0.2', '192.0.2.9', 80, 5001)),
    connection(16, flow('172.18.3.4', '192.0.2.9', 5002, 443), flow('192.0.2.9', '192.0.2.1', 443, 61_000)),
    // Both ends: the container asks for its own port.
    connection(48, flow('172.17.0.2', '192.0.2.1', 5003, 8081), flow('172.17.0.2', '172.17.0.1', 80, 61_001)),
    connection(0, flow('172.17.0.2', '192.0.2.9', 5004, 443), flow('192.0.2.9', '172.17.0.2', 443, 5004)),
  ]);
  t.strictSame(
    found.map(({ length }) => length),
    [2, 1, 1, 0],
  );
});

t.test('many containers cost what they are', async (t) => {
  const lines = ['*nat', ':PREROUTING ACCEPT [0:0]', ':POSTROUTING ACCEPT [0:0]'];
  const connections: Connection[] = [];
  for (let i = 0; i < 5000; i += 1) {
    const address = `10.${i >> 12}.${(i >> 6) & 63}.${i & 63}`;
    lines.push(`-A PREROUTING -p tcp -m tcp --dport ${10_000 + i} -j DNAT --to-destination ${address}:80`);
    lines.push(`-A POSTROUTING -s ${address}/32 -j MASQUERADE`);
    connections.push(
      connection(16, flow(address, '192.0.2.9', 5000, 443), flow('192.0.2.9', '192.0.2.1', 443, 5000)),
    );
  }
  const translations = translationsOf(rules(lines.join('\n')));
  t.equal(translations.length, 10_000);
  const live = liveConnections(translations, connections);
  t.equal(live.filter(({ length }) => length === 1).length, 5000, 'each has its own');
});

t.test('rules of any shape, that lead in circles, too', async (t) => {
  const chain = fc.constantFrom('PREROUTING', 'POSTROUTING', 'A', 'B');
  const match = fc.constantFrom(
    '',
    '-s 10.0.0.0/8',
    '! -d 10.1.0.1/32',
    '-p tcp -m tcp --dport 80:90',
    '-m mark --mark 0x1/0x1',
    '-i e+',
  );
  const target = fc.constantFrom(
    'A',
    'B',
    'RETURN',
    'MASQUERADE',
    'DNAT --to-destination 10.0.0.1-10.0.0.9:80',
    'REDIRECT --to-ports 1',
    'SNAT --to-source ::1',
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(chain, match, target), { maxLength: 8 }), (made) => {
      const lines = made.map(([from, asks, to]) => `-A ${from} ${asks} -j ${to}`);
      const text = [
        '*nat',
        ':PREROUTING ACCEPT [0:0]',
        ':POSTROUTING ACCEPT [0:0]',
        ':A - [0:0]',
        ':B - [0:0]',
        ...lines,
      ].join('\n');
      for (const one of translationsOf(rules(text))) translationWords(one);
    }),
    { numRuns: 60 },
  );
  t.pass();
});
