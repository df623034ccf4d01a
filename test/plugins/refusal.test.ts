/** What cannot be done is refused in words that name it, and nothing changes. */
import t from 'tap';
import { execIn, ip, leases, links } from '../support/host.ts';
import { BRIDGE, L2, makeWorld } from './world.ts';

t.test('the name of the bridge is that of another kind of link', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  await world.host.exec('ip', ['link', 'add', 'br0', 'type', 'veth', 'peer', 'name', 'p0']);
  const answer = await world.call('ADD', BRIDGE, { container });
  t.match(answer.json, {
    code: 104,
    msg: /wanted a bridge br0, found a link of that name that is of kind veth/,
  });
  t.same(await leases(world.host), []);
  t.same(await links(container.netns), ['lo']);
});

t.test('the name of the link is taken in the container', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  await execIn(container.netns, 'ip', ['link', 'add', 'eth0', 'type', 'bridge']);
  const answer = await world.call('ADD', BRIDGE, { container });
  t.match(answer.json, { code: 104, msg: /the container has a link eth0 already/ });
  t.same(await world.hostLinks(), [], 'nothing was touched');
});

t.test('the bridge has another address: refused, or replaced when forceAddress says so', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const six = ['-6', 'addr', 'add', 'fd00:1::99/64', 'dev', 'br0', 'nodad'];
  await world.host.exec('ip', ['link', 'add', 'br0', 'up', 'type', 'bridge']);
  await world.host.exec('ip', ['addr', 'add', '10.7.0.1/24', 'dev', 'br0']);
  const four = await world.call('ADD', BRIDGE, { container });
  t.match(four.json, {
    code: 104,
    msg: 'bridge br0 has address 10.7.0.1/24, configuration wants 10.1.0.1/24: set forceAddress or remove the address',
  });
  await world.host.exec('ip', ['addr', 'del', '10.7.0.1/24', 'dev', 'br0']);
  await world.host.exec('ip', six);
  t.match((await world.call('ADD', BRIDGE, { container })).json, {
    code: 104,
    msg: /has address fd00:1::99\/64/,
  });
  t.same(await world.hostLinks(), ['br0'], 'the bridge of others stays');
  const addresses = async () =>
    (await ip(world.host.netns, 'addr', 'show', 'br0'))[0].addr_info
      .filter(({ scope }: { scope: string }) => scope === 'global')
      .map(({ local }: { local: string }) => local);
  t.same(await addresses(), ['fd00:1::99'], 'with what it had');
  await world.add({ ...BRIDGE, forceAddress: true }, container);
  t.same(await addresses(), ['10.1.0.1', 'fd00:1::1']);
});

t.test('STATUS says beforehand what would be in the way of every ADD', async (t) => {
  const world = await makeWorld(t);
  const run = (line: string) => world.host.exec('sh', ['-c', line]);
  const status = async (config: object) => (await world.call('STATUS', config)).json;
  await world.ok('STATUS', BRIDGE);
  await run('ip link add br0 type veth peer name p0');
  t.match(await status(BRIDGE), {
    code: 50,
    msg: /no ADD can succeed: wanted a bridge br0, found a link .* of kind veth/,
  });
  await run('ip link del br0; ip link add br0 up type bridge');
  await world.ok('STATUS', BRIDGE);
  await run('ip addr add 10.7.0.1/24 dev br0; ip -6 addr add fd00:7::1/64 dev br0 nodad');
  t.match(await status(BRIDGE), {
    code: 50,
    msg: 'no ADD can succeed: bridge br0 has address 10.7.0.1/24, configuration wants 10.1.0.1/24: set forceAddress or remove the address',
  });
  await world.ok('STATUS', { ...BRIDGE, forceAddress: true });
  await world.ok('STATUS', { ...BRIDGE, isGateway: false });
  // One of the alternatives is what the bridge has.
  const ranges = [[{ subnet: '10.1.0.0/24' }, { subnet: '10.7.0.0/24' }]];
  await world.ok('STATUS', { ...BRIDGE, ipam: { type: 'host-local', ranges } });
  await run('ip addr del 10.7.0.1/24 dev br0; ip -6 addr add fd00:1::99/64 dev br0 nodad');
  t.match(await status(BRIDGE), {
    code: 50,
    msg: /has address fd00:1::99\/64, configuration wants fd00:1::1\/64/,
  });
  await run('ip link del br0');
  await world.add(BRIDGE, await world.container());
  await world.ok('STATUS', BRIDGE);
});

