/** DEL and GC: complete with the namespace gone, the previous result gone, or both. */
import t from 'tap';
import { hostLinkName } from '../../plan/names.ts';
import { type Container, exec, execIn, leases, links } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

const PTP = { ...BRIDGE, name: 'ptpnet', type: 'ptp' };

for (const config of [BRIDGE, PTP]) {
  const shared = config.type === 'bridge' ? ['br0'] : [];
  for (const netns of ['alive', 'gone', 'empty'] as const) {
    for (const prev of ['known', 'lost'] as const) {
      t.test(`${config.type}: DEL with namespace ${netns}, previous result ${prev}`, async (t) => {
        const world = await makeWorld(t);
        const container = await world.container();
        const result = await world.add(config, container);
        // The namespace is held open by a process of the container that outlives its name.
        const moved = { ...container, netns: netns === 'gone' ? `${container.netns}-gone` : '' };
        const now: Container = netns === 'alive' ? container : moved;
        const prevResult = prev === 'known' ? { prevResult: result } : {};
        for (const time of ['first', 'second', 'third']) {
          await world.ok('DEL', config, { container: now, ...prevResult });
          t.same(await world.hostLinks(), shared, `${time} time`);
          t.same(await leases(world.host), []);
        }
        t.same(await links(container.netns), ['lo']);
      });
    }
  }
}

t.test('DEL of what was never there succeeds', async (t) => {
  const world = await makeWorld(t);
  await world.ok('DEL', BRIDGE, { container: { id: 'never', netns: '' } });
  await world.ok('DEL', BRIDGE, { container: await world.container() });
  t.same(await world.hostLinks(), []);
});

t.test('DEL works with a configuration and arguments that ADD would refuse', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  await world.add(BRIDGE, container);
  const broken = {
    ...BRIDGE,
    mtu: 'big',
    vlanTrunk: [{ minID: 9, maxID: 5 }],
    hairpinMode: true,
    promiscMode: true,
  };
  await world.ok('DEL', broken, { container, args: 'MAC=zz' });
  t.same(await world.hostLinks(), ['br0']);
  t.same(await leases(world.host), []);
});

t.test('DEL leaves a link of the container that is not ours', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  await execIn(container.netns, 'ip', ['link', 'add', 'eth0', 'type', 'bridge']);
  await world.ok('DEL', BRIDGE, { container });
  t.same(await links(container.netns), ['eth0', 'lo']);
});

t.test('an ADD after a crash, and after a container that died without DEL, succeeds', async (t) => {
  const world = await makeWorld(t);
  const [first, second] = [await world.container(), await world.container()];
  await world.add(BRIDGE, first);
  // The same container, restarted in a new namespace; its old one is still there.
  const again = { id: first.id, netns: second.netns };
  await world.add(BRIDGE, again);
  t.same(await links(first.netns), ['lo']);
  t.same(await world.hostLinks(), ['br0', hostLinkName('mynet', { containerId: first.id, ifname: 'eth0' })]);
});

t.test('GC removes what belongs to this network and to no valid attachment', async (t) => {
  const world = await makeWorld(t);
  const [a, b, c] = [await world.container(), await world.container(), await world.container()];
  const other = { ...BRIDGE, name: 'other', ipam: { type: 'host-local', subnet: '10.1.0.0/25' } };
  await world.add(BRIDGE, a);
  await world.add(BRIDGE, b);
  const theirs = { ...other, bridge: 'br1' };
  await world.add(theirs, c);
  const name = (network: string, containerId: string) =>
    hostLinkName(network, { containerId, ifname: 'eth0' });

  await world.ok('GC', BRIDGE);
  t.equal((await world.hostLinks()).length, 5, 'without a list of attachments nothing happens');

  const valid = { 'cni.dev/valid-attachments': [{ containerID: a.id, ifname: 'eth0' }] };
  const { log } = await world.ok('GC', { ...BRIDGE, ...valid });
  t.match(log.join(), new RegExp(`removed link ${name('mynet', b.id)} \\(weft mynet ${b.id} eth0\\)`));
  t.same(
    (await world.hostLinks()).filter((link) => link.startsWith('veth')),
    [name('mynet', a.id), name('other', c.id)].sort(),
  );
  t.same(await leases(world.host), ['mynet/10.1.0.2', 'mynet/fd00:1::2', 'other/10.1.0.2']);

  await world.ok('GC', { ...BRIDGE, 'cni.dev/valid-attachments': [] });
  t.same(await leases(world.host), ['other/10.1.0.2']);
  t.same(
    (await world.hostLinks()).filter((link) => link.startsWith('veth')),
    [name('other', c.id)],
  );
});

t.test('GC spares a link that looks like ours but names another owner', async (t) => {
  const world = await makeWorld(t);
  const stranger = hostLinkName('mynet', { containerId: 'x', ifname: 'eth0' });
  await world.host.exec('ip', ['link', 'add', stranger, 'type', 'veth', 'peer', 'name', 'p0']);
  await exec('ip', ['-n', world.host.name, 'link', 'set', stranger, 'alias', 'uplink of somebody']);
  await world.ok('GC', { ...BRIDGE, 'cni.dev/valid-attachments': [] });
  t.same(await world.hostLinks(), ['p0', stranger]);
  await exec('ip', ['-n', world.host.name, 'link', 'set', stranger, 'alias', '']);
  await world.ok('GC', { ...BRIDGE, 'cni.dev/valid-attachments': [] });
  t.same(await world.hostLinks(), [], 'without an alias it is what a crash between two messages left');
});

t.test("a DEL of another network leaves an attachment's link alone", async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const mine = await world.add(BRIDGE, container);
  const other = { ...BRIDGE, name: 'other', bridge: 'br1' };
  const refused = await world.call('ADD', other, { container });
  t.match(refused.json, { code: 104, msg: /eth0/ });
  await world.ok('DEL', other, { container });
  await world.ok('CHECK', BRIDGE, { container, prevResult: mine });
});
