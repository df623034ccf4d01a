import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CniError, ErrorCode } from '../../cni/errors.ts';

t.test('docs/errors.md has every code with its name, and no other', async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
  const rows = [...text.matchAll(/^\| (\d+) \| (\w+) \| (.+) \|$/gm)];
  t.strictSame(Object.fromEntries(rows.map(([, code, name]) => [name, Number(code)])), { ...ErrorCode });
  for (const [, code, , words] of rows) t.ok((words ?? '').length > 10, `${code} is explained`);
});

t.test('a CniError keeps its cause', async (t) => {
  const cause = new Error('below');
  const error = new CniError(ErrorCode.io, 'above', 'details', { cause });
  t.match(error, { name: 'CniError', code: 5, message: 'above', details: 'details', cause });
});
