/** An IPAM that is another program: missing, broken, or saying what no IPAM may say. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { pluginsUnderTest } from '../support/plugins.ts';
import { BRIDGE, PTP } from './configurations.ts';
import { makePlace } from './place.ts';
import { type Row, refuseAll } from './table.ts';

interface Broken {
  name: string;
  /** The program; one that prints this for ADD and nothing for others, where it is an object. */
  script: string | object;
  code: number;
  says: Row['says'];
  details?: RegExp;
  /** DEL's code, when the program fails there, too. */
  del?: number;
}

const result = (more: object) => ({ cniVersion: '1.1.0', ...more });
const ips = (address: string, gateway?: string) =>
  result({ ips: [{ address, ...(gateway && { gateway }) }] });

const BROKEN: readonly Broken[] = [
  {
    name: 'prints nothing',
    script: 'exit 0',
    code: 6,
    says: /ADD by plugin odd: wanted a JSON object on its standard output, found nothing/,
  },
  {
    name: 'prints garbage',
    script: '[ $CNI_COMMAND = ADD ] && echo "<html>"; exit 0',
    code: 6,
    says: /found "<html>"/,
  },
  {
    name: 'prints much garbage',
    script: '[ $CNI_COMMAND = ADD ] && head -c 5000000 /dev/zero | tr "\\0" x; exit 0',
    code: 6,
    says: /found "x{200}"/,
  },
  {
    name: 'prints a list',
    script: '[ $CNI_COMMAND = ADD ] && echo "[]"; exit 0',
    code: 6,
    says: /wanted a JSON object on its standard output, found "\[\]"/,
  },
  {
    name: 'prints binary',
    script: '[ $CNI_COMMAND = ADD ] && head -c 100 /dev/urandom; exit 0',
    code: 6,
    says: /wanted a JSON object/,
  },
  {
    name: 'fails without a word',
    script: 'exit 1',
    code: 105,
    del: 105,
    says: /ADD by .*\/odd ended with status 1: wanted an error as JSON on its standard output, found nothing/,
  },
  {
    name: 'fails with a text',
    script: 'echo oops; exit 3',
    code: 105,
    del: 105,
    says: /ended with status 3: .*found "oops"/,
  },
  {
    name: 'fails with a trace on stderr',
    script: 'echo "panic: oops" >&2; exit 2',
    code: 105,
    del: 105,
    says: /ended with status 2/,
  },
  { name: 'is killed', script: 'kill -9 $$', code: 105, del: 105, says: /ended with status 137/ },
  { name: 'crashes', script: 'kill -SEGV $$', code: 105, del: 105, says: /ended with status 139/ },
  {
    name: 'fails with a result',
    script: `echo '{"cniVersion":"1.1.0","ips":[]}'; exit 1`,
    code: 105,
    del: 105,
    says: /ended with status 1/,
  },
  {
    name: 'fails with a code that is none',
    script: `echo '{"code":"seven","msg":"x"}'; exit 1`,
    code: 105,
    del: 105,
    says: /ended with status 1/,
  },
  {
    name: 'says why',
    script: `echo '{"cniVersion":"1.1.0","code":11,"msg":"ask again","details":"busy"}'; exit 1`,
    code: 11,
    del: 11,
    says: /^ask again$/,
    details: /^busy$/,
  },
  {
    name: 'has no interpreter',
    script: '#!/no/such/shell',
    code: 105,
    del: 105,
    says: /cannot start .*\/odd/,
    details: /ENOENT/,
  },
  {
    name: 'another version',
    script: { cniVersion: '7.0.0', ips: [] },
    code: 1,
    says: /result of odd\.cniVersion: found "7\.0\.0", wanted one of/,
  },
  {
    name: 'ips that are none',
    script: result({ ips: 'all' }),
    code: 6,
    says: /result of odd\.ips: found "all", wanted a list/,
  },
  {
    name: 'an address that is none',
    script: ips('here'),
    code: 6,
    says: /result of odd\.ips\[0\]\.address: found "here", wanted an address with prefix length/,
  },
  ...['999.1.1.1/24', ':::::/64', '10.1.0.5/33', '10.1.0/24', '.../8', 'fd00::5/129', '10.1.0.5/024'].map(
    (address): Broken => ({
      name: `the address ${address}`,
      script: ips(address),
      code: 6,
      says: [/result of odd\.ips\[0\]\.address: found "/, /wanted an address with prefix length/],
    }),
  ),
  ...['here', '10.1.0.300', 'fd00:::1', '10.1.0.1/24'].map(
    (gateway): Broken => ({
      name: `the gateway ${gateway}`,
      script: ips('10.1.0.5/24', gateway),
      code: 6,
      says: [/result of odd\.ips\[0\]\.gateway: found "/, /wanted an address/],
    }),
  ),
  {
    name: 'a multicast address',
    script: ips('ff02::1/64', 'fd00::1'),
    code: 7,
    says: /ff02::1\/64 cannot be the address of a container/,
  },
  {
    name: 'a gateway of the other family',
    script: ips('10.1.0.5/24', 'fd00::1'),
    code: 7,
    says: /the gateway fd00::1 of 10\.1\.0\.5\/24 is of the other family/,
  },
  {
    name: 'the unspecified address',
    script: ips('0.0.0.0/0', '10.1.0.1'),
    code: 7,
    says: /0\.0\.0\.0\/0 cannot be the address of a container: wanted neither zero nor multicast/,
  },
  ...[
    [{ dst: '10.9.0.0/99' }, 'dst'],
    [{ dst: 'default' }, 'dst'],
    [{ dst: '10.9.0.0/16', gw: 'up' }, 'gw'],
    [{ dst: '10.9.0.0/16', gw: '1.2.3' }, 'gw'],
    [{ dst: '10.9.0.0/16', priority: -1 }, 'priority'],
    [{ dst: '10.9.0.0/16', table: 2 ** 40 }, 'table'],
    [{ dst: '10.9.0.0/16', scope: 300 }, 'scope'],
    [{ dst: '10.9.0.0/16', mtu: 2 ** 33 }, 'mtu'],
    [{ dst: '10.9.0.0/16', advmss: 'x' }, 'advmss'],
  ].map(
    ([route, field]): Broken => ({
      name: `the route ${JSON.stringify(route)}`,
      script: { ...ips('10.1.0.5/24', '10.1.0.1'), routes: [route] },
      code: 6,
      says: [new RegExp(`result of odd\\.routes\\[0\\]\\.${field}: found `), /, wanted /],
    }),
  ),
  {
    name: 'a route by a gateway of the other family',
    script: { ...ips('10.1.0.5/24', '10.1.0.1'), routes: [{ dst: '10.9.0.0/16', gw: 'fd00::1' }] },
    code: 7,
    says: /the gateway fd00::1 of route 10\.9\.0\.0\/16 is of the other family/,
  },
  {
    name: 'dns that is none',
    script: { ...ips('10.1.0.5/24', '10.1.0.1'), dns: { nameservers: 'x' } },
    code: 6,
    says: /result of odd\.dns\.nameservers: found "x", wanted a list of strings/,
  },
  { name: 'no address', script: result({}), code: 7, says: /IPAM gave no address/ },
];

const shell = (script: string | object): string => {
  if (typeof script === 'string')
    return script.startsWith('#') ? script : `#!/bin/sh\ncat >/dev/null\n${script}\n`;
  return `#!/bin/sh\ncat >/dev/null\n[ "$CNI_COMMAND" = ADD ] || exit 0\ncat <<'END'\n${JSON.stringify(script)}\nEND\n`;
};

/** What is said of them is said in one place for all plugins: ptp is asked for every seventh. */
for (const [conf, broken] of [
  [BRIDGE, BROKEN],
  [PTP, BROKEN.filter((_, i) => i % 7 === 0)],
] as const) {
  t.test(`${conf.type}: broken programs`, async (t) => {
    const place = await makePlace(t);
    const rows: Row[] = [];
    for (const [i, { script, ...row }] of broken.entries()) {
      const type = `odd${i}`;
      const says = [row.says].flat().map((each) => new RegExp(each.source.replace('odd', type), each.flags));
      const file = join(place.host.dirs.bin, type);
      await writeFile(file, shell(script), { mode: 0o755 });
      rows.push({ ...row, says, plugin: conf.type, input: { ...conf, ipam: { type } } });
    }
    await refuseAll(t, rows, place);
  });
}

t.test('programs that are not there', async (t) => {
  const place = await makePlace(t);
  const { bin } = place.host.dirs;
  await writeFile(join(bin, 'not-executable'), '#!/bin/sh\n');
  await mkdir(join(bin, 'folder'));
  await symlink(join(pluginsUnderTest(), 'ptp'), join(bin, 'alias'));
  const row = (name: string, type: unknown, code: number, says: RegExp, env?: Row['env']): Row[] =>
    [BRIDGE, PTP].map((conf) => ({
      name,
      plugin: conf.type,
      input: { ...conf, ipam: { type } },
      code,
      // What can be no IPAM has given no address; what is missing may have.
      del: code === 7 ? undefined : code,
      says,
      env,
    }));
  await refuseAll(
    t,
    [
      ...row(
        'unknown',
        'no-such',
        105,
        /plugin no-such cannot be executed: it is in none of .*: install it or correct CNI_PATH/,
      ),
      ...row(
        'a path',
        '../../bin/sh',
        7,
        /plugin type "\.\.\/\.\.\/bin\/sh": wanted the name of a file on CNI_PATH, without "\/"/,
      ),
      ...row('an absolute path', '/bin/sh', 7, /plugin type "\/bin\/sh": wanted the name/),
      ...row('..', '..', 7, /plugin type "\.\.": wanted the name/),
      ...row('.', '.', 7, /plugin type "\."/),
      ...row('a zero byte', 'a\0b', 7, /plugin type "a\\u0000b"/),
      ...row('lines', 'a\nb', 105, /plugin "?a(\\n| )b"? cannot be executed/),
      ...row('very long', 'a'.repeat(5000), 7, /plugin type "a+\.\.\.: wanted the name of a file/),
      ...row('not executable', 'not-executable', 105, /not-executable is not executable/),
      ...row('a folder', 'folder', 105, /plugin folder cannot be executed/),
      ...row(
        'a plugin that makes links',
        'bridge',
        7,
        /ipam\.type: bridge makes links, wanted an address management/,
      ),
      ...row('the plugin itself by another name', 'alias', 7, /ipam\.type: ptp makes links/),
      ...row('loopback', 'loopback', 7, /ipam\.type: loopback makes links/),
      ...row('CNI_PATH of empty names', 'odd', 105, /CNI_PATH names no folder/, { CNI_PATH: ':' }),
    ],
    place,
  );
});
