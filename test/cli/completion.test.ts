import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

t.test('words are proposed from the command tree', async (t) => {
  const g = makeGround(t);
  g.write('a.conflist', { name: 'podnet', plugins: [{ type: 'bridge' }] });
  g.write('b.conflist', { name: 'pubnet', plugins: [{ type: 'bridge' }] });
  const propose = async (...words: string[]) =>
    (await weft(g.ambient, '__complete', ...words)).out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t')[0]);
  t.same(await propose(''), [
    ...['net', 'network', 'nat', 'run', 'exec', 'ps', 'logs', 'stop', 'kill', 'rm', 'stats', 'inspect', 'gc'],
    ...[
      'sandbox',
      'oci',
      'plan',
      'status',
      'trace',
      'doctor',
      'top',
      'agent',
      'demo',
      'version',
      'completion',
    ],
  ]);
  t.same(await propose('ne'), ['net', 'network']);
  t.same(await propose('net', 'c'), ['check']);
  t.same(await propose('net', 'add', 'po'), ['podnet']);
  t.same(await propose('net', 'status', 'p'), ['podnet', 'pubnet']);
  t.ok((await propose('net', 'add', '--i')).includes('--ifname'));
  t.same(await propose('demo', 'bridge', '--backend', 'n'), ['nftables']);
  t.ok((await propose('top', '--')).includes('--interval'));
  t.same(await propose('trace', 'ou'), ['outside']);
  t.same(await propose('completion', 'z'), ['zsh']);
  t.same(await propose('nonsense', ''), []);
  t.same(await propose('net', 'add', './'), [], 'the shell proposes files');
  t.same(await propose('net', 'attachments', 'po'), ['podnet']);
  t.same(await propose('run', '-d', '--net', 'p'), ['podnet', 'pubnet', 'pasta']);
  t.same(await propose('kill', '--signal', 'QU'), ['QUIT']);
  t.same(await propose('kill', '-s', 'SIGQU'), ['SIGQUIT']);
  t.same(await propose('exec', '-it', 'web', ''), [], 'the command inside is for the shell to propose');
});

t.test('namespaces are proposed by their names', async (t) => {
  const g = makeGround(t);
  const name = `weft-t-${randomBytes(4).toString('hex')}`;
  spawnSync('ip', ['netns', 'add', name]);
  t.teardown(() => void spawnSync('ip', ['netns', 'del', name]));
  const { out } = await weft(g.ambient, '__complete', 'net', 'add', 'podnet', 'weft-t-');
  t.ok(out.split('\n').some((line) => line.startsWith(`${name}\t`)));
});

t.test('the bash script completes', async (t) => {
  const g = makeGround(t);
  const { out } = await weft(g.ambient, 'completion', 'bash');
  const script = join(g.root, 'weft.bash');
  writeFileSync(script, out);
  const asked = join(g.root, 'asked');
  const run = `
    source "$0"
    weft() { printf '%s\\n' "$@" >"$1.asked"; mv "$1.asked" "$ASKED"; printf 'add\\tAttach\\nalso\\tMore\\n'; }
    COMP_WORDS=(weft net a) COMP_CWORD=2
    _weft
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', run, script], {
    encoding: 'utf8',
    // A socket as standard input would make bash read ~/.bashrc.
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: g.root,
    env: { PATH: process.env.PATH ?? '', ASKED: asked },
  });
  t.same({ stdout, stderr }, { stdout: 'add\nalso\n', stderr: '' });
  t.equal(readFileSync(asked, 'utf8'), '__complete\nnet\na\n');
});

t.test('every shell has a script', async (t) => {
  const g = makeGround(t);
  t.match((await weft(g.ambient, 'completion', 'zsh')).out, /^#compdef weft\n/);
  t.match((await weft(g.ambient, 'completion', 'fish')).out, /complete -c weft/);
});
