/** The kinds of links that a kernel may lack, on one that has them all. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { runInside } from './inside.ts';
import { machine } from './machine.ts';

const files = readdirSync(path.join(import.meta.dirname, 'links'))
  .filter((name) => name !== 'support.ts')
  .map((name) => `test/machine/links/${name}`);

t.test('links', async (t) => {
  const guest = await machine(t, { limit: 7200 });
  for (const file of ['test/plugins/probed-kinds.test.ts', ...files]) await runInside(t, guest, file);
});
