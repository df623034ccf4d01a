/** Suites of `make test` on Debian's kernel: another version, and what this one has built in are modules there. */
import t from 'tap';
import { runInside } from './inside.ts';
import { machine } from './machine.ts';

const PLUGINS = ['bridge', 'vxlan', 'routed', 'portmap', 'masquerade', 'firewall', 'bandwidth', 'macvlan'];
const NETLINK = [
  'link',
  'address',
  'neighbour',
  'route',
  'qdisc',
  'nftables',
  'ipset',
  'conntrack',
  'monitor',
  'offload',
];

t.test('suites', async (t) => {
  const guest = await machine(t, { memory: 3072, limit: 7200 });
  for (const suite of PLUGINS) await runInside(t, guest, `test/plugins/${suite}.test.ts`);
  await runInside(t, guest, 'test/cluster/host-stretched.test.ts');
  for (const suite of NETLINK) await runInside(t, guest, `test/netlink/${suite}.test.ts`);
});
