/** The ears of the agent's repair: they tell what was removed, close in a storm, and open again. */
import t from 'tap';
import { type Heard, signals } from '../../agent/repair/signals.ts';
import type { Monitor, Overrun } from '../../netlink/monitor.ts';
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
  t.teardown(() => {
    watch.close();
    namespace.close();
  });
  const run = (line: string) => host.exec('sh', ['-c', line]);

  await run('ip link add p0 type veth peer name p1; ip link set p0 up');
  t.same(heard, [], 'what comes is no reason to look');
  await run('sysctl -qw net.ipv4.ip_forward=1');
  await until('a setting is heard', () => heard.includes('state'));
  heard.length = 0;
  await run('ip link del p0');
  await until('a link that goes is heard', () => heard.includes('gone'));
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
});

t.test('a storm that begins while the ears are being opened leaves none open behind', async (t) => {
  const open = new Set<number>();
  let opened = 0;
  let [stormy, resumed] = [true, 0];
  const watch = await Watch.start<never>(
    async (arrived) => {
      const id = opened++;
      open.add(id);
      const storm = () => {
        for (let i = 0; i < 1000; i++) arrived();
      };
      if (stormy) storm();
      await new Promise((resolve) => setImmediate(resolve));
      if (stormy) setImmediate(storm);
      let end = () => {};
      const ended = new Promise<IteratorResult<Overrun>>((resolve) => {
        end = () => resolve({ done: true, value: undefined });
      });
      const close = () => {
        open.delete(id);
        end();
      };
      const monitor: Monitor<never> = { close, next: () => ended, [Symbol.asyncIterator]: () => monitor };
      return monitor;
    },
    {
      heard: () => {},
      resumed: () => {
        resumed += 1;
      },
      failed: (error) => t.fail(String(error)),
    },
  );
  await until('several storms are over', () => resumed >= 3);
  stormy = false;
  await until('one is open', () => open.size === 1);
  watch.close();
  // One that is being opened is closed when it is.
  await until('none is', () => open.size === 0);
  t.equal(open.size, 0);
});
