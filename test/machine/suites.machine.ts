/** Suites of `make test` on Debian's kernel: another version, and what this one has built in are modules there. */
import t from 'tap';
import { runInside } from './inside.ts';
import { machine } from './machine.ts';

const SUITES = ['bridge', 'vxlan', 'routed', 'portmap', 'masquerade', 'firewall', 'bandwidth', 'macvlan'];

t.test('plugins', async (t) => {
  const guest = await machine(t, { memory: 3072, limit: 7200 });
  for (const suite of SUITES) await runInside(t, guest, `test/plugins/${suite}.test.ts`);
});
