/** What callers ask of weft-oci about a container that is there: by the launcher alone where it is ordinary, by Node where it is not. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { OciConfig } from '../../../runtime/oci/bundle.ts';
import { makeHost } from '../../support/host.ts';
import { fillBin } from '../../support/plugins.ts';
import { until } from '../../support/until.ts';

const host = await makeHost(t);
await fillBin(host);
const STATES = join(host.root, 'states');
/** Where a start of Node would be the end. */
const WITHOUT_NODE = { WEFT_NODE: '/bin/false' };

/** Output goes to a file: a container holds what it was created with. */
async function call(
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
  program = 'weft-oci',
) {
  const out = join(host.root, 'out');
  const line = ['sh', '-c', 'exec "$@" >"$0" 2>&1', out, `/opt/cni/bin/${program}`, ...words];
  const { status } = await host.exec('env', line, { env, mayFail: true });
  return { status, out: readFileSync(out, 'utf8') };
}
const oci = (...words: string[]) => call(['--root', STATES, ...words]);
const quick = (...words: string[]) => call(['--root', STATES, ...words], WITHOUT_NODE);
const byNode = (...words: string[]) => call(['oci', '--root', STATES, ...words], {}, 'weft');

/** A bundle whose file system is one busybox. */
function bundle(
  name: string,
  args: readonly string[],
  more: Partial<OciConfig> = {},
  apart = ['pid'],
): string {
  const folder = join(host.root, name);
  mkdirSync(join(folder, 'root/bin'), { recursive: true });
  for (const applet of ['sh', 'sleep']) copyFileSync('/bin/busybox', join(folder, 'root/bin', applet));
  writeFileSync(join(folder, 'root/bin/odd'), 'no program', { mode: 0o755 });
  const config: OciConfig = {
    ociVersion: '1.0.2',
    process: { args, cwd: '/', env: ['PATH=/bin'] },
    root: { path: 'root' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      cgroupsPath: `/${host.name}/${name}`,
      namespaces: ['mount', ...apart].map((type) => ({ type })),
    },
    ...more,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

const statusOf = async (id: string) => JSON.parse((await quick('state', id)).out).status as string;
const stopped = (id: string) => until('it has ended', async () => (await statusOf(id)) === 'stopped');
const HIERARCHY = existsSync('/sys/fs/cgroup/cgroup.controllers') ? '/sys/fs/cgroup' : '/sys/fs/cgroup/pids';
const groupOf = (id: string) => join(HIERARCHY, host.name, id);

t.test('from created to gone, without Node', async (t) => {
  const created = await oci('create', '--bundle', bundle('one', ['sleep', '1000']), 'one');
  t.match(created, { status: 0, out: '' });
  const same = async (status: string) => {
    const said = await quick('state', 'one');
    t.equal(said.status, 0);
    t.match(JSON.parse(said.out), { ociVersion: '1.0.2', id: 'one', status });
    t.equal(said.out, (await byNode('state', 'one')).out, `${status}: Node says the same`);
  };
  await same('created');
  const log = ['--log', join(host.root, 'log'), '--log-format=json'];
  t.match(await quick(...log, 'start', 'one'), { status: 0, out: '' });
  await same('running');
  t.match(await oci('pause', 'one'), { status: 0 });
  await same('paused');
  t.match(await oci('resume', 'one'), { status: 0 });
  t.match(await quick('kill', 'one', 'KILL'), { status: 0 });
  await stopped('one');
  await same('stopped');
  t.match(await quick('delete', 'one'), { status: 0, out: '' });
  t.notOk(existsSync(groupOf('one')), 'its control groups are gone');
  t.strictSame(readdirSync(STATES), []);
});

t.test('what is not ordinary is done, and said, by Node', async (t) => {
  for (const [words, out] of [
    [['state', 'none'], /container "none" does not exist/],
    [['state', '..'], /is no container id/],
    [['kill', 'none'], /does not exist/],
    [['delete', 'none'], /does not exist/],
    [['start'], /the id of a container is wanted/],
  ] as const)
    t.match(await oci(...words), { status: 1, out });
  await oci('create', '--bundle', bundle('two', ['odd']), 'two');
  t.match(await oci('kill', 'two', 'NOSUCH'), { status: 1, out: /unknown signal "SIGNOSUCH"/ });
  t.match(await oci('start', 'two'), { status: 1, out: 'exec: "odd": ENOEXEC\n' }, 'what the gate tells');
  await stopped('two');
  t.match(await oci('start', 'two'), { status: 1, out: /not created: it is stopped/ });
  t.match(await oci('kill', 'two'), { status: 1, out: /container not running/ });
  t.match(await quick('delete', '--force', 'two'), { status: 0 });
});

t.test('hooks run, whoever is asked', async (t) => {
  const note = join(host.root, 'hooks');
  const hook = (word: string) => [{ path: '/bin/sh', args: ['sh', '-c', `echo ${word} >>${note}`] }];
  const hooks = { poststart: hook('started'), poststop: hook('gone') };
  await oci('create', '--bundle', bundle('three', ['sleep', '1000'], { hooks }), 'three');
  t.match(await oci('start', 'three'), { status: 0, out: '' });
  t.match(await quick('kill', 'three', '9'), { status: 0 });
  await stopped('three');
  t.match(await oci('delete', 'three'), { status: 0, out: '' });
  t.equal(readFileSync(note, 'utf8'), 'started\ngone\n');
});

t.test('processes that outlive the first one go when it is removed', async (t) => {
  const folder = bundle('four', ['sh', '-c', 'sleep 1000 & true'], {}, []);
  await oci('create', '--bundle', folder, 'four');
  t.match(await quick('start', 'four'), { status: 0 });
  await stopped('four');
  t.not(readFileSync(join(groupOf('four'), 'cgroup.procs'), 'utf8'), '', 'one is left');
  t.match(await oci('delete', 'four'), { status: 0, out: '' });
  t.notOk(existsSync(groupOf('four')));
  t.strictSame(readdirSync(STATES), []);
});
