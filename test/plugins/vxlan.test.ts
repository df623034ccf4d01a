import t from 'tap';
import { networkMac } from '../../plan/names.ts';
import {
  exec,
  execIn,
  firewallLines,
  ip,
  leases,
  links,
  makeOutside,
  OUTSIDE,
  ping,
  UPLINK,
} from '../support/host.ts';
import { join, VXLAN, VXLAN_L2 } from './cluster-world.ts';
import { makeWorld } from './world.ts';

const FOUR = { pools: [{ prefix: '10.244.0.0/16' }] };

t.test('containers of one host reach each other, the host and the world', async (t) => {
  const world = await makeWorld(t);
  join(world.host, 'tunnels');
  await makeOutside(t, world.host);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(VXLAN, a);
  const two = await world.add(VXLAN, b);
  t.same(
    two.ips.map(({ address, gateway }: { address: string; gateway: string }) => [address, gateway]),
    [
      ['10.244.3.3/24', '10.244.3.1'],
      ['fd00:244:0:3::3/64', 'fd00:244:0:3::1'],
    ],
  );
  for (const target of ['10.244.3.3', 'fd00:244:0:3::3', UPLINK.v4, UPLINK.v6, OUTSIDE.v4, OUTSIDE.v6]) {
    t.ok(await ping(a.netns, target), `container to ${target}`);
  }
  for (const target of ['10.244.3.2', 'fd00:244:0:3::3']) {
    t.ok(await ping(world.host.netns, target), `host to ${target}`);
  }

  t.test('the bridge is the gateway, everything has the MTU of the tunnel', async (t) => {
    const [bridge] = await ip(world.host.netns, 'addr', 'show', 'weftbr.7');
    t.equal(bridge.mtu, 1450);
    t.ok(bridge.addr_info.some(({ local }: { local: string }) => local === '10.244.3.1'));
    t.equal((await ip(a.netns, 'link', 'show', 'eth0'))[0].mtu, 1450);
    const routes = (await ip(a.netns, 'route')).map(({ dst, gateway }) => `${dst} ${gateway ?? 'link'}`);
    t.same(routes.sort(), ['10.244.0.0/16 10.244.3.1', '10.244.3.0/24 link', 'default 10.244.3.1']);
  });

  t.test('CHECK, then DEL leaves nothing but the bridge', async (t) => {
    await world.ok('CHECK', VXLAN, { container: a, prevResult: one });
    await exec('ip', ['-n', a.id, 'route', 'del', '10.244.0.0/16']);
    const { json } = await world.call('CHECK', VXLAN, { container: a, prevResult: one });
    t.match(json, { code: 101, msg: /route 10\.244\.0\.0\/16 via 10\.244\.3\.1 on eth0 in the container/ });
    await world.ok('DEL', VXLAN, { container: a, prevResult: one });
    await world.ok('DEL', VXLAN, { container: b });
    t.same(await world.hostLinks(), ['uplink', 'weftbr.7']);
    t.same(await links(a.netns), ['lo']);
    t.same(await leases(world.host), []);
    t.same(await firewallLines(world.host.netns, '10.244.3.2', '10.244.3.3', 'fd00:244:0:3::2'), []);
  });
});

for (const ipMasqBackend of ['nftables', 'iptables']) {
  t.test(
    `${ipMasqBackend}: what goes to other hosts keeps its address, what goes to the world does not`,
    async (t) => {
      const world = await makeWorld(t);
      join(world.host, 'tunnels');
      const outside = await makeOutside(t, world.host);
      const there = (...args: string[]) => execIn(outside, 'ip', args);
      // Stands for another host's container, by way of the underlay.
      await there('addr', 'add', '10.244.9.9/32', 'dev', 'lo');
      const a = await world.container();
      await world.add({ ...VXLAN, ipMasqBackend }, a);
      t.ok(await ping(a.netns, OUTSIDE.v4), 'the world answers the host');
      t.ok(await ping(a.netns, OUTSIDE.v6));
      const once = ['-n', '-q', '-c', '1', '-w', '1', '10.244.9.9'];
      const { status } = await execIn(a.netns, 'ping', once, { mayFail: true });
      t.equal(status, 1, 'the other host has no way back to a container yet');
      await there('route', 'add', '10.244.3.0/24', 'via', UPLINK.v4);
      t.ok(await ping(a.netns, '10.244.9.9'), 'the answer to its own address comes back');
    },
  );
}

t.test('a host that comes to hold another subnet serves old containers and new ones', async (t) => {
  const world = await makeWorld(t);
  const config = { ...VXLAN, ...FOUR, cniVersion: '1.0.0', mtu: 9000 };
  join(world.host, 'tunnels', { subnets: ['10.244.3.0/24'], pools: ['10.244.0.0/16'] });
  const [a, b] = [await world.container(), await world.container()];
  const old = await world.add(config, a);
  join(world.host, 'tunnels', { subnets: ['10.244.9.0/24'], pools: ['10.244.0.0/16'], mtu: 1300 });
  t.match((await world.add(config, b)).ips, [{ address: '10.244.9.2/24', gateway: '10.244.9.1' }]);
  t.ok(await ping(a.netns, '10.244.9.2'), 'from the old subnet to the new one');
  t.ok(await ping(b.netns, '10.244.3.1'));
  const mtu = async (netns: string) => (await ip(netns, 'link', 'show', 'eth0'))[0].mtu;
  t.same([await mtu(a.netns), await mtu(b.netns)], [1450, 1300], 'not more than fits, whatever is asked for');
  await world.ok('CHECK', config, { container: a, prevResult: old });
});

