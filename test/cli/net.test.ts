import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { recordFolder } from '../../plugins/record.ts';
import { cachePath, readCached } from '../../runtime/cache.ts';
import { type Ground, makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

/** A namespace that is there in any case; fake plugins do nothing in it. */
const NETNS = '/proc/self/ns/net';

const RESULT = {
  cniVersion: '1.1.0',
  interfaces: [
    { name: 'cni0', mac: '02:00:00:00:00:01', mtu: 1500 },
    { name: 'vethab', mac: '02:00:00:00:00:02' },
    { name: 'eth0', mac: '02:00:00:00:00:03', mtu: 1500, sandbox: NETNS },
  ],
  ips: [
    { address: '10.1.0.2/24', gateway: '10.1.0.1', interface: 2 },
    { address: 'fd00:1::2/64', gateway: 'fd00:1::1', interface: 2 },
  ],
  routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1400, table: 0 }, { dst: 'fd00:2::/64' }],
  dns: { nameservers: ['10.1.0.1'], search: ['a.example', 'b.example'] },
};

function ground(t: Parameters<typeof makeGround>[0]): Ground {
  const made = makeGround(t);
  made.plugin(
    'good',
    `case $CNI_COMMAND in
    ADD) echo '${JSON.stringify(RESULT)}' ;;
    VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
    esac`,
  );
  made.plugin(
    'bad',
    `[ $CNI_COMMAND = DEL ] || { echo '{"code":100,"msg":"it broke","details":"badly"}'; exit 1; }`,
  );
  made.write('10-net.conflist', { name: 'net', cniVersion: '1.1.0', plugins: [{ type: 'good' }] });
  made.write('20-bad.conflist', {
    name: 'bad',
    cniVersion: '1.1.0',
    plugins: [{ type: 'good' }, { type: 'bad' }],
  });
  return { ...made, ambient: { ...made.ambient, env: { ...made.ambient.env, CNI_PATH: made.bin } } };
}

const commands = (g: Ground): string[] => g.calls().map(({ command, plugin }) => `${command} ${plugin}`);

t.test('list', async (t) => {
  const g = ground(t);
  t.same(await weft(g.ambient, 'net', 'list'), {
    status: 0,
    out: [
      'NETWORK  VERSION  PLUGINS   FILE',
      `net      1.1.0    good      ${g.conf}/10-net.conflist`,
      `bad      1.1.0    good bad  ${g.conf}/20-bad.conflist`,
      '',
    ].join('\n'),
    err: '',
  });
  const { out } = await weft(g.ambient, 'net', 'list', '--json');
  t.same(JSON.parse(out)[0], {
    name: 'net',
    cniVersion: '1.1.0',
    plugins: ['good'],
    file: `${g.conf}/10-net.conflist`,
  });
});

t.test('list tells what it cannot read, after what it can', async (t) => {
  const g = ground(t);
  g.write('30-x.conflist', '{');
  g.write('40-y.conf', '{"type":3}');
  const { status, out, err } = await weft(g.ambient, 'net', 'list');
  t.equal(status, 1);
  t.match(out, /^net {6}1\.1\.0/m);
  t.match(err, /30-x\.conflist:1:2: not JSON/);
  t.match(err, /40-y\.conf: type is 3/);
});

t.test('list of an empty folder', async (t) => {
  const g = makeGround(t);
  t.same(await weft(g.ambient, 'net', 'list'), {
    status: 0,
    out: '',
    err: `there is no network in ${g.conf}\n`,
  });
  t.match(await weft(g.ambient, 'net', 'list', '--json'), { status: 0, out: '[]\n' });
});

t.test('add prints what a person wants to know', async (t) => {
  const g = ground(t);
  t.same(await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'web'), {
    status: 0,
    out: `eth0 of container web is attached to net
  address    10.1.0.2/24          gateway 10.1.0.1   on eth0
  address    fd00:1::2/64         gateway fd00:1::1  on eth0
  route      0.0.0.0/0            via 10.1.0.1       mtu 1400 table 0
  route      fd00:2::/64
  interface  cni0                 02:00:00:00:00:01  mtu 1500 on the host
  interface  vethab               02:00:00:00:00:02  on the host
  interface  eth0                 02:00:00:00:00:03  mtu 1500 in /proc/self/ns/net
  dns        10.1.0.1             nameservers
  dns        a.example b.example  search
`,
    err: '',
  });
});

