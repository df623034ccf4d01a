/** What of the kernel's notifications is a reason to look: as the kernel of a host tells of links that others and we take away. */
import t from 'tap';
import { type Heard, signals } from '../../agent/repair/signals.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { ip, makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';

t.test('a container’s link that goes takes along what it had, and others lose something', async (t) => {
  const host = await makeHost(t);
  const namespace = await openDoor().open(host.netns);
  const heard: Heard[] = [];
  const monitor = await signals(namespace, () => {});
  t.teardown(() => {
    monitor.close();
    namespace.close();
  });
  const listening = (async () => {
    for await (const signal of monitor) heard.push(signal);
  })();
  const run = (line: string) => host.exec('sh', ['-ec', line]);
  const indexOf = async (dev: string) =>
    Number((await ip(host.netns, 'link', 'show', 'dev', dev))[0]?.ifindex);
  await run(
    'ip link add br0 type bridge; ip link add p0 type veth peer name p1; ip link set p0 up master br0; ip link set p1 up; ' +
      'ip link set br0 up; ip addr add 10.1.0.1/24 dev br0; ip route add 10.2.0.0/16 dev p0 proto static',
  );
  const [bridge, port] = [await indexOf('br0'), await indexOf('p0')];
  t.same(heard, [], 'what comes is no reason to look');

  await run('ip link set p0 nomaster');
  await until('a port that left is heard', () => heard.length > 0);
  t.same(heard.splice(0), [{ kind: 'state', link: port }]);
  await run('ip addr del 10.1.0.1/24 dev br0');
  await until('an address is heard', () => heard.length > 0);
  t.same(heard.splice(0), [{ kind: 'state', link: bridge }], 'and not the route that the kernel made for it');

  await run('ip route del 10.2.0.0/16 dev p0');
  await until('a route is heard', () => heard.length > 0);
  t.same(heard.splice(0), [{ kind: 'state', link: port }]);

  await run('ip link set p0 master br0; ip link del p0');
  await until('both ends are heard', () => heard.filter(({ kind }) => kind === 'gone').length === 2);
  const gone = heard.flatMap((signal) =>
    signal.kind === 'gone' && signal.isContainers ? [signal.link] : [],
  );
  t.ok(gone.includes(port));
  for (const signal of heard) t.ok('link' in signal && gone.includes(signal.link), JSON.stringify(signal));
  heard.length = 0;
  await run('ip link del br0');
  await until('the bridge is heard', () => heard.some(({ kind }) => kind === 'gone'));
  t.same(heard.at(-1), { kind: 'gone', link: bridge, isContainers: false });

  heard.length = 0;
  await run(
    'nft add table inet x; nft add set inet x s "{ type ipv4_addr; }"; nft add element inet x s "{ 1.2.3.4 }"',
  );
  await run('nft delete element inet x s "{ 1.2.3.4 }"');
  await until('elements are heard', () => heard.some(({ kind }) => kind === 'elements'));
  await until('and who removed them', () => heard.at(-1)?.kind === 'author');
  t.match(heard.at(-1), { kind: 'author', name: 'nft', thread: Number });
  monitor.close();
  await listening;
});
