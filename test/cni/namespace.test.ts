import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { lookAtNamespace } from '../../cni/namespace.ts';

t.test("what stands at a namespace's path", async (t) => {
  const name = `weft-t-${randomBytes(4).toString('hex')}`;
  execFileSync('ip', ['netns', 'add', name]);
  t.teardown(() => execFileSync('ip', ['netns', 'delete', name]));
  const dir = t.testdir({});
  writeFileSync(join(dir, 'file'), '');
  symlinkSync('/proc/self/ns/net', join(dir, 'link'));
  t.strictSame(lookAtNamespace(`/run/netns/${name}`), { state: 'other' });
  t.strictSame(lookAtNamespace('/proc/self/ns/net'), { state: 'own' });
  t.strictSame(lookAtNamespace(`/proc/${process.pid}/ns/net`), { state: 'own' });
  t.strictSame(lookAtNamespace(join(dir, 'link')), { state: 'own' });
  t.strictSame(lookAtNamespace(join(dir, 'file')), { state: 'foreign' });
  t.strictSame(lookAtNamespace(dir), { state: 'foreign' });
  t.match(lookAtNamespace(join(dir, 'missing')), { state: 'gone', details: /ENOENT/ });
  t.match(lookAtNamespace(join(dir, 'file/below')), { state: 'gone', details: /ENOTDIR/ });
  t.match(lookAtNamespace('a\0b'), { state: 'gone' });
});
