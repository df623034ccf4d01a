/** Every file of examples/: it has no field that does nothing, and a container that is attached by it has what the file says. */
import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { writeMembership } from '../ipam/cluster/membership.ts';
import type { NetworkList } from '../runtime/conflist.ts';
import { exec, type Host, ip, leases, links, makeHost, makeOutside, OUTSIDE, ping } from './support/host.ts';
import { fillBin, pluginsUnderTest } from './support/plugins.ts';

const WEFT = join(pluginsUnderTest(), 'weft');
const FOLDER = join(import.meta.dirname, '../examples');
const EXAMPLES = readdirSync(FOLDER);
/** Of a link that leads nowhere that is made here. */
const ALONE = ['macvlan.conflist', 'tap.conflist'];

const listOf = (file: string) => JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as NetworkList;

/** What the agent would have written: this host holds a part of the pool. */
function joined(host: Host, { name, plugins: [plugin] }: NetworkList): void {
  const stretched = plugin?.mode === 'l2';
  const pools = stretched ? ['10.244.0.0/16'] : ['10.244.0.0/16', 'fd00:244::/48'];
  const subnets = stretched ? ['10.244.3.0/24'] : ['10.244.3.0/24', 'fd00:244:0:3::/64'];
  writeMembership(host.dirs.cache, { network: name, host: 'one', subnets, borrowed: [], pools, mtu: 1450 });
}

t.test('plans say nothing of unknown fields', async (t) => {
  for (const file of EXAMPLES) {
    const { stdout, stderr } = await exec(WEFT, ['plan', join(FOLDER, file)]);
    t.equal(stderr, '', file);
    t.match(stdout, new RegExp(`ADD eth0 of container example to network ${listOf(file).name}\n`));
  }
});

t.test('containers are attached by them, and detached', async (t) => {
  const host = await makeHost(t);
  await makeOutside(t, host);
  await fillBin(host);
  // macvlan.conflist wants a link of this name.
  for (const words of ['add eth0 type veth peer name eth0-far', 'set eth0 up', 'set eth0-far up']) {
    await exec('ip', ['-n', host.name, 'link', ...words.split(' ')]);
  }
  const before = await links(host.netns);
  for (const file of EXAMPLES) {
    await t.test(file, async (t) => {
      const list = listOf(file);
      copyFileSync(join(FOLDER, file), join(host.dirs.conf, `10-${list.name}.conflist`));
      joined(host, list);
      const container = await host.container();
      const weft = (...args: string[]) => host.exec(WEFT, ['net', ...args]);
      const added = await weft('add', list.name, container.netns, '--json');
      t.equal(added.stderr, '');
      const addresses = (JSON.parse(added.stdout) as { ips: { address: string }[] }).ips.map(
        ({ address }) => address,
      );
      const [eth0] = await ip(container.netns, 'addr', 'show', 'eth0');
      const inside = eth0.addr_info.map(
        ({ local, prefixlen }: { local: string; prefixlen: number }) => `${local}/${prefixlen}`,
      );
      for (const address of addresses) t.ok(inside.includes(address), `${address} is in the container`);
      t.ok(addresses.length > 0);
      if (!ALONE.includes(file)) t.ok(await ping(container.netns, OUTSIDE.v4), 'it reaches the outside');
      await weft('check', list.name, container.netns);
      await weft('del', list.name, container.netns);
      t.same(await links(container.netns), ['lo']);
      t.same(await leases(host), []);
    });
  }
  const left = (await ip(host.netns, '-d', 'link')).filter(({ ifname }) => !before.includes(ifname));
  t.same(
    left.filter(({ linkinfo }) => linkinfo?.info_kind !== 'bridge').map(({ ifname }) => ifname),
    [],
    'nothing but bridges stays',
  );
});
