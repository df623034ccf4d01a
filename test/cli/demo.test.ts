/** The demonstration, with the executables of dist/bin: it proves by itself; here is proved that it tells the truth. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeGround } from '../runtime/fake-plugins.ts';

const WEFT = join(import.meta.dirname, '../../dist/bin/weft');
const CONFLIST = {
  cniVersion: '1.1.0',
  name: 'demo',
  plugins: [
    {
      type: 'bridge',
      bridge: 'demo0',
      isDefaultGateway: true,
      ipMasq: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.77.0.0/24' }], [{ subnet: 'fd77::/64' }]] },
    },
  ],
};

/** A folder of the test's own for the demonstration's, so that what is left can be seen. */
function place(t: Parameters<typeof makeGround>[0]) {
  const g = makeGround(t);
  const tmp = join(g.root, 'tmp');
  mkdirSync(tmp);
  const env = { PATH: process.env.PATH ?? '', TMPDIR: tmp };
  return { tmp, env, file: g.write('demo.conflist', CONFLIST) };
}

/** Names of links and nft tables of the namespace that the test runs in. */
function machine(): string {
  const links = spawnSync('ip', ['-o', 'link'], { encoding: 'utf8' }).stdout;
  const tables = spawnSync('nft', ['list', 'tables'], { encoding: 'utf8' }).stdout;
  return [...links.matchAll(/^\d+: ([^:@]+)/gm)].map(([, name]) => name).join() + tables;
}

for (const backend of ['nftables', 'iptables']) {
  t.test(`with ${backend}`, async (t) => {
    const { tmp, env, file } = place(t);
    const before = machine();
    const { status, stdout, stderr } = spawnSync(WEFT, ['demo', 'bridge', '--backend', backend, file], {
      env,
      encoding: 'utf8',
    });
    t.same({ status, stderr }, { status: 0, stderr: '' });
    t.notMatch(stdout, /✗/);
    t.match(stdout, /All 27 checks passed/);
    t.match(stdout, /✓ TCP red → outside, which sees 203\.0\.113\.2/);
    t.match(stdout, /✓ TCP blue → outside, which sees 2001:db8:113::2/);
    t.match(stdout, backend === 'nftables' ? /table inet weft \{/ : /--match-set weft-demo-4 src/);
    t.notMatch(stdout, '\u001b', 'no colour without a terminal');
    t.same(readdirSync(tmp), [], 'the folder is gone');
    t.equal(machine(), before, 'the network of the machine is as it was');
  });
}

t.test('a check that fails is told by a mark and by the exit status', async (t) => {
  const { tmp, env, file } = place(t);
  const [bridge] = CONFLIST.plugins;
  // Without a gateway nothing but the other container can be reached.
  const plugins = [{ ...bridge, isDefaultGateway: false }];
  writeFileSync(file, JSON.stringify({ ...CONFLIST, plugins }));
  const { status, stdout, stderr } = spawnSync(WEFT, ['demo', 'bridge', file], { env, encoding: 'utf8' });
  t.equal(status, 1);
  t.match(stdout, /✗ ping red → outside 203\.0\.113\.1 {2}no answer/);
  t.match(stdout, /✓ ping red → blue 10\.77\.0\.3/);
  t.match(stderr, /weft: \d+ of \d+ checks failed/);
  t.same(readdirSync(tmp), []);
});

t.test('an ADD that fails ends it, and everything is taken away', async (t) => {
  const { tmp, env, file } = place(t);
  writeFileSync(file, JSON.stringify({ ...CONFLIST, plugins: [...CONFLIST.plugins, { type: 'missing' }] }));
  const { status, stderr } = spawnSync(WEFT, ['demo', 'bridge', file], { env, encoding: 'utf8' });
  t.equal(status, 1);
  t.match(stderr, /plugin missing cannot be executed/);
  t.same(readdirSync(tmp), []);
});

t.test('interrupted, it takes everything away', async (t) => {
  for (const [signal, when] of [
    ['SIGTERM', 'Plan for container red'],
    ['SIGINT', 'Packets'],
  ] as const) {
    const { tmp, env, file } = place(t);
    const child = spawn(WEFT, ['demo', 'bridge', file], { env });
    let out = '';
    child.stdout.on('data', (chunk) => {
      const seen = out.includes(when);
      out += chunk;
      if (!seen && out.includes(when)) child.kill(signal);
    });
    const status = await new Promise((resolve) => child.on('close', resolve));
    t.equal(status, 1, `${signal} at ${when}`);
    t.same(readdirSync(tmp), []);
  }
});

t.test('with --keep the simulated hosts stay, and can be taken away as it says', async (t) => {
  const { tmp, env, file } = place(t);
  const { status, stdout } = spawnSync(WEFT, ['demo', 'bridge', '--keep', file], { env, encoding: 'utf8' });
  t.equal(status, 0);
  const [folder = ''] = readdirSync(tmp).map((name) => join(tmp, name));
  const inRed = ['--net', 'ping', '-n', '-c', '1', '-w', '3', '10.77.0.3'];
  inRed[0] = `--net=${folder}/ns/red`;
  t.equal(spawnSync('nsenter', inRed).status, 0);
  const source = `source ${folder}/environment && nsenter --net=${folder}/ns/host ${WEFT} net check demo ${folder}/ns/red --id red`;
  t.match(spawnSync('bash', ['-c', source], { encoding: 'utf8' }).stdout, /is as ADD made it/);
  const [away = ''] = /umount .*/.exec(stdout) ?? [];
  t.equal(spawnSync('bash', ['-c', away]).status, 0, away);
  t.same(readdirSync(tmp), []);
});

t.test('without root it says so, and makes nothing', async (t) => {
  const { tmp, env, file } = place(t);
  spawnSync('chmod', ['-R', 'a+rX', join(tmp, '..')]);
  const args = ['--reuid=65534', '--clear-groups', WEFT, 'demo', 'bridge', file];
  const { status, stderr } = spawnSync('setpriv', args, { env, encoding: 'utf8' });
  t.same(
    { status, stderr },
    { status: 1, stderr: 'weft: the demonstration needs root, to make network namespaces\n' },
  );
  t.same(readdirSync(tmp), []);
});
