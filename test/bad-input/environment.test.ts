/** CNI_* variables that are missing, malformed, or lead elsewhere: every executable answers alike. */
import t from 'tap';
import { PLUGIN_NAMES } from '../../plugins/registry.ts';
import { EVERY, sample } from './configurations.ts';
import { inMemory } from './in-memory.ts';
import { type Row, refuseAll, refusePlain } from './table.ts';

type Common = Omit<Row, 'plugin' | 'input'>;

const NAME = /wanted a letter or digit, then letters, digits, "_", "\." and "-"/;

const LONG = 'a'.repeat(16);

const ENVIRONMENT: readonly Common[] = [
  {
    name: 'no variable but the command',
    env: { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined, CNI_PATH: undefined },
    code: 4,
    del: 4,
    says: [
      /CNI_CONTAINERID is missing/,
      /CNI_NETNS is missing/,
      /CNI_IFNAME is missing/,
      /CNI_PATH is missing/,
    ],
  },
  {
    name: 'no container id',
    env: { CNI_CONTAINERID: undefined },
    code: 4,
    del: 4,
    says: /CNI_CONTAINERID is missing/,
  },
  {
    name: 'empty container id',
    env: { CNI_CONTAINERID: '' },
    code: 4,
    del: 4,
    says: /CNI_CONTAINERID is missing/,
  },
  { name: 'no namespace', env: { CNI_NETNS: '' }, code: 4, says: /CNI_NETNS is missing/ },
  { name: 'no interface name', env: { CNI_IFNAME: '' }, code: 4, del: 4, says: /CNI_IFNAME is missing/ },
  { name: 'no path', env: { CNI_PATH: '' }, code: 4, del: 4, says: /CNI_PATH is missing/ },
  ...['a/b', '../../../etc/x', '..', '.', '.hidden', '-r', 'a\nb', 'a\n', 'a b', 'ä', '*'].map(
    (id): Common => ({
      name: `container id ${JSON.stringify(id)}`,
      env: { CNI_CONTAINERID: id },
      code: 4,
      del: 4,
      says: [/CNI_CONTAINERID is "/, NAME],
    }),
  ),
  ...['a/b', '..', '.', 'a:b', 'a b', 'a\nb', 'eth%d', 'a\u0001'].map(
    (name): Common => ({
      name: `interface name ${JSON.stringify(name)}`,
      env: { CNI_IFNAME: name },
      code: 4,
      del: 4,
      says: /CNI_IFNAME is ".*: wanted /,
    }),
  ),
  {
    name: 'interface name too long',
    env: { CNI_IFNAME: LONG },
    code: 4,
    del: 4,
    says: /CNI_IFNAME is "a{16}": wanted at most 15 bytes/,
  },
  {
    name: 'interface name too long in bytes',
    env: { CNI_IFNAME: 'ä'.repeat(8) },
    code: 4,
    del: 4,
    says: /CNI_IFNAME is .*at most 15 bytes/,
  },
  {
    name: 'all variables bad',
    env: { CNI_CONTAINERID: '/', CNI_IFNAME: '/', CNI_ARGS: 'x' },
    code: 4,
    del: 4,
    says: [/CNI_CONTAINERID is "\/"/, /CNI_IFNAME is "\/"/, /CNI_ARGS: "x" is no KEY=VALUE/],
  },
  { name: 'CNI_ARGS without =', env: { CNI_ARGS: 'A=1;B' }, code: 4, says: /CNI_ARGS: "B" is no KEY=VALUE/ },
  { name: 'CNI_ARGS without key', env: { CNI_ARGS: '=1' }, code: 4, says: /CNI_ARGS: "=1" is no KEY=VALUE/ },
  {
    name: 'CNI_ARGS unknown',
    env: { CNI_ARGS: 'COLOUR=red' },
    code: 4,
    says: /CNI_ARGS: unknown key COLOUR .*IgnoreUnknown=1/,
  },
  {
    name: 'CNI_ARGS IgnoreUnknown',
    env: { CNI_ARGS: 'IgnoreUnknown=maybe' },
    code: 4,
    says: /CNI_ARGS: IgnoreUnknown=maybe: wanted 1, true, 0 or false/,
  },
  {
    name: 'command in small letters',
    command: 'add',
    code: 4,
    says: /CNI_COMMAND is "add": wanted ADD, DEL, CHECK, GC, STATUS or VERSION/,
  },
  { name: 'command unknown', command: 'UPDATE', code: 4, says: /CNI_COMMAND is "UPDATE"/ },
];

const rowsOf = (plugin: string, rows: readonly Common[]) =>
  rows.map((row): Row => ({ ...row, plugin, input: EVERY[plugin] ?? {} }));

t.test('every plugin, every row', (t) =>
  refusePlain(
    t,
    inMemory(t),
    PLUGIN_NAMES.flatMap((plugin) => rowsOf(plugin, ENVIRONMENT)),
  ),
);

t.test('every executable', (t) =>
  refuseAll(
    t,
    PLUGIN_NAMES.flatMap((plugin) => rowsOf(plugin, sample(plugin, ENVIRONMENT))),
  ),
);
