/** The networks that conflists name, as conflists come and go; without a kernel. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Networks } from '../../agent/cluster/networks.ts';
import type { Teardown } from '../support/host.ts';
import { MemoryRegistries } from '../support/memory-registry.ts';
import { until } from '../support/until.ts';
import { FakeHost } from './cluster-world.ts';

const CONFLIST = JSON.stringify({
  cniVersion: '1.1.0',
  name: 'podnet',
  plugins: [{ type: 'vxlan', vni: 7, pool: '10.244.0.0/16' }],
});

/** An agent's networks, with one conflist. */
function withConflist(t: Teardown, host: FakeHost, registries: MemoryRegistries) {
  const conflist = join(host.paths.confDir, 'podnet.conflist');
  writeFileSync(conflist, CONFLIST);
  const networks = new Networks({
    ...host.options(registries),
    recordFolder: join(host.paths.cacheDir, 'weft', 'attachments'),
    fault: (file, error) => host.problems.push(`${file}: ${error}`),
  });
  t.teardown(() => networks.close());
  return { networks, conflist };
}

t.test('a network that never joined is forgotten with its conflist', async (t) => {
  const registries = new MemoryRegistries();
  const a = new FakeHost(t, 'a', '192.0.2.1');
  a.routes = ['route 10.244.9.0/24 dev eth1'];
  const { networks, conflist } = withConflist(t, a, registries);
  await a.problem(/overlaps/);
  rmSync(conflist);
  await until('it is forgotten', async () => (await networks.summaries()).length === 0);
  t.equal(a.membership(), undefined);
  t.match(a.said.at(-1), /never joined, and is forgotten/);
  a.routes = [];
  writeFileSync(conflist, CONFLIST);
  await until('it joins when the conflist comes again', () => a.membership()?.subnets.length === 1);
});

t.test('a member stays one without its conflist', async (t) => {
  const a = new FakeHost(t, 'a', '192.0.2.1');
  const { networks, conflist } = withConflist(t, a, new MemoryRegistries());
  await until('it has joined', () => a.membership()?.subnets.length === 1);
  rmSync(conflist);
  await until('the conflist is missed', () => a.said.some((line) => /the network stays/.test(line)));
  t.match(await networks.summaries(), [{ name: 'podnet', joined: true }]);
});
