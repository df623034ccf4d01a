import t from 'tap';
import { type Container, execIn, ip, leases, links, ping } from '../support/host.ts';
import { until } from '../support/until.ts';
import { L2, makeWorld, type World } from './world.ts';

const DEVICE = {
  cniVersion: '1.1.0',
  name: 'lent',
  type: 'host-device',
  device: 'dev0',
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.8.0.0/24' }], [{ subnet: 'fd00:8::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
};
const MAC = '0a:00:00:00:08:01';

const run = (netns: string, ...args: string[]) => execIn(netns, 'ip', args);
const show = async (netns: string, name: string) => (await ip(netns, '-d', 'link', 'show', name))[0];

/** `dev0` on the host, and its other end `far0`, which has the gateways' addresses. */
async function addDevice({ host }: World): Promise<void> {
  const h = host.netns;
  await run(h, ...`link add dev0 address ${MAC} mtu 1400 type veth peer name far0`.split(' '));
  await run(h, 'link', 'set', 'far0', 'mtu', '1400', 'up');
  await run(h, 'addr', 'add', '10.8.0.1/24', 'dev', 'far0');
  await run(h, 'addr', 'add', 'fd00:8::1/64', 'dev', 'far0', 'nodad');
}

t.test('a link of the host is the container’s until DEL', async (t) => {
  const world = await makeWorld(t);
  await addDevice(world);
  const a = await world.container();
  await run(a.netns, 'link', 'add', 'dev0', 'type', 'bridge');
  const taken = ['10.8.0.2', 'fd00:8::2'];
  for (const address of taken) {
    const stale = ['lladdr', '02:00:00:00:0d:ad', 'nud', 'stale'];
    await run(world.host.netns, 'neigh', 'replace', address, 'dev', 'far0', ...stale);
  }
  const result = await world.add(DEVICE, a);
  await until('both neighbours know the new owner', async () => {
    const known = await ip(world.host.netns, 'neigh', 'show', 'dev', 'far0');
    return taken.every((address) => known.some(({ dst, lladdr }) => dst === address && lladdr === MAC));
  });
  await run(a.netns, 'link', 'del', 'dev0');
  t.match(await show(a.netns, 'eth0'), { address: MAC, mtu: 1400, ifalias: 'dev0', operstate: 'UP' });
  t.same(await world.hostLinks(), ['far0']);
  t.same(result.interfaces, [{ name: 'eth0', mac: MAC, mtu: 1400, sandbox: a.netns }]);
  for (const address of ['10.8.0.1', 'fd00:8::1']) t.ok(await ping(a.netns, address), address);
  t.match(await ip(a.netns, 'route', 'show', 'default'), [{ gateway: '10.8.0.1' }]);
  t.match(await ip(a.netns, '-6', 'route', 'show', 'default'), [{ gateway: 'fd00:8::1' }]);
  await world.ok('CHECK', DEVICE, { container: a, prevResult: result });

  const second = await world.call('ADD', DEVICE, { container: await world.container() });
  t.match(second.json, {
    code: 7,
    msg: /wanted a link dev0 on the host, found none: .*one container at a time/,
  });
  t.match((await world.call('STATUS', DEVICE)).json, {
    code: 50,
    msg: /wanted link dev0 on the host, found none/,
  });
  const again = await world.call('ADD', DEVICE, { container: a });
  t.match(again.json, { code: 104, msg: /has a link eth0 already/ });
  t.same(await world.hostLinks(), ['far0'], 'an ADD that failed gives nothing back that is not its own');

  await run(a.netns, 'link', 'set', 'eth0', 'down');
  const down = await world.call('CHECK', DEVICE, { container: a, prevResult: result });
  t.match(down.json, { code: 101, msg: /link eth0 in the container: wanted up, found down/ });
  await run(world.host.netns, 'link', 'add', 'eth0', 'type', 'bridge');
  for (const _ of [1, 2]) await world.ok('DEL', DEVICE, { container: a, prevResult: result });
  await run(world.host.netns, 'link', 'del', 'eth0');
  t.same(await links(a.netns), ['lo'], 'each may have links of the other’s names');
  const back = await show(world.host.netns, 'dev0');
  t.match(back, { address: MAC, mtu: 1400 });
  t.equal(back.ifalias, undefined, 'its alias is free again');
  t.same(await leases(world.host), []);
  await world.ok('STATUS', DEVICE);
  await world.add(DEVICE, a);
  t.ok(await ping(a.netns, '10.8.0.1'), 'it can be lent again');
});

