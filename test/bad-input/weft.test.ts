/** The weft command as a program: 2 for a wrong command line, 1 for what failed; said on standard error, and nothing on standard output. */
import { join } from 'node:path';
import t from 'tap';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { difference, makePlace, type Place } from './place.ts';
import { shown } from './table.ts';

const WEFT = join(pluginsUnderTest(), 'weft');
const skip = await weftIsMissing();

const conf = (ipam: object, more: object = {}) =>
  JSON.stringify({
    name: 'a',
    cniVersion: '1.1.0',
    plugins: [{ type: 'bridge', bridge: 'br0', ipam, ...more }],
  });
const GOOD = conf({ type: 'host-local', subnet: '10.1.0.0/24' });

async function weft(place: Place, argv: readonly string[], by: readonly string[] = []) {
  const words = [
    '-i',
    ...Object.entries(place.host.env).map(([key, value]) => `${key}=${value}`),
    ...by,
    WEFT,
    ...argv,
  ];
  return place.host.exec('/usr/bin/env', words, { mayFail: true, timeout: 20_000 });
}

/** But for locks, and what host-local remembers of a network. */
async function changesSince(place: Place, before: readonly string[]): Promise<string[]> {
  const bookkeeping =
    /networks\/a(\/(lock|last_reserved_ip\.0|\.weft-lease))?$|\/\.spare$|\/run\/(leases|runtime)\b/;
  return difference(before, await place.snapshot()).filter((line) => !bookkeeping.test(line));
}

/** Every command with arguments that are right as far as the command line goes. */
const COMMANDS: readonly (readonly string[])[] = [
  ['net', 'list'],
  ['net', 'add', 'a', 'blue'],
  ['net', 'check', 'a', 'blue'],
  ['net', 'del', 'a', 'blue'],
  ['net', 'gc', 'a', '--all'],
  ['net', 'status', 'a'],
  ['net', 'version', 'a'],
  ['plan', 'a.conflist'],
  ['status'],
  ['demo', 'bridge', 'a.conflist'],
  ['version'],
  ['completion', 'bash'],
];

t.test('a wrong command line', { skip }, async (t) => {
  const place = await makePlace(t);
  const before = await place.snapshot();
  const table: [argv: readonly string[], says: RegExp][] = [
    ...COMMANDS.flatMap((argv): [readonly string[], RegExp][] => [
      [[...argv, '--no-such-flag'], /no flag registered for --no-such-flag/],
      [[...argv, '-Q'], /no alias registered for -Q/],
      [[...argv, 'one', 'too-many'], /too many arguments/],
    ]),
    ...[['nett'], ['net', 'addd'], ['demo', 'vxlan'], ['--version-of-what'], ['']].map(
      (argv): [readonly string[], RegExp] => [argv, /no command registered for/],
    ),
    ...[
      ['net', 'add'],
      ['net', 'check'],
      ['net', 'del'],
      ['net', 'gc'],
      ['net', 'status'],
      ['net', 'version'],
      ['plan'],
      ['completion'],
      ['net', 'add', 'a'],
    ].map((argv): [readonly string[], RegExp] => [argv, /expected argument for/]),
    ...['--id', '--ifname', '--cap', '--arg', '--cni-path'].map((flag): [readonly string[], RegExp] => [
      ['net', 'add', 'a', 'blue', flag],
      /expected input for flag/,
    ]),
    [['net', 'add', 'a', 'blue', '--id', 'x', '--id', 'y'], /too many arguments for --id/],
    [['net', 'add', 'a', 'blue', '--json=maybe'], /maybe/],
    [['net', 'add', 'a', 'blue', '--cap', 'ips=['], /the value of ips is not JSON/],
    [['net', 'add', 'a', 'blue', '--arg', 'A=1;B=2'], /an argument holds no ";"/],
    [['net', 'del', 'a'], /which container\?/],
    [['net', 'gc', 'a'], /which attachments stay\?/],
    [['net', 'gc', 'a', '--valid', 'x'], /wanted ID\/IFNAME/],
    [['completion', 'csh'], /there is no completion for "csh"/],
    [['demo', 'bridge', '--backend', 'pf'], /pf/],
  ];
  for (const [argv, says] of table) {
    const answer = await weft(place, argv);
    t.match(answer, { status: 2, stdout: '', stderr: says }, argv.join(' '), { answer: shown(answer) });
    t.notMatch(answer.stderr, /^\s+at /m, `${argv.join(' ')}: no stack trace`);
  }
  t.same(difference(before, await place.snapshot()), [], 'nothing was touched');
});

