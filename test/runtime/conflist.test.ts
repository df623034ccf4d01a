import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CniError } from '../../cni/errors.ts';
import { findNetwork, listNetworks, loadNetworkFile } from '../../runtime/conf-dir.ts';
import { parseNetworkList } from '../../runtime/conflist.ts';
import { makeGround } from './fake-plugins.ts';

const BRIDGE = { type: 'bridge', bridge: 'cni0', unheard: { of: [1] } };

async function failure(work: Promise<unknown>): Promise<{ code: number; message: string }> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CniError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('an error was expected');
}

t.test('a list keeps what it does not know', async (t) => {
  const text = JSON.stringify({ cniVersion: '1.0.0', name: 'net', extra: true, plugins: [BRIDGE] });
  const list = await parseNetworkList(text, 'a.conflist');
  t.match(list, {
    name: 'net',
    cniVersion: '1.0.0',
    disableCheck: false,
    disableGC: false,
    plugins: [BRIDGE],
  });
  t.equal(list.json, text, 'the cache keeps the very text');
});

t.test('a single plugin becomes a list of one', async (t) => {
  const text = JSON.stringify({ cniVersion: '0.4.0', name: 'one', ...BRIDGE });
  const list = await parseNetworkList(text, 'a.conf');
  t.match(list, { name: 'one', cniVersion: '0.4.0', plugins: [BRIDGE] });
  const again = await parseNetworkList(list.json, 'cache');
  t.same(again.plugins, list.plugins);
});

t.test('the version is the highest that is known', async (t) => {
  const table: [object, string][] = [
    [{}, '0.1.0'],
    [{ cniVersion: '0.3.1' }, '0.3.1'],
    [{ cniVersion: '0.3.1', cniVersions: ['0.4.0', '1.0.0'] }, '1.0.0'],
    [{ cniVersion: '1.1.0', cniVersions: ['0.4.0', '1.0.0'] }, '1.1.0'],
    [{ cniVersion: '1.0.0', cniVersions: ['9.0.0', '1.1.0'] }, '1.1.0'],
    [{ cniVersions: ['1.1.0', '0.3.0'] }, '1.1.0'],
    [{ cniVersion: '9.9.9' }, '9.9.9'],
  ];
  for (const [versions, wanted] of table) {
    const list = await parseNetworkList(JSON.stringify({ ...versions, name: 'n', plugins: [BRIDGE] }), 'x');
    t.equal(list.cniVersion, wanted, JSON.stringify(versions));
  }
});

t.test('switches are booleans or the strings', async (t) => {
  for (const [value, wanted] of [
    [true, true],
    [false, false],
    ['true', true],
    ['False', false],
  ] as const) {
    const text = JSON.stringify({ name: 'n', plugins: [BRIDGE], disableCheck: value, disableGC: value });
    t.match(await parseNetworkList(text, 'x'), { disableCheck: wanted, disableGC: wanted });
  }
});

t.test('bad input is told with file and field', async (t) => {
  const list = (change: object) => JSON.stringify({ name: 'n', plugins: [BRIDGE], ...change });
  const table: [string, number, string][] = [
    ['', 6, 'f is empty: a network configuration is expected'],
    ['[]', 7, 'f: the configuration is []: wanted is an object'],
    ['{"name": "a",\n "plugins": [}', 6, 'f:2:14: not JSON: expected a value, found "}"'],
    ['{"name": "a" "b": 1}', 6, 'f:1:14: not JSON: expected "," or "}", found "\\""'],
    [
      '{"name": "a',
      6,
      'f:1:12: not JSON: expected the rest of a string and its closing quote, found the end of the text',
    ],
    ['{"a": 1,}', 6, 'f:1:9: not JSON: expected a key in double quotes, found "}"'],
    [list({ name: undefined }), 7, 'f: name is missing: every network has a name'],
    [
      list({ name: '../etc' }),
      7,
      'f: name is "../etc": wanted is a letter or digit, then letters, digits, "_", "." and "-"',
    ],
    [list({ plugins: {} }), 7, 'f: plugins is {}: wanted is a list of objects'],
    [list({ plugins: [] }), 7, 'f: plugins is empty: a network needs at least one plugin'],
    [list({ plugins: [BRIDGE, 3] }), 7, 'f: plugins[1] is 3: wanted is an object'],
    [list({ plugins: [{}] }), 7, 'f: plugins[0].type is missing: it names the plugin to run'],
    [
      list({ plugins: [{ type: '../../bin/sh' }] }),
      7,
      'f: plugins[0].type is "../../bin/sh": wanted is a plugin name without "/"',
    ],
    [
      list({ plugins: [{ type: 'a', capabilities: { mac: 'yes' } }] }),
      7,
      'f: plugins[0].capabilities.mac is "yes": wanted is true or false',
    ],
    [list({ disableCheck: 'maybe' }), 7, 'f: disableCheck is "maybe": wanted is true or false'],
    [list({ cniVersion: 1 }), 7, 'f: cniVersion is 1: wanted is a string such as "1.0.0"'],
    [
      list({ cniVersions: '1.0.0' }),
      7,
      'f: cniVersions is "1.0.0": wanted is a list of strings such as ["0.4.0", "1.0.0"]',
    ],
    [
      '{"name":"n","loadOnlyInlinedPlugins":true}',
      7,
      'f: plugins is missing, and loadOnlyInlinedPlugins forbids to take them from files',
    ],
  ];
  for (const [text, code, message] of table) {
    t.same(await failure(parseNetworkList(text, 'f')), { code, message }, text);
  }
});

