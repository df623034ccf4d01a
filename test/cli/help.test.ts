/** Help texts are under snapshot: `WEFT_UPDATE_HELP=1 npx tap run test/cli/help.test.ts` writes them anew. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { root } from '../../cli/app.ts';
import { commandsOf } from '../../cli/manual.ts';
import { makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

const GOLDEN = join(import.meta.dirname, 'help.txt');
t.test('every help text is as it was agreed', async (t) => {
  const { ambient } = makeGround(t);
  const parts: string[] = [];
  for (const words of [[], ...commandsOf(root)]) {
    const { status, out, err } = await weft(ambient, ...words, '--help');
    t.same({ status, err }, { status: 0, err: '' }, words.join(' '));
    parts.push(`$ ${['weft', ...words, '--help'].join(' ')}\n${out}`);
  }
  const text = parts.join('\n');
  if (process.env.WEFT_UPDATE_HELP) writeFileSync(GOLDEN, text);
  t.equal(text, readFileSync(GOLDEN, 'utf8'));
});

t.test('no line of help is wider than a terminal', async (t) => {
  const wide = readFileSync(GOLDEN, 'utf8')
    .split('\n')
    .filter((line) => line.length > 120);
  t.same(wide, []);
});

t.test('a group alone prints its help', async (t) => {
  const { ambient } = makeGround(t);
  for (const words of [[], ['net'], ['demo']]) {
    const alone = await weft(ambient, ...words);
    t.same(alone, await weft(ambient, ...words, '--help'));
  }
});

t.test('help, as a word before a command', async (t) => {
  const { ambient } = makeGround(t);
  for (const words of [[], ['net'], ['net', 'add'], ['top']]) {
    const asked = await weft(ambient, 'help', ...words);
    t.equal(asked.status, 0);
    t.same(asked, await weft(ambient, ...words, '--help'));
  }
});

t.test('the manual page has all of it, and nothing that roff would take for its own', async (t) => {
  const { ambient } = makeGround(t);
  const { status, out } = await weft(ambient, '__manual');
  t.equal(status, 0);
  for (const words of commandsOf(root))
    t.ok(out.includes(`\n.SH weft ${words.join(' ')}\n`), words.join(' '));
  const requests = new Set(out.split('\n').flatMap((line) => /^[.'](\S*)/.exec(line)?.[1] ?? []));
  t.same([...requests].sort(), ['SH', 'SS', 'TH', 'fi', 'nf']);
});
