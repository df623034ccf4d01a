/** What is wrong before any plugin's own business begins: every executable answers alike. */
import t from 'tap';
import { PLUGIN_NAMES } from '../../plugins/registry.ts';
import { EVERY, sample } from './configurations.ts';
import { inMemory } from './in-memory.ts';
import { type Row, refuseAll, refusePlain } from './table.ts';

type Common = Omit<Row, 'plugin' | 'input'> & {
  /** The whole text. */
  text?: string;
  /** Changes of the good configuration. */
  conf?: object;
};

const NAME = /wanted a letter or digit, then letters, digits, "_", "\." and "-"/;

/** Nothing can be done for a configuration without identity: DEL is refused in the same words. */
const INPUT: readonly Common[] = [
  {
    name: 'cut off',
    text: '{"cniVersion": "1.1.0", "name": "n',
    code: 6,
    del: 6,
    says: /not JSON/,
    details: /JSON/,
  },
  {
    name: 'no JSON at all',
    text: 'cniVersion: 1.1.0\n',
    code: 6,
    del: 6,
    says: /standard input is not JSON/,
  },
  {
    name: 'empty',
    text: '',
    code: 6,
    del: 6,
    says: /standard input is empty: wanted a network configuration/,
  },
  { name: 'white space', text: ' \n\t', code: 6, del: 6, says: /standard input is empty/ },
  { name: 'a list', text: '[]', code: 6, del: 6, says: /standard input is \[\]: wanted .*a JSON object/ },
  { name: 'null', text: 'null', code: 6, del: 6, says: /standard input is null/ },
  { name: 'a text', text: '"bridge"', code: 6, del: 6, says: /standard input is "bridge"/ },
  { name: 'a zero byte', text: '{"name": "a\0b"}', code: 6, del: 6, says: /not JSON/ },
  { name: 'two objects', text: '{}{}', code: 6, del: 6, says: /not JSON/ },
  { name: 'a deep nest', text: `{"a":${'['.repeat(90_000)}`, code: 6, del: 6, says: /not JSON/ },
  {
    name: 'a deep nest that ends',
    text: `{"a":${'['.repeat(9_000)}${']'.repeat(9_000)}}`,
    code: 6,
    del: 6,
    says: /nested deeper than 64 levels/,
  },
  {
    name: 'endless',
    text: ' '.repeat(17 * 1024 * 1024),
    code: 6,
    del: 6,
    says: /longer than 16777216 bytes/,
  },
  {
    name: 'unknown version',
    conf: { cniVersion: '9.9.9' },
    code: 1,
    del: 1,
    says: /cniVersion: found "9\.9\.9", wanted one of 0\.1\.0, .*1\.1\.0/,
  },
  {
    name: 'version with noise',
    conf: { cniVersion: '1.1.0 ' },
    code: 1,
    del: 1,
    says: /cniVersion: found "1\.1\.0 "/,
  },
  {
    name: 'version a number',
    conf: { cniVersion: 1.1 },
    code: 6,
    del: 6,
    says: /cniVersion: found 1\.1, wanted a string/,
  },
  { name: 'no name', conf: { name: undefined }, code: 7, del: 7, says: /name: missing, wanted a string/ },
  { name: 'empty name', conf: { name: '' }, code: 7, del: 7, says: /name: missing/ },
  { name: 'name a number', conf: { name: 5 }, code: 7, del: 7, says: /name: found 5, wanted a string/ },
  { name: 'name a path', conf: { name: 'a/b' }, code: 7, del: 7, says: [/name: found "a\/b"/, NAME] },
  {
    name: 'name leads up',
    conf: { name: '../../etc' },
    code: 7,
    del: 7,
    says: [/name: found "\.\.\/\.\.\/etc"/, NAME],
  },
  { name: 'name ..', conf: { name: '..' }, code: 7, del: 7, says: [/name: found "\.\."/, NAME] },
  {
    name: 'name with a line end',
    conf: { name: 'a\nb' },
    code: 7,
    del: 7,
    says: [/name: found "a\\nb"/, NAME],
  },
  {
    name: 'name ends with a line end',
    conf: { name: 'a\n' },
    code: 7,
    del: 7,
    says: [/name: found "a\\n"/, NAME],
  },
  { name: 'no type', conf: { type: undefined }, code: 7, del: 7, says: /type: missing, wanted a string/ },
  {
    name: 'name and type',
    conf: { name: {}, type: [] },
    code: 7,
    del: 7,
    says: [/name: found \{\}/, /type: found \[\]/],
  },
  {
    name: 'prevResult a text',
    conf: { prevResult: 'x' },
    code: 7,
    says: /prevResult: found "x", wanted an object/,
  },
  {
    name: 'prevResult a list',
    conf: { prevResult: [] },
    code: 7,
    says: /prevResult: found \[\], wanted an object/,
  },
  {
    name: 'prevResult of another version',
    conf: { prevResult: { cniVersion: '2.0.0' } },
    code: 1,
    says: /prevResult\.cniVersion: found "2\.0\.0", wanted one of/,
  },
  {
    name: 'prevResult with addresses that are none',
    conf: { prevResult: { cniVersion: '1.1.0', ips: [{ address: 'here' }] } },
    code: 7,
    says: /prevResult\.ips\[0\]\.address: found "here", wanted an address with prefix length/,
  },
  {
    name: 'prevResult with interfaces that are none',
    conf: { prevResult: { cniVersion: '1.1.0', interfaces: ['eth0'] } },
    code: 7,
    says: /prevResult\.interfaces\[0\]: found "eth0", wanted an object/,
  },
];

