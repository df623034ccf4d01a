/** Containers reach an outside that knows no way back to them, on both backends, and leave nothing behind. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Door } from '../../netlink/door.ts';
import { openDoor } from '../../netlink/namespace.ts';
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

for (const ipMasqBackend of ['nftables', 'iptables']) {
  for (const prev of ['known', 'lost']) {
    t.test(`ipMasq by ${ipMasqBackend} switched off before DEL, previous result ${prev}`, async (t) => {
      const world = await makeWorld(t);
      const [a, b] = [await world.container(), await world.container()];
      const config = { ...BRIDGE, ipMasq: true, ipMasqBackend };
      const result = await world.add(config, a);
      await world.add(config, b);
      await world.ok('DEL', BRIDGE, { container: a, ...(prev === 'known' && { prevResult: result }) });
      t.same(await firewallLines(world.host.netns, a.id), []);
      t.ok((await firewallLines(world.host.netns, b.id)).length > 0, 'the other keeps its own');
    });
  }

  t.test(`ipMasq by ${ipMasqBackend} switched off, or to the other backend, before GC`, async (t) => {
    const world = await makeWorld(t);
    const [a, b] = [await world.container(), await world.container()];
    const config = { ...BRIDGE, ipMasq: true, ipMasqBackend };
    await world.add(config, a);
    await world.add(config, b);
    const other = ipMasqBackend === 'iptables' ? 'nftables' : 'iptables';
    const valid = [{ containerID: b.id, ifname: 'eth0' }];
    await world.ok('GC', { ...config, ipMasqBackend: other, 'cni.dev/valid-attachments': valid });
    t.same(await firewallLines(world.host.netns, a.id), []);
    t.ok((await firewallLines(world.host.netns, b.id)).length > 0);
    await world.ok('GC', { ...BRIDGE, 'cni.dev/valid-attachments': [] });
    t.same(await firewallLines(world.host.netns, b.id), []);
  });
}

t.test('without masquerade DEL asks for what may be left in one call, and runs no program', async (t) => {
  const world = await makeWorld(t);
  await makeOutside(t, world.host);
  await world.add({ ...BRIDGE, name: 'masqnet', bridge: 'br1', ipMasq: true }, await world.container());
  const container = await world.container();
  await world.add({ ...BRIDGE, name: 'plain', ipam: undefined, isGateway: false }, container);
  const calls: string[][] = [];
  const real = openDoor();
  const door: Door = {
    async open(path) {
      const namespace = await real.open(path);
      const { send } = namespace;
      namespace.send = (...ops) => {
        calls.push(ops.map(({ what }) => what));
        return send.call(namespace, ...ops) as never;
      };
      return namespace;
    },
  };
  const dir = join(world.host.root, 'programs');
  await mkdir(dir);
  for (const name of ['nft', 'iptables-save', 'iptables-restore', 'nsenter']) {
    await writeFile(join(dir, name), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  }
  const plain = { ...BRIDGE, name: 'plain', ipam: undefined, isGateway: false };
  await world.ok('DEL', plain, { container, door, env: { PATH: `${dir}:/usr/bin:/bin` } });
  // The MAC filter is on no host of this test, so the second call is all there is.
  t.equal(calls.length, 2, JSON.stringify(calls));
  t.match(calls[0], [/^delete link veth/]);
});
