import t from 'tap';
import { hostLinkName } from '../../plan/names.ts';
import { ip, leases, links, makeOutside, OUTSIDE, ping, SILENCE } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

const PTP = { ...BRIDGE, name: 'ptpnet', type: 'ptp' };

t.test('two containers reach each other and the host by the host, over both families', async (t) => {
  const world = await makeWorld(t);
  const [a, b] = [await world.container(), await world.container()];
  const one = await world.add(PTP, a);
  const two = await world.add(PTP, b);
  t.same(
    two.ips.map(({ address, gateway }: { address: string; gateway: string }) => [address, gateway]),
    [
      ['10.1.0.3/24', '10.1.0.1'],
      ['fd00:1::3/64', 'fd00:1::1'],
    ],
  );
  for (const target of ['10.1.0.3', 'fd00:1::3', '10.1.0.1', 'fd00:1::1']) {
    t.ok(await ping(a.netns, target), `container to ${target}`);
  }
  for (const target of ['10.1.0.2', 'fd00:1::3'])
    t.ok(await ping(world.host.netns, target), `host to ${target}`);

  t.test(
    'the host can ask for what it forwards to at once, not after duplicate address detection',
    async (t) => {
      const late = await world.container();
      await world.add(PTP, late);
      const found = await ip(
        world.host.netns,
        '-6',
        'addr',
        'show',
        hostLinkName('ptpnet', { containerId: late.id, ifname: 'eth0' }),
      );
      const usable = found[0].addr_info.filter(
        ({ scope, tentative }: { scope: string; tentative?: boolean }) => scope === 'link' && !tentative,
      );
      t.ok(usable.some(({ local }: { local: string }) => local === 'fe80::1'));
      await world.ok('DEL', PTP, { container: late });
    },
  );

  t.test('the prefix is a route by the gateway, not a link', async (t) => {
    const routes = await ip(a.netns, 'route');
    const byDst = (dst: string) => routes.find((route) => route.dst === dst);
    t.match(byDst('10.1.0.0/24'), { gateway: '10.1.0.1', prefsrc: '10.1.0.2' });
    t.match(byDst('10.1.0.1'), { scope: 'link', prefsrc: '10.1.0.2' });
    t.match(byDst('default'), { gateway: '10.1.0.1' });
    t.equal(routes.length, 3);
    const six = (await ip(a.netns, '-6', 'route')).map(({ dst, gateway }) => `${dst} ${gateway ?? 'link'}`);
    for (const wanted of ['fd00:1::/64 fd00:1::1', 'fd00:1::1 link', 'default fd00:1::1']) {
      t.ok(six.includes(wanted), wanted);
    }
    const name = hostLinkName('ptpnet', { containerId: a.id, ifname: 'eth0' });
    const [host] = await ip(world.host.netns, 'addr', 'show', name);
    t.match(
      host.addr_info.map(
        ({ local, prefixlen }: { local: string; prefixlen: number }) => `${local}/${prefixlen}`,
      ),
      ['10.1.0.1/32', 'fd00:1::1/128'],
    );
    t.same(
      one.interfaces.map((link: { name: string }) => link.name),
      [name, 'eth0'],
    );
    t.same(
      one.ips.map((entry: { interface: number }) => entry.interface),
      [1, 1],
    );
  });

  t.test('DEL takes all away', async (t) => {
    await world.ok('CHECK', PTP, { container: a, prevResult: one });
    await world.ok('DEL', PTP, { container: a, prevResult: one });
    await world.ok('DEL', PTP, { container: b });
    t.same(await world.hostLinks(), []);
    t.same(await links(a.netns), ['lo']);
    t.same(await leases(world.host), []);
  });
});

t.test('MTU of the default route, dns of the configuration before that of IPAM', async (t) => {
  const world = await makeWorld(t);
  await makeOutside(t, world.host);
  await world.host.exec('ip', ['link', 'set', 'uplink', 'mtu', '1420']);
  const a = await world.container();
  const result = await world.add({ ...PTP, dns: { nameservers: ['192.0.2.53'] } }, a);
  t.equal((await ip(a.netns, 'link', 'show', 'eth0'))[0].mtu, 1420);
  t.same(result.dns, { nameservers: ['192.0.2.53'] });
  t.notOk(await ping(a.netns, OUTSIDE.v4, SILENCE), 'without masquerade the outside knows no way back');
});

t.test('what ptp cannot work with is refused, and nothing is left', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const { ipam: _, ...bare } = PTP;
  t.match((await world.call('ADD', bare, { container })).json, { code: 7, msg: /ptp needs ipam.type/ });
  const fixed = { ...PTP, ipam: { type: 'static', addresses: [{ address: '10.9.0.2/24' }] } };
  t.match((await world.call('ADD', fixed, { container })).json, {
    code: 7,
    msg: /10\.9\.0\.2\/24 without a gateway/,
  });
  t.same(await world.hostLinks(), []);
  t.same(await links(container.netns), ['lo']);
});
