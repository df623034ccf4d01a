import t from 'tap';
import { createBridge, createVeth, createVxlan } from '../../netlink/link.ts';
import * as neighbour from '../../netlink/neighbour.ts';
import { ask, namespaceFor, refused } from './support.ts';

t.test('neighbours', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const { index: link } = await ask(ns, createBridge({ name: 'br0', up: true }));
  const { index: other } = await ask(ns, createBridge({ name: 'br1', up: true }));
  const one = { link, address: '10.1.0.9', mac: '02:00:00:00:00:09' };
  await ns.send(
    neighbour.addNeighbour(one),
    neighbour.addNeighbour({ link, address: 'fd00::9', mac: '02:00:00:00:00:0a' }),
    neighbour.addNeighbour({ ...one, link: other }),
  );
  t.equal((await refused(ns, neighbour.addNeighbour(one))).errno, 'EEXIST');
  await ns.send(neighbour.replaceNeighbour({ ...one, mac: '02:00:00:00:00:0b', protocol: 119 }));
  const seen = json('ip', '-j', 'neighbour', 'show', 'dev', 'br0', 'nud', 'permanent');
  t.match(
    seen.find(({ dst }) => dst === '10.1.0.9'),
    { lladdr: '02:00:00:00:00:0b', state: ['PERMANENT'], protocol: '119' },
  );
  const found = (await ask(ns, neighbour.listNeighbours({ link }))).filter(({ permanent }) => permanent);
  t.same(found.map(({ address, mac, protocol }) => [address, mac, protocol]).sort(), [
    ['10.1.0.9', '02:00:00:00:00:0b', 119],
    ['fd00::9', '02:00:00:00:00:0a', undefined],
  ]);
  await ns.send(neighbour.deleteNeighbour(link, '10.1.0.9'), neighbour.deleteNeighbour(link, 'fd00::9'));
  t.equal((await refused(ns, neighbour.deleteNeighbour(link, '10.1.0.9'))).errno, 'ENOENT');

  await ns.send(neighbour.addProxyNeighbour(link, '10.1.0.7'), neighbour.addProxyNeighbour(link, 'fd00::7'));
  t.match(json('ip', '-j', 'neighbour', 'show', 'proxy')[0], { dst: '10.1.0.7', dev: 'br0' });
  const proxies = await ask(ns, neighbour.listProxyNeighbours({ link }));
  t.same(proxies.map(({ address }) => address).sort(), ['10.1.0.7', 'fd00::7']);
  await ns.send(neighbour.deleteProxyNeighbour(link, '10.1.0.7'));
  t.equal((await ask(ns, neighbour.listProxyNeighbours())).length, 1);
});

t.test('forwarding databases of a bridge and a VXLAN', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const bridge = await ask(ns, createBridge({ name: 'br0', up: true }));
  const port = await ask(ns, createVeth({ name: 'v0', master: bridge.index, peer: { name: 'v1' } }));
  const vxlan = await ask(
    ns,
    createVxlan({ name: 'vx0', vxlan: { vni: 5, port: 4789, learning: false }, up: true }),
  );
  const remote = { link: vxlan.index, mac: '02:00:00:00:01:01', in: 'self', dst: '10.9.0.2' } as const;
  const flood = { link: vxlan.index, mac: '00:00:00:00:00:00', in: 'self' } as const;
  await ns.send(
    neighbour.addFdb(remote),
    neighbour.appendFdb({ ...flood, dst: '10.9.0.2' }),
    neighbour.appendFdb({ ...flood, dst: '10.9.0.3' }),
    neighbour.addFdb({ link: port.index, mac: '02:00:00:00:01:02', in: 'master', state: 'static' }),
  );
  t.equal((await refused(ns, neighbour.addFdb(remote))).errno, 'EEXIST');
  const seen = json('bridge', '-j', 'fdb', 'show', 'dev', 'vx0');
  t.match(
    seen.find(({ mac }) => mac === remote.mac),
    { dst: '10.9.0.2', flags: ['self'], state: 'permanent' },
  );
  t.equal(seen.filter(({ mac }) => mac === flood.mac).length, 2);
  t.match(
    json('bridge', '-j', 'fdb', 'show', 'dev', 'v0').find(({ mac }) => mac === '02:00:00:00:01:02'),
    { master: 'br0', state: 'static' },
  );
  const mine = await ask(ns, neighbour.listFdb({ link: vxlan.index }));
  t.same(mine.map(({ mac, dst }) => [mac, dst]).sort(), [
    [flood.mac, '10.9.0.2'],
    [flood.mac, '10.9.0.3'],
    [remote.mac, '10.9.0.2'],
  ]);
  const inBridge = await ask(ns, neighbour.listFdb({ master: bridge.index }));
  t.match(
    inBridge.find(({ mac }) => mac === '02:00:00:00:01:02'),
    { master: bridge.index, static: true },
  );
  await ns.send(
    neighbour.replaceFdb({ ...remote, dst: '10.9.0.4' }),
    neighbour.deleteFdb({ ...flood, dst: '10.9.0.3' }),
  );
  t.same((await ask(ns, neighbour.listFdb({ link: vxlan.index }))).map(({ dst }) => dst).sort(), [
    '10.9.0.2',
    '10.9.0.4',
  ]);
});

t.test('one message for both databases of a VXLAN that is a port', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const bridge = await ask(ns, createBridge({ name: 'br0', up: true }));
  const vxlan = { vni: 5, port: 4789, learning: false };
  const { index } = await ask(ns, createVxlan({ name: 'vx0', vxlan, master: bridge.index, up: true }));
  const entry = { link: index, mac: '02:00:00:00:01:01', dst: '10.9.0.2', state: 'static' } as const;
  await ns.send(neighbour.replaceFdb({ ...entry, in: 'both' }));
  await ns.send(neighbour.replaceFdb({ ...entry, in: 'both', dst: '10.9.0.3' }));
  // Where the kernel can filter VLANs, the bridge has the entry in the port's VLANs as well.
  const seen = json('bridge', '-j', 'fdb', 'show', 'dev', 'vx0').filter(
    ({ mac, vlan }) => mac === entry.mac && vlan === undefined,
  );
  t.match(
    seen.find(({ flags }) => (flags as string[]).includes('self')),
    { dst: '10.9.0.3', state: 'static' },
  );
  t.match(
    seen.find(({ master }) => master === 'br0'),
    { state: 'static' },
  );
  t.equal(seen.length, 2);
});
