import t from 'tap';
import { addAddress } from '../../netlink/address.ts';
import { createBridge, createVeth, deleteLink, setLink } from '../../netlink/link.ts';
import { type Event, type Monitor, monitor } from '../../netlink/monitor.ts';
import { addNeighbour } from '../../netlink/neighbour.ts';
import { addRoute } from '../../netlink/route.ts';
import { ask, namespaceFor } from './support.ts';

async function until(events: Monitor, wanted: (event: Event) => boolean): Promise<Event> {
  for (;;) {
    const { value, done } = await events.next();
    if (done) throw new Error('the stream ended first');
    if (wanted(value)) return value;
  }
}

t.test('what happens in a namespace is told', async (t) => {
  const { ns, nft } = await namespaceFor(t);
  const events = await monitor(ns, ['link', 'address', 'route', 'neighbour', 'nftables']);
  t.teardown(() => events.close());
  const bridge = await ask(ns, createBridge({ name: 'br0', up: true }));
  t.match(await until(events, (event) => event.kind === 'link'), {
    gone: false,
    link: { name: 'br0', index: bridge.index },
  });
  await ns.send(addAddress({ link: bridge.index, address: '10.1.0.1/24' }));
  t.match(await until(events, (event) => event.kind === 'address' && event.address.family === 2), {
    gone: false,
    address: { cidr: '10.1.0.1/24', link: bridge.index },
  });
  await ns.send(addRoute({ dst: '10.9.0.0/16', gateway: '10.1.0.2' }));
  t.match(await until(events, (event) => event.kind === 'route' && event.route.dst === '10.9.0.0/16'), {
    gone: false,
  });
  await ns.send(addNeighbour({ link: bridge.index, address: '10.1.0.2', mac: '02:00:00:00:00:02' }));
  await until(events, (event) => event.kind === 'neighbour' && event.neighbour.mac === '02:00:00:00:00:02');
  nft('table inet seen {}');
  t.match(await until(events, (event) => event.kind === 'nftables'), { type: 0 });

  await ask(ns, createVeth({ name: 'v0', master: bridge.index, peer: { name: 'v1' } }));
  await ns.send(setLink('v0', { master: 0 }));
  await ns.send(deleteLink('br0'));
  const gone = await until(events, (event) => event.kind === 'link' && event.gone);
  t.match(gone, { link: { name: 'br0' } }, 'a port that leaves its bridge is not a link that is gone');
});

t.test('a listener to some types of messages is not told of others', async (t) => {
  const { ns, nft } = await namespaceFor(t);
  const RTM_DELLINK = 17;
  const events = await monitor(ns, ['link', 'address', 'nftables'], undefined, [RTM_DELLINK]);
  t.teardown(() => events.close());
  const { index } = await ask(ns, createBridge({ name: 'br0', up: true }));
  await ns.send(addAddress({ link: index, address: '10.1.0.1/24' }));
  await ns.send(deleteLink('br0'));
  t.match(
    (await events.next()).value,
    { kind: 'link', gone: true, link: { name: 'br0' } },
    'the first thing heard',
  );
  nft('table inet seen {}');
  t.match(
    await until(events, (event) => event.kind !== 'link'),
    { kind: 'nftables' },
    'other families as ever',
  );
});

t.test('losses surface as an overrun', async (t) => {
  const { ns, run, name } = await namespaceFor(t);
  const events = await monitor(ns, ['neighbour']);
  t.teardown(() => events.close());
  run('ip', 'link', 'add', 'br0', 'up', 'type', 'bridge');
  const lines = Array.from(
    { length: 12_000 },
    (_, i) =>
      `neigh replace 10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255} lladdr 02:00:00:00:00:01 dev br0`,
  );
  const { execFileSync } = await import('node:child_process');
  // All of it while this thread is blocked and reads nothing.
  for (let round = 0; round < 2; round++) {
    execFileSync('ip', ['-n', name, '-batch', '-'], {
      input: lines.join('\n').replaceAll(':01 ', `:0${round + 1} `),
    });
  }
  await until(events, (event) => event.kind === 'overrun');
  t.pass('told');
});

t.test('it ends', async (t) => {
  const { ns } = await namespaceFor(t);
  const events = await monitor(ns, ['link']);
  const waiting = events.next();
  events.close();
  events.close();
  t.same(await waiting, { done: true, value: undefined });
  const second = await monitor(ns, ['link']);
  ns.close();
  await second.return?.();
  await t.rejects(monitor(ns, ['link']), { code: 'EBADF' });
  await t.rejects(monitor({} as never, ['link']), /want a namespace opened by openDoor/);
});
