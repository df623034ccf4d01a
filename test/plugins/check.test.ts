/** CHECK names each thing that is not as ADD made it, and tolerates what is there besides. */
import t from 'tap';
import { hostLinkName } from '../../plan/names.ts';
import { execIn } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

const PTP = { ...BRIDGE, name: 'ptpnet', type: 'ptp' };

/** What somebody does behind our back, and the words in which CHECK says so. HOST stands for the host's end. */
const BREAKS: { where: 'host' | 'container'; types: string[]; command: string; says: RegExp }[] = [
  {
    where: 'container',
    types: ['bridge', 'ptp'],
    command: 'ip addr del 10.1.0.2/24 dev eth0',
    says: /address 10\.1\.0\.2\/24 on eth0 in the container: wanted present, found nothing/,
  },
  {
    where: 'container',
    types: ['bridge', 'ptp'],
    command: 'ip addr del fd00:1::2/64 dev eth0',
    says: /address fd00:1::2\/64 on eth0 in the container/,
  },
  {
    where: 'container',
    types: ['bridge', 'ptp'],
    command: 'ip route del default',
    says: /route default via 10\.1\.0\.1 on eth0 in the container: wanted present, found nothing/,
  },
  {
    where: 'container',
    types: ['bridge', 'ptp'],
    command: 'ip -6 route del default',
    says: /route default via fd00:1::1 on eth0 in the container/,
  },
  {
    where: 'container',
    types: ['bridge', 'ptp'],
    command: 'ip link set eth0 down',
    says: /link eth0 in the container: wanted up, found down/,
  },
  {
    where: 'container',
    types: ['bridge'],
    command: 'ip link set eth0 address 0a:00:00:00:00:09',
    says: /MAC of link eth0 in the container: wanted .*, found 0a:00:00:00:00:09/,
  },
  {
    where: 'container',
    types: ['bridge'],
    command: 'ip link set eth0 mtu 1200',
    says: /MTU of link eth0 in the container: wanted 1500, found 1200/,
  },
  {
    where: 'container',
    types: ['bridge', 'ptp'],
    command: 'ip link del eth0',
    says: /link veth\w+ on the host: wanted present, found no such link; link eth0 in the container/,
  },
  {
    where: 'host',
    types: ['bridge'],
    command: 'ip link set HOST nomaster',
    says: /link veth\w+ on the host: wanted port of br0, found no port of a bridge/,
  },
  {
    where: 'host',
    types: ['bridge'],
    command: 'ip addr del 10.1.0.1/24 dev br0',
    says: /address 10\.1\.0\.1\/24 on br0 on the host/,
  },
  {
    where: 'host',
    types: ['bridge'],
    command: 'ip link set br0 down',
    says: /bridge br0 on the host: wanted up, found down/,
  },
  {
    where: 'host',
    types: ['bridge', 'ptp'],
    command: 'sysctl -w net.ipv4.ip_forward=0',
    says: /sysctl net\/ipv4\/ip_forward on the host: wanted 1, found 0/,
  },
  {
    where: 'host',
    types: ['ptp'],
    command: 'ip route del 10.1.0.2/32',
    says: /route 10\.1\.0\.2\/32 on veth\w+ on the host: wanted present, found nothing/,
  },
];

for (const config of [BRIDGE, PTP]) {
  t.test(`${config.type}: each thing that is missing is named`, async (t) => {
    const world = await makeWorld(t);
    for (const { where, command, says } of BREAKS.filter(({ types }) => types.includes(config.type))) {
      const container = await world.container();
      const prevResult = await world.add(config, container);
      await world.ok('CHECK', config, { container, prevResult });
      const host = hostLinkName(config.name, { containerId: container.id, ifname: 'eth0' });
      // Every round starts at the first addresses again.
      const [file = '', ...args] = command.replace('HOST', host).split(' ');
      await execIn(where === 'host' ? world.host.netns : container.netns, file, args);
      const answer = await world.call('CHECK', config, { container, prevResult });
      t.match(answer.json, { code: 101, msg: says }, command);
      await world.ok('DEL', config, { container, prevResult });
      await world.host.exec('sh', ['-c', 'ip link del br0 2>/dev/null; sysctl -qw net.ipv4.ip_forward=1']);
      await world.host.exec('sh', ['-c', `rm -f ${world.host.dirs.data}/*/last_reserved_ip.*`]);
    }
  });
}

t.test('what later plugins of the chain change is tolerated', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const result = await world.add(BRIDGE, container);
  await execIn(container.netns, 'ip', ['addr', 'add', '192.0.2.9/24', 'dev', 'eth0']);
  await execIn(container.netns, 'ip', ['route', 'add', '198.51.100.0/24', 'via', '10.1.0.1']);
  await execIn(container.netns, 'ip', ['link', 'set', 'eth0', 'address', '0a:00:00:00:00:09', 'mtu', '1300']);
  const interfaces = result.interfaces.map((link: { sandbox?: string }) =>
    link.sandbox ? { ...link, mac: '0a:00:00:00:00:09', mtu: 1300 } : link,
  );
  await world.ok('CHECK', BRIDGE, { container, prevResult: { ...result, interfaces } });
});

t.test('CHECK without prevResult, and of a lease that is gone, fails', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const prevResult = await world.add(BRIDGE, container);
  t.match((await world.call('CHECK', BRIDGE, { container })).json, { code: 7, msg: /prevResult/ });
  await world.host.exec('sh', ['-c', `rm ${world.host.dirs.data}/mynet/10.1.0.2`]);
  t.match((await world.call('CHECK', BRIDGE, { container, prevResult })).json, {
    code: 101,
    msg: /10\.1\.0\.2/,
  });
});

t.test('two interfaces with a default route each, which the kernel joins', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const one = await world.add(BRIDGE, container);
  const two = await world.add(BRIDGE, container, { ifname: 'net1' });
  await world.ok('CHECK', BRIDGE, { container, prevResult: one });
  await world.ok('CHECK', BRIDGE, { container, ifname: 'net1', prevResult: two });
});