const OTHER_COMMANDS: readonly Common[] = [
  {
    name: 'CHECK of an old version',
    command: 'CHECK',
    conf: { cniVersion: '0.3.1' },
    code: 1,
    says: /cniVersion 0\.3\.1 has no CHECK: wanted 0\.4\.0 or newer/,
  },
  {
    name: 'STATUS of an old version',
    command: 'STATUS',
    conf: { cniVersion: '1.0.0' },
    code: 1,
    says: /cniVersion 1\.0\.0 has no STATUS: wanted 1\.1\.0/,
  },
  {
    name: 'GC of an old version',
    command: 'GC',
    conf: { cniVersion: '1.0.0' },
    code: 1,
    says: /cniVersion 1\.0\.0 has no GC: wanted 1\.1\.0/,
  },
  {
    name: 'GC with attachments that are none',
    command: 'GC',
    conf: { 'cni.dev/valid-attachments': 'all' },
    code: 7,
    says: /cni\.dev\/valid-attachments: found "all", wanted a list/,
  },
  {
    name: 'GC with an attachment without name',
    command: 'GC',
    conf: { 'cni.dev/valid-attachments': [{ ifname: 'eth0' }] },
    code: 7,
    says: /valid-attachments\[0\]\.containerID: missing, wanted a string/,
  },
];

const rowsOf = (plugin: string, rows: readonly Common[]) =>
  rows.map(
    ({ text, conf, ...row }): Row => ({ ...row, plugin, input: text ?? { ...EVERY[plugin], ...conf } }),
  );

t.test('every plugin, every row', (t) => {
  // Where the input ends is the executable's business.
  const rows = [...INPUT.filter(({ name }) => name !== 'endless'), ...OTHER_COMMANDS];
  return refusePlain(
    t,
    inMemory(t),
    PLUGIN_NAMES.flatMap((plugin) => rowsOf(plugin, rows)),
  );
});

t.test('every executable', (t) =>
  refuseAll(
    t,
    PLUGIN_NAMES.flatMap((plugin) => rowsOf(plugin, sample(plugin, [...INPUT, ...OTHER_COMMANDS]))),
  ),
);
