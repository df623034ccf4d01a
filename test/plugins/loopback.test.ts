import t from 'tap';
import { exec, ip } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

/** `ip netns add` leaves lo down, as a fresh sandbox has it; the simulated containers set it up. */
const down = (netns: string) => exec('ip', ['-n', netns.split('/').pop() ?? '', 'link', 'set', 'lo', 'down']);
const isUp = async (netns: string) => (await ip(netns, 'link', 'show', 'lo'))[0].flags.includes('UP');

for (const cniVersion of ['0.1.0', '0.2.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
  t.test(`lo is up, in the shape of ${cniVersion}`, async (t) => {
    const world = await makeWorld(t);
    const container = await world.container();
    await down(container.netns);
    const result = await world.add({ cniVersion, name: 'cni-loopback', type: 'loopback' }, container);
    t.ok(await isUp(container.netns));
    t.equal(result.cniVersion, cniVersion);
    if (cniVersion < '0.3.0') {
      t.equal(result.ip4.ip, '127.0.0.1/8');
      t.equal(result.ip6.ip, '::1/128');
    } else {
      t.match(result.interfaces, [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: container.netns }]);
      t.match(result.ips, [
        { address: '127.0.0.1/8', interface: 0 },
        { address: '::1/128', interface: 0 },
      ]);
    }
  });
}

const LO = { cniVersion: '1.1.0', name: 'cni-loopback', type: 'loopback' };

t.test('in a chain it passes on what was there', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const first = await world.add(BRIDGE, container);
  const second = await world.add(LO, container, { prevResult: first });
  t.same(second, first);
});

t.test('beside the chain, at the same time', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  await down(container.netns);
  await Promise.all([world.add(BRIDGE, container), world.add(LO, container, { ifname: 'lo' })]);
  t.ok(await isUp(container.netns));
});

t.test('CHECK names lo when it is down; DEL needs nothing', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await world.add(LO, container);
  await world.ok('CHECK', LO, { container, prevResult });
  await down(container.netns);
  t.match((await world.call('CHECK', LO, { container, prevResult })).json, {
    code: 101,
    msg: 'link lo in the container: wanted up, found down',
  });
  await world.ok('DEL', LO, { container: { id: 'c', netns: '/run/netns/gone' } });
  await world.ok('DEL', LO, { container: { id: 'c', netns: '' } });
  await world.ok('STATUS', LO);
  await world.ok('GC', { ...LO, 'cni.dev/valid-attachments': [] });
});
