import t from 'tap';
import * as link from '../../netlink/link.ts';
import { createStacked, MACVLAN_MODES } from '../../netlink/link-kinds.ts';
import { tolerating } from '../../netlink/message.ts';
import { ask, namespaceFor, refused } from './support.ts';

t.test('a bridge is made as wanted, and read as ip reads it', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const made = await ask(
    ns,
    link.createBridge({
      name: 'br0',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      up: true,
      alias: 'weft',
      ageingTime: 20000,
    }),
  );
  const [seen] = json('ip', '-j', '-d', 'link', 'show', 'br0') as unknown as [{ flags: string[] }];
  t.match(seen, {
    ifindex: made.index,
    ifname: 'br0',
    address: '02:00:00:00:00:01',
    mtu: 1400,
    ifalias: 'weft',
    linkinfo: { info_kind: 'bridge', info_data: { ageing_time: 20000 } },
  });
  t.ok(seen.flags.includes('UP'));
  t.match(made, {
    name: 'br0',
    mac: '02:00:00:00:00:01',
    mtu: 1400,
    up: true,
    kind: 'bridge',
    alias: 'weft',
  });
  t.equal(made.bridge?.ageingTime, 20000);
  t.equal((await refused(ns, link.createBridge({ name: 'br0' }))).errno, 'EEXIST');
  const [again] = await ns.send(tolerating(link.createBridge({ name: 'br0', alias: 'other' }), 'EEXIST'));
  t.equal(again.ok, false);
  t.equal((await ask(ns, link.getLink('br0'))).alias, 'weft', 'a refused creation changes nothing');
});

t.test('one message makes a veth with its peer in the other namespace', async (t) => {
  const host = await namespaceFor(t);
  const container = await namespaceFor(t);
  const bridge = await ask(host.ns, link.createBridge({ name: 'br0', up: true }));
  const made = await ask(
    host.ns,
    link.createVeth({
      name: 'veth0',
      mac: '02:00:00:00:00:02',
      mtu: 1300,
      master: bridge.index,
      up: true,
      alias: 'of a container',
      port: { hairpin: true, isolated: true, learning: false, neighbourSuppress: true },
      peer: { name: 'eth0', mac: '02:00:00:00:00:03', mtu: 1300, netnsFd: container.ns.fd },
    }),
  );
  const peer = await ask(container.ns, link.getLink('eth0'));
  t.equal(made.link, peer.index);
  t.equal(peer.link, made.index);
  t.match(peer, { name: 'eth0', mac: '02:00:00:00:00:03', mtu: 1300, kind: 'veth', up: false });
  t.match(made, { master: bridge.index, slaveKind: 'bridge', alias: 'of a container', promiscuous: false });
  await ask(container.ns, link.setLink('eth0', { up: true }));
  t.match(container.json('ip', '-j', 'link', 'show', 'eth0')[0], {
    operstate: 'UP',
    address: '02:00:00:00:00:03',
  });
  const [port] = host.json('bridge', '-j', '-d', 'link', 'show', 'dev', 'veth0');
  t.match(port, { master: 'br0', hairpin: true, isolated: true, learning: false, neigh_suppress: true });
});

t.test('vxlan and macvlan carry their data', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const under = await ask(ns, link.createBridge({ name: 'under', up: true }));
  const vxlan = await ask(
    ns,
    link.createVxlan({
      name: 'vx1',
      mac: '02:00:00:00:00:04',
      vxlan: { vni: 77, local: '10.9.0.1', underlay: under.index, port: 4789, learning: false, ttl: 9 },
    }),
  );
  t.match(json('ip', '-j', '-d', 'link', 'show', 'vx1')[0], {
    linkinfo: {
      info_data: { id: 77, local: '10.9.0.1', link: 'under', port: 4789, learning: false, ttl: 9 },
    },
  });
  t.match(vxlan.vxlan, { vni: 77, local: '10.9.0.1', port: 4789, learning: false });
  const six = { vni: 78, local6: 'fd00::1', port: 4789 };
  t.match((await ask(ns, link.createVxlan({ name: 'vx6', vxlan: six }))).vxlan, { local6: 'fd00::1' });
  await ask(
    ns,
    createStacked({ name: 'mv0' }, { lower: under.index, as: { type: 'macvlan', mode: 'private' } }),
  );
  t.match(await ask(ns, link.getLink('mv0')), {
    link: under.index,
    macvlan: { mode: MACVLAN_MODES.private },
  });
  t.match(json('ip', '-j', '-d', 'link', 'show', 'mv0')[0], { linkinfo: { info_data: { mode: 'private' } } });
});

