/** Changes to small files by the native core: what is there afterwards, and what stands in the way. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import { claim, dateFolder, lookAtFolder, overwrite, replace, retire } from '../../netlink/files.ts';

const root = mkdtempSync(path.join(tmpdir(), 'weft-files-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

function folder() {
  const dir = path.join(root, String(folders++));
  mkdirSync(dir);
  const at = (name: string) => path.join(dir, name);
  return {
    ...{ dir, at },
    spare: at('.spare'),
    read: (name: string) => readFileSync(at(name), 'utf8'),
    write: (name: string, text: string) => writeFileSync(at(name), text),
    inode: (name: string) => statSync(at(name)).ino,
    list: () => readdirSync(dir).sort(),
  };
}

t.test('overwrite', (t) => {
  const { at, read } = folder();
  for (const text of ['first', 'a longer one', 'short', 'ümläut', '']) {
    overwrite(at('file'), text, 0o640);
    t.equal(read('file'), text);
  }
  t.equal(statSync(at('file')).mode & 0o777, 0o640);
  t.throws(() => overwrite(at('none/file'), 'x', 0o600), { code: 'ENOENT' });
  t.throws(() => overwrite(root, 'x', 0o600), { code: 'EISDIR' });
  symlinkSync('file', at('link'));
  t.throws(() => overwrite(at('link'), 'x', 0o600), { code: 'ELOOP' }, 'no link is followed');
  execFileSync('mkfifo', [at('pipe')]);
  t.throws(
    () => overwrite(at('pipe'), 'x', 0o600),
    { code: 'ENXIO' },
    'nobody waits for the other end of a pipe',
  );
  t.throws(() => overwrite(at('a\0b'), 'x', 0o600), TypeError);
  t.end();
});

t.test('claim: the first free name, and none that is taken', (t) => {
  const { dir, at, spare, read, write, list } = folder();
  write('a', 'theirs');
  mkdirSync(at('b'));
  symlinkSync('nowhere', at('c'));
  t.equal(claim(spare, dir, ['a', 'b', 'c', 'd', 'e'], 'mine'), 3);
  t.equal(read('d'), 'mine');
  t.equal(statSync(at('d')).mode & 0o777, 0o644 & ~process.umask());
  t.equal(claim(spare, dir, ['a', 'd'], 'again'), -1);
  t.equal(claim(spare, dir, [], 'again'), -1);
  t.same(list(), ['a', 'b', 'c', 'd'], 'no spare either');
  t.equal(read('a'), 'theirs');
  t.throws(() => claim(spare, dir, ['n'.repeat(300)], 'x'), { code: 'ENAMETOOLONG' });
  t.throws(() => claim(at('none/spare'), at('none'), ['x'], 'x'), { code: 'ENOENT' });
  t.same(list(), ['a', 'b', 'c', 'd']);
  t.end();
});

t.test('retire: the file is the next one, and says nothing meanwhile', (t) => {
  const { dir, at, spare, read, inode, list } = folder();
  t.equal(claim(spare, dir, ['a'], 'a long text of a'), 0);
  t.equal(claim(spare, dir, ['b'], 'text of b'), 0);
  const first = inode('a');
  retire(at('a'), spare);
  t.same(list(), ['.spare', 'b']);
  t.equal(read('.spare'), '\0 long text of a', 'no text of a');
  retire(at('b'), spare);
  t.same(list(), ['.spare'], 'one spare is enough');
  retire(at('b'), spare);
  t.equal(claim(spare, dir, ['c'], 'c'), 0);
  t.same([read('c'), inode('c'), list()], ['c', first, ['c']]);
  t.end();
});

t.test('what must not be written to is not taken for a spare', (t) => {
  const { dir, at, spare, read, write } = folder();
  write('held', 'held');
  linkSync(at('held'), spare);
  t.equal(claim(spare, dir, ['a'], 'mine'), 0, 'another name of a file');
  symlinkSync('held', spare);
  t.equal(claim(spare, dir, ['b'], 'mine'), 0, 'a link');
  execFileSync('mkfifo', [spare]);
  t.equal(claim(spare, dir, ['c'], 'mine'), 0, 'a pipe');
  t.same([read('held'), read('a'), read('b'), read('c')], ['held', 'mine', 'mine', 'mine']);
  mkdirSync(spare);
  t.throws(() => claim(spare, dir, ['d'], 'mine'), { code: 'EISDIR' });
  retire(at('a'), spare);
  t.notOk(existsSync(at('a')), 'what cannot be a spare goes');
  t.end();
});

t.test('no room', (t) => {
  const { dir, at, spare, read, write } = folder();
  const run = (...words: string[]) => execFileSync(words[0] ?? '', words.slice(1));
  run('mount', '-t', 'tmpfs', '-o', 'nr_inodes=3', 'tmpfs', dir);
  t.teardown(() => run('umount', dir));
  write('a', 'a');
  write('b', 'b');
  const full = { code: 'ENOSPC' };
  t.throws(() => claim(spare, dir, ['c'], 'c'), full);
  t.throws(() => overwrite(at('c'), 'c', 0o600), full);
  t.throws(() => replace(at('c'), at('.c'), at('.next'), 'c'), full);
  retire(at('a'), spare);
  t.equal(claim(spare, dir, ['b', 'c'], 'c'), 1);
  t.same([read('b'), read('c')], ['b', 'c']);
  t.end();
});

t.test('replace', (t) => {
  const { at, spare, read, write, inode, list } = folder();
  replace(at('a'), at('.a'), spare, 'one');
  t.equal(statSync(at('a')).mode & 0o777, 0o600);
  const first = inode('a');
  replace(at('a'), at('.a'), spare, 'two');
  t.not(inode('a'), first, 'another file in its place: who has the old one open reads that to its end');
  t.same([read('a'), list()], ['two', ['a']]);
  const second = inode('a');
  retire(at('a'), spare);
  write('.b', 'left behind by a crash');
  replace(at('b'), at('.b'), spare, '3');
  t.same([read('b'), inode('b'), list()], ['3', second, ['b']]);
  write('.c', 'left behind by a crash');
  replace(at('c'), at('.c'), spare, '4');
  t.same([read('c'), list()], ['4', ['b', 'c']]);
  t.throws(() => replace(at('none/a'), at('none/.a'), at('none/.spare'), 'x'), { code: 'ENOENT' });
  t.end();
});

t.test('what a folder looks like', (t) => {
  const { dir, at, write } = folder();
  const now = 1_700_000_000_123;
  const dated = dateFolder(dir, now, now - 2000);
  t.same(lookAtFolder(dir), dated);
  t.equal(statSync(dir).mtimeMs, now - 2000);
  t.equal(statSync(dir).atimeMs, now);
  const { dev, ino } = statSync(dir);
  t.equal(dated.identity, `${dev.toString(16)}-${ino.toString(16)}`);
  write('file', '');
  t.not(lookAtFolder(dir)?.stamp, dated.stamp, 'a file came');
  t.equal(lookAtFolder(dir)?.identity, dated.identity);
  t.equal(lookAtFolder(at('none')), undefined);
  t.throws(() => lookAtFolder(at('file/none')), { code: 'ENOTDIR' });
  t.throws(() => dateFolder(at('none'), now, now), { code: 'ENOENT' });
  t.end();
});