t.test('a stretched subnet: one gateway for all hosts, and a MAC that stays with the address', async (t) => {
  const world = await makeWorld(t);
  const L2 = { ...VXLAN_L2, ...FOUR };
  join(world.host, 'stretched', { subnets: ['10.244.0.64/26'], pools: ['10.244.0.0/16'] });
  const [a, b, c] = [await world.container(), await world.container(), await world.container()];
  const one = await world.add(L2, a);
  t.match(one.ips, [{ address: '10.244.0.64/16', gateway: '10.244.0.1' }]);
  const [bridge] = await ip(world.host.netns, 'link', 'show', 'weftbr.8');
  t.equal(bridge.address, networkMac('stretched', 'gateway'));
  const macOf = async (netns: string) => (await ip(netns, 'link', 'show', 'eth0'))[0].address;
  t.equal(await macOf(a.netns), networkMac('stretched', '10.244.0.64'));
  t.match((await ip(a.netns, 'route')).map(({ dst, gateway }) => `${dst} ${gateway ?? 'link'}`).sort(), [
    '10.244.0.0/16 link',
    'default 10.244.0.1',
  ]);

  t.test('an address of another host comes along with its container', async (t) => {
    const capable = { ...L2, runtimeConfig: { ips: ['10.244.7.7'] } };
    const moved = await world.add(capable, b);
    t.match(moved.ips, [{ address: '10.244.7.7/16', gateway: '10.244.0.1' }]);
    t.equal(await macOf(b.netns), networkMac('stretched', '10.244.7.7'));
    await world.ok('CHECK', capable, { container: b, prevResult: moved });
    t.ok(await ping(a.netns, '10.244.7.7'));
    await world.ok('DEL', capable, { container: b });
    t.same(await leases(world.host), ['stretched/10.244.0.64']);
  });

  t.test('a MAC that is asked for', async (t) => {
    const asked = { ...L2, runtimeConfig: { mac: '0A:58:0A:00:00:05' } };
    await world.add(asked, c);
    t.equal(await macOf(c.netns), '0a:58:0a:00:00:05');
  });
});

t.test('without a membership', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  for (const conf of [VXLAN, VXLAN_L2]) {
    const { json } = await world.call('ADD', conf, { container: a });
    t.match(json, { code: 11, msg: /has not joined network .*: start `weft agent --registry/ });
    t.match((await world.call('STATUS', conf)).json, { code: 50, msg: /has not joined network/ });
  }
  t.same(await world.hostLinks(), []);

  join(world.host, 'tunnels', { validUntil: Date.now() - 1000, problem: 'etcd is unreachable' });
  t.match((await world.call('ADD', VXLAN, { container: a })).json, {
    code: 11,
    msg: /lapsed .*etcd is unreachable/,
  });
  t.match((await world.call('STATUS', VXLAN)).json, { code: 50, msg: /lapsed/ });
  join(world.host, 'tunnels', {
    problem: 'the pool overlaps route 10.244.7.0/24 via 192.0.2.254',
    refuses: true,
  });
  t.match((await world.call('ADD', VXLAN, { container: a })).json, { code: 11, msg: /overlaps route/ });
  join(world.host, 'tunnels', { pools: ['10.200.0.0/16'], subnets: ['10.200.3.0/24'] });
  t.match((await world.call('ADD', VXLAN, { container: a })).json, {
    code: 11,
    msg: /has pool 10\.244\.0\.0\/16, fd00:244::\/48 in the configuration, and this host is a member with 10\.200\.0\.0\/16/,
  });
  join(world.host, 'tunnels', { problem: 'the tunnel is down', limited: true });
  t.match((await world.call('STATUS', VXLAN)).json, { code: 51, msg: 'the tunnel is down' });
  join(world.host, 'tunnels');
  await world.ok('STATUS', VXLAN);

  t.test('what runs is checked, collected and removed', async (t) => {
    const result = await world.add(VXLAN, a);
    await world.add(VXLAN, b);
    await exec('rm', ['-r', `${world.host.dirs.cache}/weft/networks`]);
    await world.ok('CHECK', VXLAN, { container: a, prevResult: result });
    await world.ok('GC', { ...VXLAN, 'cni.dev/valid-attachments': [{ containerID: a.id, ifname: 'eth0' }] });
    t.same(await leases(world.host), ['tunnels/10.244.3.2', 'tunnels/fd00:244:0:3::2']);
    await world.ok('DEL', VXLAN, { container: a });
    t.same(await leases(world.host), []);
    t.same(await world.hostLinks(), ['weftbr.7']);
  });
});