t.test('a link is changed by name or index, and deleted', async (t) => {
  const { ns, json } = await namespaceFor(t);
  const made = await ask(ns, link.createVeth({ name: 'a0', peer: { name: 'b0' } }));
  const bridge = await ask(ns, link.createBridge({ name: 'br0' }));
  await ns.send(
    link.setLink('a0', { mtu: 1234, mac: '02:00:00:00:00:09', alias: 'x', promiscuous: true, up: true }),
    link.setLink(made.index, { master: bridge.index, txQueueLength: 7 }),
    link.setLink('a0', { port: { hairpin: true } }),
  );
  const [seen] = json('ip', '-j', '-d', 'link', 'show', 'a0') as [{ flags: string[] }];
  t.match(seen, { mtu: 1234, address: '02:00:00:00:00:09', ifalias: 'x', master: 'br0', txqlen: 7 });
  t.ok(seen.flags.includes('PROMISC'));
  t.equal((await ask(ns, link.getLink('a0'))).promiscuous, true);
  await ns.send(link.setLink('a0', { master: 0, promiscuous: false, up: false }));
  const plain = await ask(ns, link.getLink(made.index));
  t.match(plain, { promiscuous: false, up: false, master: undefined });
  await ns.send(link.setLink(made.index, { rename: 'c0' }));
  t.equal((await ask(ns, link.getLink(made.index))).name, 'c0');
  t.throws(() => link.setLink('c0', { rename: 'd0' }), /want link c0 given by its index/);
  const names = (await ask(ns, link.listLinks())).map(({ name }) => name).sort();
  t.same(
    names,
    json('ip', '-j', 'link')
      .map(({ ifname }) => ifname)
      .sort(),
  );
  await ns.send(link.deleteLink('c0'), link.deleteLink(bridge.index));
  t.equal((await refused(ns, link.getLink('c0'))).errno, 'ENODEV');
  t.equal((await refused(ns, link.deleteLink('br0'))).errno, 'ENODEV');
  t.same(
    json('ip', '-j', 'link').map(({ ifname }) => ifname),
    ['lo'],
  );
});

t.test('a refusal names the request, the kernel has its say, and the attribute at fault', async (t) => {
  const { ns } = await namespaceFor(t);
  const error = await refused(ns, link.createVxlan({ name: 'vx0', vxlan: { vni: 2 ** 24 } }));
  t.match(error, { errno: 'ERANGE', index: 0, attribute: 'IFLA_LINKINFO.IFLA_INFO_DATA.IFLA_VXLAN_ID' });
  t.match(error.message, /^cannot create vxlan vx0: ERANGE \(.+, attribute IFLA_LINKINFO.*IFLA_VXLAN_ID\)$/);
});

t.test('values that cannot be written are refused before anything is sent', async (t) => {
  t.throws(() => link.createBridge({ name: 'a-name-too-long-for-it' }), /IFLA_IFNAME: want at most 15 bytes/);
  t.throws(
    () => link.createBridge({ name: 'br0', mac: '02:00' }),
    /IFLA_ADDRESS: want a MAC address, found '02:00'/,
  );
  t.throws(() => link.createBridge({ name: 'br0', mtu: -1 }), /IFLA_MTU: want 0..4294967295, found -1/);
  t.throws(
    () => link.createVxlan({ name: 'v', vxlan: { vni: 1, local: '1.2.3' } }),
    /IFLA_VXLAN_LOCAL: want an IP address/,
  );
});
