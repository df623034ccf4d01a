/** Attachments that the reference plugins made: ours check them and take them away, with everything that belongs to them. */
import { access } from 'node:fs/promises';
import t from 'tap';
import { type Container, execIn, firewallLines, ip, leases, links, nft } from '../support/host.ts';
import { REFERENCE } from '../support/plugins.ts';
import { BRIDGE, makeWorld, type World } from './world.ts';

const CONFIG = { ...BRIDGE, cniVersion: '1.0.0', name: 'mixed', ipMasq: true };

async function reference(world: World, command: string, config: object, container: Container) {
  const { dataDir } = { dataDir: world.host.dirs.data };
  const { ipam, type } = config as { ipam: object; type: string };
  const input = JSON.stringify({ ...config, ipam: { ...ipam, dataDir } });
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: container.id,
    CNI_NETNS: container.netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: REFERENCE,
  };
  const { stdout } = await world.host.exec(`${REFERENCE}/${type}`, [], { env, input });
  return stdout === '' ? undefined : JSON.parse(stdout);
}

await access(`${REFERENCE}/bridge`).catch(() => {
  throw new Error(`no reference plugins in ${REFERENCE}: install containernetworking-plugins`);
});

for (const type of ['bridge', 'ptp']) {
  const config = { ...CONFIG, type };
  for (const netns of ['alive', 'gone'] as const) {
    t.test(`${type}: ADD by the reference, CHECK and DEL by ours, namespace ${netns}`, async (t) => {
      const world = await makeWorld(t);
      const container = await world.container();
      const prevResult = await reference(world, 'ADD', config, container);
      await world.ok('CHECK', config, { container, prevResult });
      const now = netns === 'alive' ? container : { id: container.id, netns: '' };
      await world.ok('DEL', config, { container: now, prevResult });
      t.same(
        (await world.hostLinks()).filter((name) => name !== 'br0'),
        [],
      );
      t.same(await links(container.netns), ['lo']);
      t.same(await leases(world.host), []);
      t.same(await firewallLines(world.host.netns, container.id, '10.1.0.2'), []);
    });
  }

  t.test(`${type}: ADD by ours, DEL by the reference, then GC`, async (t) => {
    const world = await makeWorld(t);
    const container = await world.container();
    const prevResult = await world.add(config, container);
    // It fails when its own masquerade chain is not there, having done all the rest: so it is told of none.
    await reference(world, 'DEL', { ...config, ipMasq: false, prevResult }, container);
    t.same(await links(container.netns), ['lo']);
    t.same(
      (await world.hostLinks()).filter((name) => name !== 'br0'),
      [],
    );
    t.same(await leases(world.host), []);
    await world.ok('GC', { ...config, cniVersion: '1.1.0', 'cni.dev/valid-attachments': [] });
    t.same(await firewallLines(world.host.netns, container.id), []);
  });
}

t.test('a link that got the name of the reference’s since is not touched', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await reference(world, 'ADD', CONFIG, container);
  const name = prevResult.interfaces[1].name;
  await execIn(world.host.netns, 'ip', ['link', 'del', name]);
  await execIn(world.host.netns, 'ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', 'p0']);
  await world.ok('DEL', CONFIG, { container, prevResult });
  t.ok((await ip(world.host.netns, 'link')).some(({ ifname }) => ifname === name));
});

t.test('macspoofchk of the reference goes with DEL, its neighbours stay', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const config = { ...CONFIG, ipMasq: false, macspoofchk: true };
  const prevResult = await reference(world, 'ADD', config, a);
  await reference(world, 'ADD', config, b);
  const named = async ({ id }: Container) =>
    (await nft(world.host.netns)).split('\n').filter((line) => line.includes(`${id}-eth0`)).length;
  const theirs = await named(b);
  t.ok(theirs > 0);
  t.equal(await named(a), theirs);
  await world.ok('CHECK', config, { container: a, prevResult });
  for (const _ of [1, 2]) await world.ok('DEL', config, { container: { id: a.id, netns: '' }, prevResult });
  t.equal(await named(a), 0);
  t.equal(await named(b), theirs);
});

t.test('macspoofchk of ours goes when the reference deletes and GC comes', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const config = { ...CONFIG, ipMasq: false, macspoofchk: true };
  const prevResult = await world.add(config, container);
  await reference(world, 'DEL', { ...config, prevResult }, container);
  t.same((await firewallLines(world.host.netns, container.id)).length, 2, 'its DEL does not know them');
  await world.ok('GC', { ...config, cniVersion: '1.1.0', 'cni.dev/valid-attachments': [] });
  t.same(await firewallLines(world.host.netns, container.id), []);
});