t.test('add --json prints the result; arguments and capabilities go along', async (t) => {
  const g = ground(t);
  g.write('n.conflist', {
    name: 'n',
    cniVersion: '1.1.0',
    plugins: [{ type: 'good', capabilities: { mac: true } }],
  });
  const { out } = await weft(
    g.ambient,
    ...['net', 'add', join(g.conf, 'n.conflist'), NETNS, '--json', '--ifname', 'net1'],
    ...[
      '--arg',
      'IP=10.1.0.7',
      '--arg',
      'IgnoreUnknown=1',
      '--cap',
      'mac="02:00:00:00:00:09"',
      '--cap',
      'ips=[]',
    ],
  );
  t.same(JSON.parse(out), RESULT);
  const [call] = g.calls();
  t.match(call?.env, { CNI_ARGS: 'IP=10.1.0.7;IgnoreUnknown=1', CNI_IFNAME: 'net1', CNI_NETNS: NETNS });
  t.same(call?.conf.runtimeConfig, { mac: '02:00:00:00:00:09' });
  t.match(call?.env.CNI_CONTAINERID, /^ns-[0-9a-f]{16}$/, 'the id is derived');
});

t.test('an ADD that fails is followed by DEL, and tells why', async (t) => {
  const g = ground(t);
  const failed = await weft(g.ambient, 'net', 'add', 'bad', NETNS, '--id', 'web', '--json');
  t.equal(failed.status, 1);
  t.equal(failed.err, 'weft: ADD by bad: it broke (badly)\n');
  t.same(JSON.parse(failed.out), {
    cniVersion: '1.1.0',
    code: 100,
    msg: 'ADD by bad: it broke',
    details: 'badly',
  });
  t.same(commands(g), ['ADD good', 'ADD bad', 'DEL bad', 'DEL good']);
  t.notOk(existsSync(cachePath(g.cache, 'bad', { containerId: 'web', ifname: 'eth0' })));
});

t.test('after a failed ADD every plugin gets its DEL', async (t) => {
  const g = ground(t);
  g.plugin('bad', `echo '{"code":7,"msg":"never"}'; exit 1`);
  const { err } = await weft(g.ambient, 'net', 'add', 'bad', NETNS, '--id', 'web');
  t.equal(err, 'weft: ADD by bad: never; then DEL by bad: never\n');
  t.same(commands(g), ['ADD good', 'ADD bad', 'DEL bad', 'DEL good']);
});

t.test('a plugin that is not installed is known before anything is done', async (t) => {
  const g = ground(t);
  rmSync(join(g.bin, 'bad'));
  const { status, err } = await weft(g.ambient, 'net', 'add', 'bad', NETNS);
  t.match({ status, err }, { status: 1, err: /^weft: plugin bad cannot be executed: it is in none of/ });
  t.same(commands(g), []);
});

t.test('a second ADD that fails does not take the first away', async (t) => {
  const g = ground(t);
  await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'web');
  g.plugin('good', `echo '{"code":104,"msg":"eth0 is there already"}'; exit 1`);
  const again = await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'web');
  t.match(again, { status: 1, err: /eth0 is there already/ });
  t.same(commands(g), ['ADD good', 'ADD good']);
  t.ok(readCached(g.cache, 'net', { containerId: 'web', ifname: 'eth0' }));
});

t.test('check', async (t) => {
  const g = ground(t);
  await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'web');
  const checked = await weft(g.ambient, 'net', 'check', 'net', NETNS, '--id', 'web');
  t.match(checked, { status: 0, out: 'eth0 of container web on net is as ADD made it\n' });
  t.match(await weft(g.ambient, 'net', 'check', 'net', NETNS, '--id', 'web', '--json'), {
    status: 0,
    out: '{"checked":true}\n',
  });
  g.plugin('good', `echo '{"code":101,"msg":"address is gone"}'; exit 1`);
  t.match(await weft(g.ambient, 'net', 'check', 'net', NETNS, '--id', 'web'), {
    status: 1,
    out: '',
    err: 'weft: CHECK by good: address is gone\n',
  });
});