t.test('by its MAC; without addresses; under a name that somebody took meanwhile', async (t) => {
  const world = await makeWorld(t);
  await addDevice(world);
  const [a, b] = [await world.container(), await world.container()];
  const { ipam: _, device: __, ...bare } = { ...DEVICE, hwaddr: MAC.toUpperCase() };
  const result = await world.add(bare, a, { ifname: 'net7' });
  t.match(await show(a.netns, 'net7'), { address: MAC, operstate: 'UP' });
  await world.ok('CHECK', bare, { container: a, ifname: 'net7', prevResult: result });
  await run(world.host.netns, 'link', 'add', 'dev0', 'type', 'bridge');
  await world.ok('DEL', bare, { container: a, ifname: 'net7' });
  const given = (await ip(world.host.netns, 'link')).find(({ address }) => address === MAC);
  t.match(given, { ifname: /^dev\d+$/, ifalias: 'dev0' }, 'it is back, and says what it was called');
  await run(world.host.netns, 'link', 'del', 'dev0');
  await run(world.host.netns, 'link', 'set', given.ifname, 'name', 'dev0');

  const twice = await world.call('ADD', { ...bare, hwaddr: '0a:00:00:00:ff:ff' }, { container: b });
  t.match(twice.json, { code: 7, msg: /found none/ });
  await run(world.host.netns, 'link', 'add', 'like0', 'address', MAC, 'type', 'bridge');
  const like = await world.call('ADD', bare, { container: b });
  t.match(like.json, { code: 7, msg: /is that of .*: name one by device/ });
});

t.test('a link that came back by itself gets its name again; others keep theirs', async (t) => {
  const world = await makeWorld(t);
  await addDevice(world);
  const h = world.host.netns;
  const gone = { id: 'gone', netns: '' };
  // What the kernel leaves of a physical link when the container's namespace ends: the name it had there, and the alias.
  await run(h, 'link', 'set', 'dev0', 'name', 'eth0');
  await run(h, 'link', 'set', 'eth0', 'alias', 'other0');
  await world.ok('DEL', DEVICE, { container: gone });
  t.same(await world.hostLinks(), ['eth0', 'far0'], 'not ours');
  await run(h, 'link', 'set', 'eth0', 'alias', 'dev0', 'up');
  await world.ok('DEL', DEVICE, { container: gone });
  t.same(await world.hostLinks(), ['eth0', 'far0'], 'somebody uses it as it is');
  await run(h, 'link', 'set', 'eth0', 'down');
  await world.ok('DEL', DEVICE, { container: gone, ifname: 'eth1' });
  t.same(await world.hostLinks(), ['eth0', 'far0'], 'not this attachment’s');
  await world.ok('DEL', DEVICE, { container: gone });
  t.same(await world.hostLinks(), ['dev0', 'far0']);

  const { index } = { index: (await show(h, 'dev0')).ifindex as number };
  await run(h, 'link', 'set', 'dev0', 'alias', 'dev0');
  await run(h, 'link', 'set', 'dev0', 'name', `dev${index}x`);
  const { log } = await world.ok('GC', { ...DEVICE, 'cni.dev/valid-attachments': [] });
  t.match(log.join('\n'), /dev0, which had come back as/);
  t.same(await world.hostLinks(), ['dev0', 'far0']);
});

t.test('a failed ADD gives back at once; a DEL takes no link of another', async (t) => {
  const world = await makeWorld(t);
  await addDevice(world);
  const c = await world.container();
  const late = {
    ...DEVICE,
    ipam: {
      type: 'static',
      addresses: [{ address: '10.8.0.2/24' }],
      routes: [{ dst: '192.0.2.0/24', gw: '10.99.0.1' }],
    },
  };
  t.match((await world.call('ADD', late, { container: c })).json, {
    code: 7,
    msg: /10.99.0.1 is in no subnet/,
  });
  t.same(await world.hostLinks(), ['dev0', 'far0']);
  t.same(await links(c.netns), ['lo']);
  await world.add({ ...L2, bridge: 'br0' }, c);
  await world.ok('DEL', DEVICE, { container: c });
  t.same(await links(c.netns), ['eth0', 'lo'], 'eth0 is a port of br0’s');
  t.match((await world.call('ADD', { ...DEVICE, device: 'lo' }, { container: c, ifname: 'net1' })).json, {
    code: 7,
    msg: /lo cannot leave/,
  });
  const none = { ...DEVICE, device: '' };
  t.match((await world.call('ADD', none, { container: c, ifname: 'net1' })).json, {
    code: 7,
    msg: /wanted one of device/,
  });
  const pci = { ...none, pciBusID: '0000:99:1f.6' };
  t.match((await world.call('ADD', pci, { container: c, ifname: 'net1' })).json, {
    code: 7,
    msg: /pciBusID: wanted 0000:99:1f.6, found no such device/,
  });
  t.match((await world.call('STATUS', pci)).json, { code: 7 });
  await world.ok('DEL', pci, { container: c, ifname: 'net1' });
});

t.test('the namespace of a container ends: what is left, and GC in one that lives on', async (t) => {
  const world = await makeWorld(t);
  await addDevice(world);
  const a: Container = await world.container();
  await world.add(DEVICE, a);
  const { log } = await world.ok('GC', { ...DEVICE, 'cni.dev/valid-attachments': [] });
  t.match(log.join('\n'), `removed link eth0 of ${a.id}`);
  t.same(await world.hostLinks(), ['dev0', 'far0']);
  t.same(await links(a.netns), ['lo']);
});
