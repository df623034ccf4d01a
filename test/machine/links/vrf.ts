/** vrf: one container in two networks that have the same addresses. */
import t from 'tap';
import { L2, makeWorld } from '../../plugins/world.ts';
import { execIn, ip, links, ping } from '../../support/host.ts';
import { addressing, batch, filled, type Json, reference, STATIC, seen, whoHas } from './support.ts';

const GATEWAY = 3;
/** An address in network `name`; who has GATEWAY's has no way out himself. */
const network = (name: string, last: number) => {
  const gateway = (address: string) => last !== GATEWAY && { gateway: address };
  return {
    ...{ ...L2, name, bridge: `br-${name}` },
    ipam: {
      type: 'static',
      addresses: [
        { address: `10.9.0.${last}/24`, ...gateway('10.9.0.3') },
        { address: `fd00:9::${last}/64`, ...gateway('fd00:9::3') },
      ],
      routes: last === GATEWAY ? [] : [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
    },
  };
};
const vrf = (vrfname: string, table?: number) => ({
  ...{ cniVersion: '1.1.0', name: vrfname, type: 'vrf', vrfname },
  ...(table && { table }),
});
const macOf = ({ interfaces }: Json) => interfaces.find(({ sandbox }: Json) => sandbox).mac;

t.test('the same addresses in two VRFs', async (t) => {
  const world = await makeWorld(t);
  const [c, red, blue] = [await world.container(), await world.container(), await world.container()];
  // Who answers 10.9.0.3 in each network, and who stands behind it.
  const peers = {
    red: await world.add(network('red', GATEWAY), red),
    blue: await world.add(network('blue', GATEWAY), blue),
  };
  for (const peer of [red, blue]) {
    await batch(peer.netns, 'addr add 192.0.2.1/32 dev lo', 'addr add 2001:db8:9::1/128 dev lo');
  }
  const first = await world.add(network('red', 2), c);
  await world.add(vrf('red', 77), c, { prevResult: first });
  const second = await world.add(network('blue', 2), c, { ifname: 'net1' });
  const result = await world.add(vrf('blue'), c, { ifname: 'net1', prevResult: second });
  t.same(result, second);
  t.match(await seen(c.netns, 'red'), { linkinfo: { info_kind: 'vrf', info_data: { table: 77 } } });
  t.match(
    await seen(c.netns, 'blue'),
    { linkinfo: { info_kind: 'vrf', info_data: { table: 1 } } },
    'the first free table',
  );
  for (const [name, dev] of [
    ['red', 'eth0'],
    ['blue', 'net1'],
  ] as const) {
    for (const address of ['10.9.0.3', 'fd00:9::3', '192.0.2.1', '2001:db8:9::1']) {
      const args = ['-n', '-c', '1', '-w', '15', '-I', name, address];
      t.equal((await execIn(c.netns, 'ping', args)).status, 0, `in ${name} to ${address}`);
    }
    for (const address of ['10.9.0.3', 'fd00:9::3'])
      t.equal(await whoHas(c.netns, address, 'dev', dev), macOf(peers[name]), `${name}'s own ${address}`);
  }
  for (const { netns } of [red, blue])
    for (const address of ['10.9.0.2', 'fd00:9::2'])
      t.ok(await ping(netns, address), `from outside to ${address}`);
  t.same(
    (await ip(c.netns, 'route', 'show', 'table', 'main')).length,
    0,
    'nothing is left in the main table',
  );

  await world.ok('STATUS', vrf('red', 77));
  await world.ok('CHECK', vrf('red', 77), { container: c, prevResult: first });
  await world.ok('CHECK', network('red', 2), { container: c, prevResult: first });
  await world.ok('CHECK', vrf('blue'), { container: c, ifname: 'net1', prevResult: second });
  const wrong = await world.call('CHECK', vrf('red', 78), { container: c, prevResult: first });
  t.match(wrong.json, { code: 101, msg: /wanted table 78, found table 77/ });
  const again = await world.call('ADD', vrf('blue'), { container: c, prevResult: first });
  t.match(again.json, { code: 104, msg: /is a port of link .* already/ });

  await world.ok('DEL', vrf('red', 77), { container: c, prevResult: first });
  t.same(await links(c.netns), ['blue', 'eth0', 'lo', 'net1']);
  for (const _ of [1, 2])
    await world.ok('DEL', vrf('blue'), { container: c, ifname: 'net1', prevResult: second });
  await world.ok('DEL', network('red', 2), { container: c });
  await world.ok('DEL', network('blue', 2), { container: c, ifname: 'net1' });
  t.same(await links(c.netns), ['lo']);
});

t.test('as the reference does it', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const base = { ...L2, cniVersion: '1.0.0', ipam: STATIC };
  for (const table of [undefined, 42]) {
    const config = { ...vrf('red', table), cniVersion: '1.0.0' };
    const by = async (add: (options: Json) => Promise<Json>, del: (options: Json) => Promise<unknown>) => {
      const prevResult = await world.add(base, container);
      const options = { container, prevResult };
      const result = await add(options);
      const found = {
        result: filled(result),
        link: await seen(container.netns, 'eth0', 'operstate'),
        vrf: await seen(container.netns, 'red', 'address', 'operstate'),
        ...(await addressing(container.netns, 'eth0', 'vrf', 'red')),
      };
      await del(options);
      t.notOk((await links(container.netns)).includes('red'));
      await world.ok('DEL', base, { container });
      return found;
    };
    const theirs = await by(
      (options) => reference(world, 'ADD', config, options),
      (options) => reference(world, 'DEL', config, options),
    );
    const ours = await by(
      (options) => world.add(config, container, options),
      (options) => world.ok('DEL', config, options),
    );
    t.same({ ...ours, routes: [] }, { ...theirs, routes: [] });
    // The reference of Debian 12 loses the routes that it does not know from the result.
    const missing = theirs.routes.filter(
      (route: Json) => !ours.routes.some((one: Json) => JSON.stringify(one) === JSON.stringify(route)),
    );
    t.same(missing, [], 'every route that the reference keeps');
  }
});