t.test('YAML says the same', async (t) => {
  const ground = makeGround(t);
  const yaml = 'cniVersion: 1.0.0\nname: y\nplugins:\n  - type: bridge\n    isGateway: true\n';
  const list = await loadNetworkFile(ground.write('y.yaml', yaml));
  t.match(list, { name: 'y', cniVersion: '1.0.0', plugins: [{ type: 'bridge', isGateway: true }] });
  t.same(JSON.parse(list.json).plugins, list.plugins, 'the cache keeps JSON');
  const bad = ground.write('bad.yml', 'name: y\nplugins: [\n');
  t.match((await failure(loadNetworkFile(bad))).message, /bad\.yml:\d+:\d+: not YAML: /);
});

t.test('lists come before single plugins, then by name', async (t) => {
  const ground = makeGround(t);
  const write = (file: string, marker: string) =>
    ground.write(
      file,
      file.endsWith('.conflist')
        ? { name: 'net', plugins: [{ ...BRIDGE, marker }] }
        : { name: 'net', ...BRIDGE, marker },
    );
  const marker = async () => (await findNetwork('net', ground.conf)).plugins[0]?.marker;
  write('20.json', 'json');
  t.equal(await marker(), 'json');
  write('10.conf', 'conf');
  t.equal(await marker(), 'conf');
  write('99.conflist', 'late list');
  t.equal(await marker(), 'late list');
  write('05.conflist', 'early list');
  t.equal(await marker(), 'early list');
  mkdirSync(join(ground.conf, '00.conflist'));
  t.equal(await marker(), 'early list', 'a folder is no configuration');
  t.equal((await listNetworks(ground.conf)).length, 4);
});

t.test('what is not found names what is there, and what is broken', async (t) => {
  const ground = makeGround(t);
  t.match((await failure(findNetwork('x', join(ground.root, 'none')))).message, /there is none$/);
  ground.write('a.conflist', { name: 'a', plugins: [BRIDGE] });
  ground.write('b.conflist', '{');
  t.equal((await findNetwork('a', ground.conf)).name, 'a');
  const { message } = await failure(findNetwork('x', ground.conf));
  t.match(message, `no network is called "x" in ${ground.conf}: there are a; ${ground.conf}/b.conflist:1:2`);
  t.match((await failure(findNetwork('./x.conflist', ground.conf))).message, /there is no such file$/);
  t.match((await failure(findNetwork(ground.conf, ground.conf))).message, /it is a folder$/);
});

t.test('plugins may stand in files of their own', async (t) => {
  const ground = makeGround(t);
  const file = ground.write('net.conflist', { name: 'net', cniVersion: '1.0.0', plugins: [BRIDGE] });
  ground.write('net/20-b.conf', { type: 'portmap' });
  ground.write('net/10-a.conf', { type: 'firewall' });
  ground.write('net/30-c.json', { type: 'ignored' });
  const types = async () => (await loadNetworkFile(file)).plugins.map(({ type }) => type);
  t.same(await types(), ['bridge', 'firewall', 'portmap']);
  const kept = await parseNetworkList((await loadNetworkFile(file)).json, 'cache');
  t.same(
    kept.plugins.map(({ type }) => type),
    ['bridge', 'firewall', 'portmap'],
    'the cache has them when the files are gone',
  );
  ground.write('net.conflist', { name: 'net', plugins: [BRIDGE], loadOnlyInlinedPlugins: true });
  t.same(await types(), ['bridge']);
  ground.write('net.conflist', { name: 'net' });
  t.same(await types(), ['firewall', 'portmap']);
  ground.write('empty.conflist', { name: 'empty' });
  t.match((await failure(findNetwork('empty', ground.conf))).message, /plugins is missing, and there is no/);
  ground.write('net/15-bad.conf', '{"type": }');
  t.match((await failure(loadNetworkFile(file))).message, /15-bad\.conf:1:10: not JSON/);
});