t.test('del needs neither namespace nor file', async (t) => {
  const g = ground(t);
  await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'web');
  await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'db');
  rmSync(join(g.conf, '10-net.conflist'));
  t.match(await weft(g.ambient, 'net', 'del', 'net', '--id', 'web'), {
    status: 0,
    out: 'eth0 of container web is detached from net\n',
  });
  t.equal(g.calls()[2]?.env.CNI_NETNS, NETNS, "ADD's namespace, as it is still there");
  t.match(await weft(g.ambient, 'net', 'del', 'net', '/run/netns/no-such', '--id', 'db'), { status: 0 });
  t.match(g.calls()[3]?.conf.prevResult, { ips: RESULT.ips });
  t.match(await weft(g.ambient, 'net', 'del', 'net', '--id', 'db'), {
    status: 1,
    err: /no network is called "net"/,
  });
});

t.test('gc', async (t) => {
  const g = ground(t);
  for (const id of ['a', 'b', 'c']) await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', id);
  t.same(await weft(g.ambient, 'net', 'gc', 'net', '--valid', 'a/eth0', '--valid', 'c/eth0'), {
    status: 0,
    out: 'eth0 of container b is detached from net\nnet holds nothing but its 2 valid attachments\n',
    err: '',
  });
  t.same(commands(g).slice(3), ['DEL good', 'GC good']);
  const { out } = await weft(g.ambient, 'net', 'gc', 'net', '--all', '--json');
  t.same(JSON.parse(out), {
    removed: [
      { containerID: 'a', ifname: 'eth0' },
      { containerID: 'c', ifname: 'eth0' },
    ],
  });
});

t.test('status and version', async (t) => {
  const g = ground(t);
  t.same(await weft(g.ambient, 'net', 'status', 'net'), { status: 0, out: 'net is ready\n', err: '' });
  t.match(await weft(g.ambient, 'net', 'status', 'bad'), {
    status: 1,
    err: 'weft: STATUS by bad: it broke (badly)\n',
  });
  t.same(await weft(g.ambient, 'net', 'version', 'net'), { status: 0, out: 'good  1.0.0 1.1.0\n', err: '' });
  g.write('old.conflist', { name: 'old', cniVersion: '0.4.0', plugins: [{ type: 'good' }] });
  t.match(await weft(g.ambient, 'net', 'status', 'old'), {
    status: 0,
    out: /STATUS needs 1\.1\.0: not asked/,
  });
  t.match(await weft(g.ambient, 'net', 'version', 'old'), { err: /plugin good does not support 0\.4\.0/ });
});

t.test('plugins are looked for beside weft and in the usual folders', async (t) => {
  const g = ground(t);
  const ambient = { ...g.ambient, env: { ...g.ambient.env, CNI_PATH: '' } };
  const { err } = await weft(ambient, 'net', 'add', 'net', NETNS);
  t.match(err, /it is in none of .*dist\/bin, \/opt\/cni\/bin, \/usr\/lib\/cni, \/usr\/libexec\/cni/);
  t.match(await weft(ambient, 'net', 'add', 'net', NETNS, '--cni-path', `/nonexistent:${g.bin}`), {
    status: 0,
  });
});

t.test('attachments, from results and records', async (t) => {
  const g = ground(t);
  t.same(await weft(g.ambient, 'net', 'attachments'), {
    status: 0,
    out: '',
    err: `nothing is attached, as far as ${g.cache} tells\n`,
  });
  await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'web');
  await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'db', '--ifname', 'net1');
  g.write('30-other.conflist', { name: 'other', cniVersion: '1.1.0', plugins: [{ type: 'good' }] });
  await weft(g.ambient, 'net', 'add', 'other', NETNS, '--id', 'web');
  // Of this one there is only the record that a plugin of ours wrote, and its namespace is gone.
  const records = recordFolder(g.cache);
  mkdirSync(records, { recursive: true });
  const record = {
    network: 'net',
    containerId: 'zoo',
    ifname: 'eth0',
    netns: '/run/netns/no-such',
    steps: [],
  };
  writeFileSync(
    join(records, 'r.bridge'),
    JSON.stringify({ format: 'weft attachment 1', plugin: 'bridge', ...record }),
  );
  t.same((await weft(g.ambient, 'net', 'attachments')).out.split('\n'), [
    'NETWORK  CONTAINER  INTERFACE  ADDRESSES                 NAMESPACE',
    `net      db         net1       10.1.0.2/24 fd00:1::2/64  ${NETNS}`,
    `net      web        eth0       10.1.0.2/24 fd00:1::2/64  ${NETNS}`,
    'net      zoo        eth0       -                         /run/netns/no-such (gone)',
    `other    web        eth0       10.1.0.2/24 fd00:1::2/64  ${NETNS}`,
    '',
  ]);
  const { out } = await weft(g.ambient, 'net', 'attachments', 'net', '--json');
  t.match(JSON.parse(out), [
    { network: 'net', containerID: 'db', ifname: 'net1', netns: NETNS, alive: true, plugins: [] },
    { containerID: 'web', addresses: ['10.1.0.2/24', 'fd00:1::2/64'] },
    { containerID: 'zoo', addresses: [], alive: false, plugins: ['bridge'] },
  ]);
  t.match(await weft(g.ambient, 'net', 'attachments', 'none'), {
    status: 0,
    err: /nothing is attached to none/,
  });
});

