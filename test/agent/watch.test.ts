/** The ears of the agent's repair: they tell what was removed, close in a storm, and open again. */
import t from 'tap';
import { type Heard, signals } from '../../agent/repair/signals.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { Watch } from '../../netlink/watch.ts';
import { makeHost } from '../support/host.ts';
import { until } from '../support/until.ts';

t.test('storms are waited out, and what comes after is heard again', async (t) => {
  const host = await makeHost(t);
  const namespace = await openDoor().open(host.netns);
  const heard: Heard['kind'][] = [];
  let resumed = 0;
  const watch = await Watch.start((arrived) => signals(namespace, arrived), {
    heard: ({ kind }) => void heard.push(kind),
    resumed: () => {
      resumed += 1;
    },
    failed: (error) => t.fail(String(error)),
  });
  const run = (line: string) => host.exec('sh', ['-c', line]);

  await run('ip link add p0 type veth peer name p1; ip link set p0 up');
  t.same(heard, [], 'what comes is no reason to look');
  await run('sysctl -qw net.ipv4.ip_forward=1');
  await until('a setting is heard', () => heard.includes('state'));
  heard.length = 0;
  await run('ip link del p0');
  await until('a link that goes is heard', () => heard.includes('state'));
  await run('nft add table inet x; nft delete table inet x');
  await until('so is a table, and who did it', () => heard.includes('rules') && heard.includes('author'));
  t.equal(resumed, 0);

  const lines = Array.from({ length: 1000 }, (_, i) => {
    const address = `10.${100 + (i >> 8)}.${i & 255}.1/32 dev lo`;
    return `addr add ${address}\naddr del ${address}\n`;
  }).join('');
  heard.length = 0;
  let removals = 0;
  await until('the ears were closed, and are open again', async () => {
    await host.exec('ip', ['-batch', '-'], { input: lines });
    removals += 1000;
    return resumed > 0;
  });
  t.ok(
    heard.length < 2 * removals,
    `${heard.length} signals of ${removals} addresses and their routes, ${resumed} looks`,
  );
  await until('a single one is heard', async () => {
    heard.length = 0;
    await run('ip addr add 10.1.0.1/32 dev lo; ip addr del 10.1.0.1/32 dev lo');
    return heard.includes('state');
  });
  watch.close();
  namespace.close();
});
