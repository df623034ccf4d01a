import t from 'tap';
import type { Door, Namespace, Op, Replies } from '../../netlink/door.ts';
import { createBridge, deleteLink } from '../../netlink/link.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { leases, ping } from '../support/host.ts';
import { BRIDGE, makeWorld } from './world.ts';

t.test('many ADDs at once make one bridge, and every container has its own address', async (t) => {
  const world = await makeWorld(t);
  const containers = await Promise.all(Array.from({ length: 12 }, () => world.container()));
  const results = await Promise.all(containers.map((container) => world.add(BRIDGE, container)));
  const addresses = results.flatMap(({ ips }) => ips.map(({ address }: { address: string }) => address));
  t.equal(new Set(addresses).size, 24);
  const [first, last] = [containers[0], results.at(-1)];
  t.ok(await ping(first?.netns ?? '', last.ips[0].address.split('/')[0]));
  await Promise.all(
    containers.map((container, i) => world.ok('DEL', BRIDGE, { container, prevResult: results[i] })),
  );
  t.same(await world.hostLinks(), ['br0']);
  t.same(await leases(world.host), []);
});

/** A door that lets somebody else act right before an operation, the first `times` times. */
function meddledDoor(before: RegExp, times: number, act: (namespace: Namespace) => Promise<unknown>): Door {
  const door = openDoor();
  let left = times;
  return {
    async open(path) {
      const namespace = await door.open(path);
      const send = namespace.send.bind(namespace);
      return Object.assign(namespace, {
        async send<const T extends readonly Op[]>(...ops: T): Promise<Replies<T>> {
          if (left > 0 && ops.some(({ what }) => before.test(what))) {
            left -= 1;
            await act({ ...namespace, send });
          }
          return await send(...ops);
        },
      });
    },
  };
}

const removeBridge = (namespace: Namespace) => namespace.send(deleteLink('br0'));

t.test('a bridge that vanishes between two looks is made again', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  await world.add(BRIDGE, container, { door: meddledDoor(/^create veth/, 2, removeBridge) });
  t.ok(await ping(container.netns, '10.1.0.1'));
});

t.test('a bridge that vanishes again and again is told, and nothing is left', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const door = meddledDoor(/^create veth/, 99, removeBridge);
  const { json } = await world.call('ADD', BRIDGE, { container, door });
  t.match(json, { code: 11, msg: /bridge br0 was removed by somebody else/ });
  t.same(await world.hostLinks(), []);
  t.same(await leases(world.host), []);
});

t.test('a bridge that somebody else makes first is used', async (t) => {
  const world = await makeWorld(t);
  const container = await world.container();
  const make = (namespace: Namespace) => namespace.send(createBridge({ name: 'br0' }));
  await world.add(BRIDGE, container, { door: meddledDoor(/^create bridge/, 1, make) });
  t.ok(await ping(container.netns, '10.1.0.1'));
});
