/** No ruleset makes a reader throw, whatever is in it. */
import fc from 'fast-check';
import t from 'tap';
import { withOwners } from '../../../inspect/owners.ts';
import { readIpsets } from '../../../inspect/ruleset/ipsets.ts';
import { readIptables } from '../../../inspect/ruleset/iptables.ts';
import { splitWords } from '../../../inspect/ruleset/iptables-words.ts';
import type { Table } from '../../../inspect/ruleset/model.ts';
import { readNftText } from '../../../inspect/ruleset/nft-text.ts';
import { readNftables } from '../../../inspect/ruleset/nftables.ts';
import '../../support/seed.ts';

const name = fc.constantFrom(
  'accept',
  'x',
  'weft',
  '10.0.0.1',
  '@own4',
  '*',
  '__proto__',
  'constructor',
  'toString',
  '',
);
const KEYS = [
  ...[
    'match',
    'left',
    'right',
    'op',
    'payload',
    'meta',
    'ct',
    'fib',
    'key',
    'dir',
    'protocol',
    'field',
    'concat',
    'set',
  ],
  ...[
    'map',
    'vmap',
    'data',
    'dnat',
    'addr',
    'port',
    'mangle',
    'value',
    '&',
    '|',
    '^',
    'jump',
    'target',
    'elem',
    'val',
  ],
  ...[
    'counter',
    'packets',
    'comment',
    'reject',
    'masquerade',
    'limit',
    'range',
    'prefix',
    'len',
    'flags',
    'result',
    'stmt',
  ],
];
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 6 },
    fc.oneof(fc.integer(), name, fc.constant(null), fc.boolean()),
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS), tie('tree'), { maxKeys: 3 }),
  ),
}));
const where = fc.record({ family: fc.constantFrom('ip', 'inet', 'bridge'), table: name, name, chain: name });
const object = fc
  .tuple(
    fc.constantFrom('table', 'chain', 'rule', 'set', 'map', 'counter'),
    where,
    fc.dictionary(fc.constantFrom('expr', 'elem', 'type', 'map', 'hook', 'comment', 'handle', 'dev'), tree),
  )
  .map(([kind, place, body]) => ({
    [kind]: { ...body, ...place, ...(kind === 'rule' ? { expr: [body.expr, body.elem] } : {}) },
  }));

const owned = (tables: Table[]) => withOwners({ tables, unread: [] });

t.test('JSON of any shape', async (t) => {
  const table = (one: string) => ({ table: { family: 'inet', name: one, table: one } });
  fc.assert(
    fc.property(fc.array(object, { maxLength: 12 }), tree, (objects, other) => {
      owned(readNftables(JSON.stringify({ nftables: [table('weft'), table('x'), ...objects, other] })));
    }),
  );
  t.pass();
});

const word = fc.constantFrom(
  ...[
    '!',
    '-m',
    '-j',
    '-g',
    '-s',
    '-p',
    '-i',
    '--dport',
    '--dports',
    '--ctstate',
    '--match-set',
    '--mark',
    '--set-xmark',
  ],
  ...[
    'tcp',
    'conntrack',
    'set',
    'comment',
    '--comment',
    'DNAT',
    '--to-destination',
    'MARK',
    'CONNMARK',
    '--tcp-flags',
    'rpfilter',
  ],
  ...[
    '10.0.0.1',
    '[fd00::1]:80',
    '80:90',
    '0x1/0x2',
    'src,dst',
    's',
    '"a b"',
    '"',
    '\\',
    ':',
    '__proto__',
    'constructor',
    '-',
  ],
);
const line = fc.array(word, { maxLength: 12 }).map((words) => words.join(' '));

t.test('lines of any words', async (t) => {
  const sets = readIpsets('create s hash:ip,port family inet\nadd s 10.0.0.1,tcp:80');
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const text = [
        '*nat',
        ':POSTROUTING ACCEPT [0:0]',
        ':X - [0:0]',
        ...lines.map((one) => `[1:2] -A X ${one}`),
        ...lines,
      ].join('\n');
      owned(readIptables(text, 'iptables-legacy', 4, sets));
      readNftText(text);
    }),
  );
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          line,
          line.map((one) => `add s ${one}`),
          line.map((one) => `create ${one}`),
        ),
      ),
      (lines) => {
        readIpsets(['create s hash:net,port,iface', 'create l list:set', 'add l s', ...lines].join('\n'));
      },
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => void splitWords(text)));
  t.pass();
});

t.test('words of iptables-save', async (t) => {
  t.strictSame(splitWords('-m comment --comment "name: \\"n\\" id: \\"c\\"" -j X'), [
    ...['-m', 'comment', '--comment', 'name: "n" id: "c"', '-j', 'X'],
  ]);
  t.strictSame(splitWords('a ""  b'), ['a', '', 'b']);
});
