/** Containers reach an outside that knows no way back to them, on both backends, and leave nothing behind. */
import t from 'tap';
import { execIn, firewallLines, leases, makeOutside, OUTSIDE, ping } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

for (const type of ['bridge', 'ptp']) {
  for (const ipMasqBackend of ['nftables', 'iptables']) {
    t.test(`${type} by ${ipMasqBackend}`, async (t) => {
      const world = await makeWorld(t);
      await makeOutside(t, world.host);
      const config = { ...BRIDGE, name: 'masqnet', type, ipMasq: true, ipMasqBackend };
      const [a, b] = [await world.container(), await world.container()];
      const one = await world.add(config, a);
      const two = await world.add(config, b);
      t.ok(await ping(a.netns, OUTSIDE.v4));
      t.ok(await ping(b.netns, OUTSIDE.v6));
      await world.ok('STATUS', config);
      await world.ok('CHECK', config, { container: a, prevResult: one });

      const rules = () => firewallLines(world.host.netns, a.id);
      t.ok((await rules()).length >= 2, 'each address names its owner');
      await flush(world.host.netns, ipMasqBackend);
      const check = await world.call('CHECK', config, { container: a, prevResult: one });
      t.match(check.json, { code: 101, msg: /masquerade: / });

      await world.ok('DEL', config, { container: b, prevResult: two });
      const again = await world.add(config, b);
      t.ok(await ping(b.netns, OUTSIDE.v4), 'the next ADD puts flushed rules back');
      await world.ok('CHECK', config, { container: b, prevResult: again });

      await world.ok('DEL', config, { container: { id: a.id, netns: '' } });
      await world.ok('DEL', config, { container: b, prevResult: again });
      t.same(await firewallLines(world.host.netns, a.id, b.id), []);
      t.same(await leases(world.host), []);
    });
  }
}

async function flush(netns: string, backend: string): Promise<void> {
  if (backend === 'nftables') {
    await execIn(netns, 'nft', ['flush', 'ruleset']);
    return;
  }
  for (const program of ['iptables', 'ip6tables']) await execIn(netns, program, ['-t', 'nat', '-F']);
}

t.test('GC ends the masquerade of what is not valid', async (t) => {
  const world = await makeWorld(t);
  const config = { ...BRIDGE, ipMasq: true };
  const [a, b] = [await world.container(), await world.container()];
  await world.add(config, a);
  await world.add(config, b);
  const valid = [{ containerID: b.id, ifname: 'eth0' }];
  await world.ok('GC', { ...config, 'cni.dev/valid-attachments': valid });
  t.same(await firewallLines(world.host.netns, a.id), []);
  t.ok((await firewallLines(world.host.netns, b.id)).length > 0);
});
