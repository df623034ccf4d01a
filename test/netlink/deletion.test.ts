/** A deletion is answered when the link is gone for everybody who looks; what the kernel does after that holds nobody up. */
import t from 'tap';
import { addAddress } from '../../netlink/address.ts';
import type { Namespace } from '../../netlink/door.ts';
import { createVeth, deleteLink, getLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { ask, namespaceFor, refused } from './support.ts';

const pair = (ns: Namespace, name: string, container: Namespace, inside: string) =>
  ask(ns, createVeth({ name, up: true, peer: { name: inside, netnsFd: container.fd } }));

t.test('the names of both ends and the address can be used again at once, a hundred times', async (t) => {
  const host = await namespaceFor(t);
  const container = await namespaceFor(t);
  for (let round = 0; round < 100; round++) {
    await pair(host.ns, 'outer', container.ns, 'eth0');
    const { index } = await ask(container.ns, getLink('eth0'));
    await ask(container.ns, addAddress({ link: index, address: '10.9.0.2/24' }));
    await ask(host.ns, deleteLink('outer'));
    const [outer] = await host.ns.send(tolerating(getLink('outer'), 'ENODEV'));
    const [inner] = await container.ns.send(tolerating(getLink('eth0'), 'ENODEV'));
    if (outer.ok || inner.ok) t.fail(`round ${round}: still there`);
  }
  t.same(
    host.json('ip', '-j', 'link').map(({ ifname }) => ifname),
    ['lo'],
  );
  t.same(
    container.json('ip', '-j', 'addr').map(({ ifname }) => ifname),
    ['lo'],
  );
});

t.test('by index, from inside the container', async (t) => {
  const host = await namespaceFor(t);
  const container = await namespaceFor(t);
  await pair(host.ns, 'outer', container.ns, 'eth0');
  const { index } = await ask(container.ns, getLink('eth0'));
  await ask(container.ns, deleteLink(index));
  t.equal((await refused(host.ns, getLink('outer'))).errno, 'ENODEV');
});

t.test('what is not there, and what cannot be deleted, is refused as ever', async (t) => {
  const { ns } = await namespaceFor(t);
  t.equal((await refused(ns, deleteLink('nothing'))).errno, 'ENODEV');
  t.equal((await refused(ns, deleteLink('lo'))).errno, 'EOPNOTSUPP');
  t.equal((await ask(ns, getLink('lo'))).name, 'lo');
});

t.test('other links that go at the same time are not taken for the one that was meant', async (t) => {
  const host = await namespaceFor(t);
  const others = await openDoor().open(host.path);
  t.teardown(() => others.close());
  for (let i = 0; i < 20; i++) await pair(others, `other${i}`, others, `peer${i}`);
  const going = Promise.all(Array.from({ length: 20 }, (_, i) => ask(others, deleteLink(`other${i}`))));
  for (let i = 0; i < 20; i++) t.equal((await refused(host.ns, deleteLink('nothing'))).errno, 'ENODEV');
  await going;
});

t.test('many at once, over one socket, and more than there are threads for', async (t) => {
  const host = await namespaceFor(t);
  const { ns } = host;
  const count = 120;
  for (let i = 0; i < count; i++) await pair(ns, `a${i}`, ns, `b${i}`);
  await Promise.all(Array.from({ length: count }, (_, i) => ask(ns, deleteLink(`a${i}`))));
  t.same(
    host.json('ip', '-j', 'link').map(({ ifname }) => ifname),
    ['lo'],
  );
});
