import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { WEFT_VERSION } from '../../cli/version.ts';
import { makeGround } from '../runtime/fake-plugins.ts';
import { weft } from './weft.ts';

t.test('the version is that of the package', async (t) => {
  const file = join(import.meta.dirname, '../../package.json');
  t.equal(WEFT_VERSION, JSON.parse(readFileSync(file, 'utf8')).version);
});

t.test('version', async (t) => {
  const { ambient } = makeGround(t);
  const { status, out } = await weft(ambient, 'version');
  t.equal(status, 0);
  t.match(out, new RegExp(`^weft {5}${WEFT_VERSION}\\nCNI {6}0\\.1\\.0 .* 1\\.1\\.0\\nNode {5}\\d+`));
  const json = JSON.parse((await weft(ambient, 'version', '--json')).out);
  t.match(json, { weft: WEFT_VERSION, node: process.versions.node });
  t.ok(json.plugins.includes('bridge'));
});

t.test('--version, anywhere at the front', async (t) => {
  const { ambient } = makeGround(t);
  for (const flag of ['--version', '-v']) {
    t.same(await weft(ambient, flag), { status: 0, out: `${WEFT_VERSION}\n`, err: '' });
  }
});