t.test('files that are no configuration', { skip }, async (t) => {
  const place = await makePlace(t);
  const { root } = place.host;
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x]',
    ...['b', 'c', 'd', 'e', 'f'].map(
      (key, i) => `${key}: &${key} [${Array(9).fill(`*${'abcde'[i]}`).join(', ')}]`,
    ),
  ].join('\n');
  const files: [name: string, text: string, says: RegExp][] = [
    ['empty.conflist', '', /empty\.conflist is empty: a network configuration is expected/],
    ['cut.conflist', '{"name": "a",', /cut\.conflist:1:14: not JSON/],
    ['list.json', '[]', /list\.json: the configuration is \[\]/],
    ['null.json', 'null', /null\.json: the configuration is null/],
    ['nameless.conflist', '{"plugins": [{"type": "bridge"}]}', /nameless\.conflist: name is missing/],
    [
      'path.conflist',
      '{"name": "../x", "plugins": [{"type": "bridge"}]}',
      /path\.conflist: name is "\.\.\/x"/,
    ],
    ['number.conflist', '{"name": 5, "plugins": [{"type": "bridge"}]}', /number\.conflist: name is 5/],
    ['none.conflist', '{"name": "a", "plugins": []}', /none\.conflist: plugins is empty/],
    ['text.conflist', '{"name": "a", "plugins": "bridge"}', /text\.conflist: plugins is "bridge"/],
    ['item.conflist', '{"name": "a", "plugins": [5]}', /item\.conflist: plugins\[0\] is 5/],
    [
      'typeless.conflist',
      '{"name": "a", "plugins": [{}]}',
      /typeless\.conflist: plugins\[0\]\.type is missing/,
    ],
    [
      'out.conflist',
      '{"name": "a", "plugins": [{"type": "../../bin/sh"}]}',
      /plugins\[0\]\.type is "\.\.\/\.\.\/bin\/sh"/,
    ],
    [
      'caps.conflist',
      '{"name": "a", "plugins": [{"type": "bridge", "capabilities": ["ips"]}]}',
      /plugins\[0\]\.capabilities is \["ips"\]/,
    ],
    [
      'version.conflist',
      '{"name": "a", "cniVersion": 1, "plugins": [{"type": "bridge"}]}',
      /cniVersion is 1/,
    ],
    ['future.conflist', '{"name": "a", "cniVersion": "9.9.9", "plugins": [{"type": "bridge"}]}', /9\.9\.9/],
    ['indent.yaml', 'name: a\nplugins:\n - type: bridge\n  ipam: 5\n', /indent\.yaml:\d+:\d+: not YAML/],
    [
      'bomb.yaml',
      `name: a\n${bomb}\nplugins: [{type: bridge, ipam: *f}]`,
      /bomb\.yaml: not YAML that can be used/,
    ],
    ['alias.yaml', 'name: *nobody\n', /alias\.yaml/],
    [
      'bad-range.conflist',
      conf({ type: 'host-local', subnet: '10.1.0.0/99' }),
      /ipam\.subnet: wanted a subnet/,
    ],
    ['bad-mtu.conflist', conf({}, { mtu: 'big' }), /mtu: found "big"/],
  ];
  await place.sh(`mkdir '${root}/c'`);
  const before = await place.snapshot();
  for (const [name, text, says] of files) {
    const file = `${root}/c/${name}`;
    await place.host.exec('/bin/sh', ['-c', 'cat >"$1"', 'sh', file], { input: text });
    const commands = [
      ['plan', file],
      ['net', 'add', file, place.container.netns],
      ['net', 'status', file],
    ];
    for (const argv of commands) {
      const { status, stdout, stderr } = await weft(place, argv);
      t.match({ status, stdout, stderr }, { status: 1, stdout: '', stderr: says }, argv.join(' '));
      t.notMatch(stderr, /^\s+at /m, `${argv.join(' ')}: no stack trace`);
    }
  }
  const places: [argv: readonly string[], says: RegExp][] = [
    [['plan', `${root}/c/no-such`], /cannot read the network configuration .*no-such: there is no such file/],
    [['plan', `${root}/c`], /cannot read the network configuration .*: it is a folder/],
    [['plan', ''], /there is no such file/],
    [['plan', '/dev/null'], /\/dev\/null is empty/],
    [['demo', 'bridge', `${root}/c/no-such`], /no-such: there is no such file/],
    [['net', 'add', `${root}/c/no-such.conflist`, 'x'], /there is no such file/],
    [['net', 'add', 'no-such', 'x'], /no network is called "no-such" in .*: there is none/],
  ];
  for (const [argv, says] of places) {
    const { status, stdout, stderr } = await weft(place, argv);
    t.match({ status, stdout, stderr }, { status: 1, stdout: '', stderr: says }, argv.join(' '));
  }
  t.same(await changesSince(place, before), [], 'nothing was touched');
});