t.test('an IPv6 address of another prefix does not stand in the way', async (t) => {
  const world = await makeWorld(t);
  await world.host.exec('ip', ['link', 'add', 'br0', 'up', 'type', 'bridge']);
  await world.host.exec('ip', ['-6', 'addr', 'add', 'fd00:7::1/64', 'dev', 'br0', 'nodad']);
  await world.add(BRIDGE, await world.container());
});

t.test('VLANs: refused where the kernel has none, used where it has', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const answer = await world.call('ADD', { ...BRIDGE, vlan: 100 }, { container });
  const { status } = await world.host.exec(
    'ip',
    ['link', 'add', 'probe', 'type', 'bridge', 'vlan_filtering', '1'],
    {
      mayFail: true,
    },
  );
  if (status === 0) {
    t.equal(answer.status, 0);
    const { stdout } = await world.host.exec('bridge', ['-j', 'vlan']);
    t.match(stdout, /"vlan":100/);
    t.ok((await world.hostLinks()).includes('br0.100'), "the gateway's link");
    return;
  }
  t.match(answer.json, { code: 102, msg: /bridge br0 cannot filter VLANs.*CONFIG_BRIDGE_VLAN_FILTERING/ });
  t.same(await world.hostLinks(), []);
  await world.host.exec('ip', ['link', 'add', 'br0', 'type', 'bridge']);
  const existing = await world.call('ADD', { ...L2, vlanTrunk: [{ id: 5 }] }, { container });
  t.match(existing.json, { code: 102 });
  t.same(await world.hostLinks(), ['br0']);
});

const BAD: [config: object, code: number, says: RegExp][] = [
  [{ ...BRIDGE, bridge: 'a/b' }, 7, /bridge: found "a\/b", wanted the name of a link/],
  [{ ...BRIDGE, mtu: 'big' }, 7, /mtu: found "big"/],
  [{ ...BRIDGE, mtu: 10 }, 7, /mtu: found 10/],
  [{ ...BRIDGE, isGateway: 'yes' }, 7, /isGateway: found "yes"/],
  [{ ...BRIDGE, ipMasqBackend: 'pf' }, 7, /ipMasqBackend: found "pf"/],
  [{ ...BRIDGE, vlan: 4095 }, 7, /vlan: found 4095/],
  [{ ...L2, vlan: 5, vlanTrunk: [{ id: 6 }] }, 7, /vlan and vlanTrunk/],
  [{ ...L2, vlanTrunk: [{ minID: 5 }] }, 7, /vlanTrunk\[0\] needs both minID and maxID/],
  [{ ...L2, vlanTrunk: [{ minID: 9, maxID: 5 }] }, 7, /vlanTrunk\[0\].minID 9 is greater than maxID 5/],
  [{ ...L2, vlanTrunk: [{}] }, 7, /vlanTrunk\[0\] has neither/],
  [{ ...BRIDGE, bridge: 'fourteen-chars', vlan: 5 }, 7, /link would be fourteen-chars\.5/],
  [{ ...L2, isGateway: true }, 7, /isGateway needs one/],
  [{ ...BRIDGE, ipam: { type: 'host-local', subnet: '10.1.0.0/99' } }, 7, /10\.1\.0\.0\/99/],
  [{ ...BRIDGE, ipam: { type: 'no-such-ipam' } }, 105, /no-such-ipam/],
];

t.test('configurations that cannot be meant', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  for (const [config, code, says] of BAD) {
    const { json } = await world.call('ADD', config, { container });
    t.match(json, { code, msg: says });
  }
  t.same(await world.hostLinks(), []);
  t.same(await links(container.netns), ['lo']);
});

t.test('IPv6 that is switched off in the container is switched on for the one link', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  await execIn(container.netns, 'sysctl', ['-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
  await world.add(BRIDGE, container);
  const [link] = await ip(container.netns, '-6', 'addr', 'show', 'eth0');
  t.ok(link.addr_info.some(({ local }: { local: string }) => local === 'fd00:1::2'));
});

t.test('enabledad: ADD ends when the address is no longer tentative, and fails on a duplicate', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const dad = { ...BRIDGE, enabledad: true };
  await world.add(dad, a);
  const [link] = await ip(a.netns, '-6', 'addr', 'show', 'eth0', 'scope', 'global');
  t.notOk(link.addr_info[0].tentative);
  await world.host.exec('sh', ['-c', `rm ${world.host.dirs.data}/mynet/*`]);
  const address = [{ address: '10.1.0.77/24' }, { address: 'fd00:1::2/64' }];
  const same = { ...dad, isGateway: false, ipam: { type: 'static', addresses: address } };
  t.match((await world.call('ADD', same, { container: b })).json, {
    code: 104,
    msg: /fd00:1::2\/64.*neighbour/,
  });
  t.same(await links(b.netns), ['lo']);
});
