/** A container on two networks: by which link it answers, as packets and `ip` show it. */
import t from 'tap';
import { type Container, execIn, ip, makeOutside, OUTSIDE, ping, SILENCE, UPLINK } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

const SECOND = {
  ...BRIDGE,
  ...{ name: 'second', bridge: 'br1' },
  ipam: {
    ...BRIDGE.ipam,
    ranges: [[{ subnet: '10.2.0.0/24' }], [{ subnet: 'fd00:2::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }, { dst: '192.0.2.0/24', mtu: 1300 }],
  },
};
const config = (name: string, more: object = {}) => ({
  ...{ cniVersion: '1.1.0', name, type: 'sbr' },
  ...more,
});

/** `from 10.2.0.2 lookup 123`, but for those that every namespace has. */
async function rules({ netns }: Pick<Container, 'netns'>): Promise<string[]> {
  const all = [...(await ip(netns, 'rule')), ...(await ip(netns, '-6', 'rule'))];
  return all.filter(({ src }) => src !== 'all').map(({ src, table }) => `from ${src} lookup ${table}`);
}

/** `default via 10.2.0.1 dev eth1 table 123` of all tables but the local one, sorted. */
async function routes({ netns }: Pick<Container, 'netns'>): Promise<string[]> {
  const lines = await Promise.all(
    ['-4', '-6'].map((family) => execIn(netns, 'ip', [family, 'route', 'show', 'table', 'all'])),
  );
  return lines
    .flatMap(({ stdout }) => stdout.split('\n'))
    .filter((line) => line !== '' && !/table local|fe80|ff00|dev lo/.test(line))
    .map((line) => line.replace(/ pref medium/, '').trim())
    .sort();
}

t.test('by packets: each network is answered by its own link', async (t) => {
  const world = await makeWorld(t);
  const { netns } = world.host;
  const outside = await makeOutside(t, world.host);
  for (const subnet of ['10.1.0.0/24', '10.2.0.0/24'])
    await execIn(outside, 'ip', ['route', 'add', subnet, 'via', UPLINK.v4]);
  for (const subnet of ['fd00:1::/64', 'fd00:2::/64'])
    await execIn(outside, 'ip', ['route', 'add', subnet, 'via', UPLINK.v6]);
  const container = await world.container();
  const first = await world.add(BRIDGE, container);
  const before = await routes(container);
  const second = await world.add(SECOND, container, { ifname: 'eth1' });
  const bare = await routes(container);
  const [v4, v6] = second.ips.map(({ address }: { address: string }) => address.split('/')[0]);
  // Strict reverse path filtering, for both families: who comes in by the wrong bridge is dropped.
  for (const bridge of ['all', 'br0', 'br1'])
    await execIn(netns, 'sysctl', ['-qw', `net.ipv4.conf.${bridge}.rp_filter=1`]);
  await execIn(netns, 'nft', [
    'add table inet strict; add chain inet strict in { type filter hook prerouting priority 0; };' +
      'add rule inet strict in iifname br0 ip6 saddr fd00:2::/64 drop; add rule inet strict in iifname br1 ip6 saddr fd00:1::/64 drop',
  ]);
  const addresses = [...first.ips, ...second.ips].map(({ address }) => address.split('/')[0] as string);
  const reached = async (seconds?: number) =>
    await Promise.all(addresses.map((address) => ping(outside, address, seconds)));
  t.ok((await reached(SILENCE)).includes(false), 'two default routes are one too many');

  const conf = config('second');
  const options = { container, ifname: 'eth1', prevResult: second };
  await world.ok('STATUS', conf);
  const { json: result } = await world.ok('ADD', conf, options);
  t.same(await reached(), [true, true, true, true], 'with sbr all are answered');
  for (const [source, dev] of [
    [v4, 'eth1'],
    [v6, 'eth1'],
  ] as const) {
    const to = source.includes(':') ? OUTSIDE.v6 : OUTSIDE.v4;
    t.match((await ip(container.netns, 'route', 'get', to, 'from', source))[0], { dev });
    t.match(
      (await ip(container.netns, 'route', 'get', to))[0],
      { dev: 'eth0' },
      'who says nothing goes by the first',
    );
  }
  const [table] = (await rules(container)).map((line) => line.split(' ').at(-1));
  t.match(table, /^[1-9]\d{8}$/);
  t.same(await rules(container), [`from ${v4} lookup ${table}`, `from ${v6} lookup ${table}`]);
  t.same(
    await routes(container),
    [
      ...before,
      `10.2.0.0/24 dev eth1 table ${table} proto kernel scope link src ${v4}`,
      `192.0.2.0/24 via 10.2.0.1 dev eth1 table ${table} mtu 1300`,
      `default via 10.2.0.1 dev eth1 table ${table}`,
      `default via fd00:2::1 dev eth1 table ${table} metric 1024`,
      `fd00:2::/64 dev eth1 table ${table} proto kernel metric 256`,
    ].sort(),
  );
  t.same(
    result.routes.map(({ table }: { table: number }) => `${table}`),
    [table, table, table],
  );

  const now = { ...options, prevResult: result };
  const made = await routes(container);
  await world.ok('CHECK', conf, now);
  await world.ok('CHECK', SECOND, now);
  await world.ok('CHECK', { ...SECOND, cniVersion: '1.0.0' }, options);
  await world.ok('ADD', conf, options);
  t.same(
    [...(await rules(container)), ...(await routes(container))],
    [...[`from ${v4} lookup ${table}`, `from ${v6} lookup ${table}`], ...made],
    'an ADD may be repeated',
  );
  const inside = async (...args: string[]) => await execIn(container.netns, 'ip', args);
  await inside('rule', 'del', 'from', v4);
  await inside('-6', 'route', 'del', 'default', 'table', `${table}`);
  await inside('route', 'add', 'default', 'via', '10.2.0.1', 'dev', 'eth1', 'onlink', 'metric', '9');
  t.match((await world.call('CHECK', conf, now)).json, {
    code: 101,
    msg: new RegExp(
      `policy rule from ${v4} to table ${table} .*default route on eth1 in table ${table}.*via fd00:2::1.* in table main`,
    ),
  });
  await world.ok('ADD', conf, options);
  await world.ok('CHECK', conf, now);

  await world.ok('DEL', conf, { container: { id: container.id, netns: '' }, ifname: 'eth1' });
  await world.ok('DEL', config('second', { table: 7 }), { container, ifname: 'eth1' });
  t.same(await rules(container), [], 'without previous result, and whatever the configuration says by now');
  t.same(
    (await routes(container)).filter((line) => !line.includes('metric 9')),
    bare
      .flatMap((line) =>
        line.startsWith('nexthop')
          ? []
          : line === 'default metric 1024'
            ? ['default via fd00:1::1 dev eth0 metric 1024']
            : [line],
      )
      .sort(),
    'routes are back; the one that somebody deleted is not',
  );
  await world.ok('DEL', conf, now);
  await world.ok('GC', { ...conf, 'cni.dev/valid-attachments': [] });
});

t.test('fields, and what the reference left', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await world.add(SECOND, container);
  const [v4, v6] = prevResult.ips.map(({ address }: { address: string }) => address.split('/')[0]);
  const options = { container, prevResult };
  const before = await routes(container);
  const seen = async (more: object) => {
    await world.ok('ADD', config('second', more), options);
    await world.ok('CHECK', config('second', more), options);
    const now = { rules: await rules(container), routes: await routes(container) };
    await world.ok('DEL', config('second', more), options);
    t.same([...(await rules(container)), ...(await routes(container))], before, 'as before');
    return now;
  };
  t.same(await seen({ table: 500 }), {
    rules: [`from ${v4} lookup 500`, `from ${v6} lookup 500`],
    routes: before,
  });
  const gateways = await seen({ gateways: ['10.2.0.77', 'fd00:2::77'] });
  t.match(
    gateways.routes.filter((line) => line.includes('proto 119')),
    [/default via 10.2.0.77 /, /default via fd00:2::77 /],
  );
  const hints = await seen({ addSourceHints: true });
  t.match(hints.routes.filter((line) => !line.includes('table')).sort(), [
    `10.2.0.0/24 dev eth0 proto kernel scope link src ${v4}`,
    `fd00:2::/64 dev eth0 proto kernel src ${v6} metric 256`,
  ]);

  const add = async (more: object, result: unknown = prevResult) =>
    (await world.call('ADD', config('second', more), { container, prevResult: result })).json;
  t.match(await add({ gateways: ['10.2.0.7', '10.2.0.8'] }), { code: 7, msg: /at most one IPv4/ });
  t.match(await add({ gateways: ['10.2.0.777'] }), { code: 7, msg: /10.2.0.777/ });
  t.match(await add({ table: 0 }), { code: 7, msg: /table/ });
  t.match(await add({}, { ...prevResult, ips: [] }), { code: 7, msg: /gave eth0 no address/ });
  t.match(await add({ gateways: ['192.0.2.9'] }), { code: 100, msg: /192.0.2.9/ });
  t.same([...(await rules(container)), ...(await routes(container))], before, 'what fails leaves nothing');

  const theirs = {
    ...config('second'),
    cniVersion: '1.0.0',
    prevResult: { ...prevResult, cniVersion: '1.0.0' },
  };
  await world.host.exec('/usr/lib/cni/sbr', [], {
    env: {
      ...{ CNI_COMMAND: 'ADD', CNI_CONTAINERID: container.id, CNI_NETNS: container.netns },
      ...{ CNI_IFNAME: 'eth0', CNI_PATH: '/usr/lib/cni' },
    },
    input: JSON.stringify(theirs),
  });
  t.comment(JSON.stringify([await rules(container), await routes(container)]));
  await world.ok('DEL', config('second'), options);
  t.same(await rules(container), []);
});