t.test('attachments that cannot be', { skip }, async (t) => {
  const place = await makePlace(t);
  const { root, dirs } = place.host;
  await place.host.exec('/bin/sh', ['-c', 'cat >"$1"', 'sh', `${dirs.conf}/a.conflist`], { input: GOOD });
  await place.sh(
    `mkfifo '${root}/fifo' '${dirs.conf}/f.conflist'; : >'${root}/file'; echo '{}' >'${root}/victim-eth0'; mkdir '${dirs.cache}/results'`,
  );
  const before = await place.snapshot();
  const { netns } = place.container;
  const up = '../'.repeat(9);
  const table: [argv: readonly string[], says: RegExp][] = [
    ...['add', 'check'].flatMap((verb): [readonly string[], RegExp][] => [
      [['net', verb, 'a', 'no-such'], /no network namespace is called "no-such"/],
      [['net', verb, 'a', '/run/netns/no-such'], /there is no network namespace at/],
      [['net', verb, 'a', '999999999'], /there is no process 999999999/],
      [['net', verb, 'a', ''], /"" names no network namespace/],
      [['net', verb, 'a', '..'], /"\.\." names no network namespace/],
      [['net', verb, 'a', `${root}/file`], /is no network namespace but an ordinary file/],
      [['net', verb, 'a', `${root}/fifo`], /is no network namespace but/],
      [['net', verb, 'a', '/etc'], /is no network namespace but/],
      [['net', verb, 'a', netns, '--id', '../x'], /CNI_CONTAINERID is "\.\.\/x"/],
      [['net', verb, 'a', netns, '--ifname', 'a/b'], /CNI_IFNAME is "a\/b"|is not attached/],
    ]),
    [['net', 'add', 'a', '/proc/self/ns/pid'], /network namespace/],
    [['net', 'add', 'a', '/proc/self/ns/net'], /is the plugin's own/],
    [['net', 'check', 'a', netns], /is not attached to network a/],
    [
      ['net', 'add', 'a', netns, '--ifname', 'x'.repeat(16)],
      /CNI_IFNAME is "x{16}": wanted at most 15 bytes/,
    ],
    [['net', 'add', 'a', netns, '--ifname', 'lo'], /the container has a link lo already/],
    [['net', 'add', 'a', netns, '--arg', 'COLOUR=red'], /CNI_ARGS: unknown key COLOUR/],
    [['net', 'add', 'a', netns, '--arg', 'IP=10.9.9.9'], /10\.9\.9\.9 is in no range/],
    [
      ['net', 'add', 'a', netns, '--cni-path', '/no/such'],
      /bridge cannot be executed: it is in none of \/no\/such/,
    ],
    [['net', 'status', 'a', '--cni-path', '/no/such'], /cannot be executed/],
    [['net', 'version', 'a', '--cni-path', '/no/such'], /cannot be executed/],
    [['net', 'del', 'a', '--id', `x/${up}${root.slice(1)}/victim`], /CNI_CONTAINERID is "x\//],
    [['net', 'del', 'a', '--id', 'x', '--ifname', `/${up}${root.slice(1)}/victim-eth0`], /CNI_IFNAME is "\//],
    [['net', 'del', 'a', ''], /"" names no network namespace/],
  ];
  for (const [argv, says] of table) {
    const { status, stdout, stderr } = await weft(place, argv);
    t.match({ status, stdout, stderr }, { status: 1, stdout: '', stderr: says }, argv.join(' '));
    t.notMatch(stderr, /^\s+at /m, `${argv.join(' ')}: no stack trace`);
  }
  const list = await weft(place, ['net', 'list']);
  t.match(list, { status: 0, stdout: /^a /m }, 'a FIFO among the configurations keeps nobody waiting', {
    list,
  });
  t.equal(await place.sh(`cat '${root}/victim-eth0'`), '{}', 'what is outside of the cache stays');
  t.same(await changesSince(place, before), [], 'nothing was touched');
});

t.test('a cache and folders that cannot be used', { skip }, async (t) => {
  const place = await makePlace(t);
  const { host, container } = place;
  const cached = `${host.dirs.cache}/results/a-${container.id}-eth0`;
  await host.exec('/bin/sh', ['-c', 'cat >"$1"', 'sh', `${host.dirs.conf}/a.conflist`], { input: GOOD });
  const id = ['--id', container.id];
  for (const text of [
    '',
    '{"kind":',
    '[]',
    'null',
    '{"kind":"cniCacheV1"}',
    '{"kind":"cniCacheV1","result":5,"config":7,"cniArgs":"x"}',
    '{"kind":"cniCacheV1","result":{"ips":"x"}}',
  ]) {
    await host.exec('/bin/sh', ['-c', 'mkdir -p "$(dirname "$1")"; cat >"$1"', 'sh', cached], {
      input: text,
    });
    const check = await weft(place, ['net', 'check', 'a', container.netns, ...id]);
    t.match(
      check,
      { status: 1, stdout: '', stderr: /^weft: / },
      `CHECK with a cached result ${JSON.stringify(text)}`,
      { check },
    );
    t.notMatch(check.stderr, /^\s+at /m, 'no stack trace');
    const del = await weft(place, ['net', 'del', 'a', container.netns, ...id]);
    t.notMatch(del.stderr, /^\s+at /m, `DEL with a cached result ${JSON.stringify(text)}: no stack trace`);
    t.ok([0, 1].includes(del.status), 'and a status that is meant', { del });
  }
  await place.sh(`rm -rf '${host.dirs.cache}/results'`);
  const env = (name: string, value: string) => ['/usr/bin/env', `${name}=${value}`];
  const add = ['net', 'add', 'a', container.netns, ...id];
  const table: [argv: readonly string[], by: readonly string[], says: RegExp][] = [
    [add, env('WEFT_CACHE_DIR', '/etc/passwd'), /\/etc\/passwd/],
    [
      add,
      env('WEFT_DATA_DIR', '/etc/passwd'),
      /leases in \/etc\/passwd\/a cannot be read or written: ENOTDIR/,
    ],
    [add, env('WEFT_CONF_DIR', '/etc/passwd'), /cannot read the folder \/etc\/passwd/],
    [add, env('WEFT_CONF_DIR', '/no/such'), /no network is called "a" in \/no\/such: there is none/],
    [add, env('WEFT_RUN_DIR', '/etc/passwd'), /\/etc\/passwd/],
    [
      add,
      ['/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
      /EACCES|permission denied|run as root/i,
    ],
    [['net', 'list'], env('WEFT_CONF_DIR', '/etc/passwd'), /cannot read the folder \/etc\/passwd/],
  ];
  for (const [argv, by, says] of table) {
    const { status, stdout, stderr } = await weft(place, argv, by);
    t.match(
      { status, stdout, stderr },
      { status: 1, stdout: '', stderr: says },
      `${by.at(-1)} ${argv.join(' ')}`,
    );
    t.notMatch(stderr, /^\s+at /m, 'no stack trace');
  }
  t.equal((await weft(place, ['net', 'del', 'a', container.netns, ...id])).status, 0);
  t.equal((await weft(place, add)).status, 0, 'and then it works');
  t.equal((await weft(place, ['net', 'del', 'a', container.netns, ...id])).status, 0);
});

t.test('output that cannot be written', { skip }, async (t) => {
  const place = await makePlace(t);
  for (const argv of [['version'], ['--help'], ['net', 'list'], ['completion', 'bash']]) {
    for (const redirect of ['>/dev/full', '>&-', '>/dev/full 2>&1']) {
      const by = ['/bin/sh', '-c', `exec "$0" "$@" ${redirect}`];
      const { stderr } = await weft(place, argv, by);
      t.notMatch(stderr, /^\s+at /m, `${argv.join(' ')} ${redirect}: no stack trace`);
    }
  }
});