t.test('del of what is not attached says so, and asks the plugins all the same', async (t) => {
  const g = ground(t);
  t.match(await weft(g.ambient, 'net', 'del', 'net', NETNS, '--id', 'web'), {
    status: 0,
    out: /^eth0 of container web was not attached to net, as far as is known: /,
  });
  t.same(commands(g), ['DEL good']);
  t.same(JSON.parse((await weft(g.ambient, 'net', 'del', 'net', '--id', 'web', '--json')).out), {
    wasAttached: false,
  });
  await weft(g.ambient, 'net', 'add', 'net', NETNS, '--id', 'web');
  t.same(JSON.parse((await weft(g.ambient, 'net', 'del', 'net', '--id', 'web', '--json')).out), {
    wasAttached: true,
  });
});

t.test('a network from standard input, as JSON or YAML', async (t) => {
  const g = ground(t);
  const piped = (text: string) => ({ ...g.ambient, input: async () => text });
  const json = JSON.stringify({ name: 'piped', cniVersion: '1.0.0', plugins: [{ type: 'good' }] });
  const yaml = 'name: piped\ncniVersion: 1.0.0\nplugins:\n  - type: good\n';
  for (const text of [json, yaml, `# a comment\n---\n${yaml}`]) {
    t.match(await weft(piped(text), 'net', 'add', '-', NETNS, '--id', 'web'), {
      status: 0,
      out: /^eth0 of container web is attached to piped\n/,
    });
    t.match(await weft(g.ambient, 'net', 'del', 'piped', NETNS, '--id', 'web'), {
      out: /is detached from piped/,
    });
  }
  t.match(await weft(piped('a: [b'), 'net', 'add', '-', NETNS), { err: /standard input:1:6: not YAML/ });
  t.match(await weft(piped('{"a": }'), 'net', 'add', '-', NETNS), { err: /standard input:1:7: not JSON/ });
  t.match(await weft(piped(''), 'net', 'add', '-', NETNS), { err: /standard input is empty/ });
  t.match(await weft(piped('name: piped'), 'net', 'add', '-', NETNS), {
    err: /standard input: plugins is missing: beside a pipe/,
  });
});

t.test('without root add, check, del and gc say so before anything is done', async (t) => {
  const g = ground(t);
  spawnSync('chmod', ['-R', 'a+rwX', g.root]);
  const main = join(import.meta.dirname, '../../bin/main.ts');
  for (const [verb, ...args] of [
    ['add', 'net', NETNS],
    ['check', 'net', NETNS],
    ['del', 'net', NETNS],
    ['gc', 'net', '--all'],
  ]) {
    const words = [
      '--reuid=65534',
      '--clear-groups',
      process.execPath,
      `--import=${import.meta.resolve('tsx')}`,
    ];
    const { status, stderr } = spawnSync(
      'setpriv',
      [...words, main, 'weft', 'weft', 'net', `${verb}`, ...args],
      {
        encoding: 'utf8',
        env: { ...(g.ambient.env as NodeJS.ProcessEnv), TMPDIR: g.root },
      },
    );
    t.match(
      { status, stderr },
      { status: 1, stderr: new RegExp(`^weft: weft net ${verb} needs root`) },
      `${verb}`,
    );
  }
  t.same(commands(g), []);
});

t.test('fields that no plugin of ours knows are warned of', async (t) => {
  const g = ground(t);
  g.write('40-odd.conflist', {
    ...{ name: 'odd', cniVersion: '1.1.0', disablecheck: true, disablGC: true },
    plugins: [{ type: 'good', anything: 1 }],
  });
  t.match(await weft(g.ambient, 'net', 'add', 'odd', NETNS), {
    status: 0,
    err: 'weft: warning: disablGC: a list has no such field: did you mean disableGC?\n',
  });
});
