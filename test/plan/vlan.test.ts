/**
 * A VLAN of a bridge as a link. Kernels without 802.1Q refuse to make one, so what happens after that is proved with a host that
 * answers as the kernel would.
 */
import t from 'tap';
import { type Namespace, NetlinkError, type Op } from '../../netlink/door.ts';
import type { Link } from '../../netlink/link.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { apply, remove, render, verify } from '../../plan/engine.ts';
import type { Plan, VlanStep } from '../../plan/step.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import { exec, links, makeHost } from '../support/host.ts';

const VLAN: VlanStep = { kind: 'vlan', name: 'br0.5', bridge: 'br0', id: 5 };
const PLAN: Plan = [{ kind: 'bridge', name: 'br0', mac: '02:00:00:00:00:01', mtu: 1500 }, VLAN];

function surroundings(host: Namespace): Surroundings {
  const none = async () => Promise.reject(new Error('no packet filter in this test'));
  const parts = { firewall: none, macFilter: none, ports: none, forward: none };
  return { host, container: undefined, ...parts, sleep: async () => {} };
}

t.test('a kernel without VLAN links is named, and nothing is left', async (t) => {
  const host = await makeHost(t);
  const namespace = await openDoor().open(host.netns);
  t.teardown(() => namespace.close());
  await exec('ip', ['-n', host.name, 'link', 'add', 'probe', 'type', 'bridge']);
  const probe = ['-n', host.name, 'link', 'add', 'link', 'probe', 'name', 'p.5', 'type', 'vlan', 'id', '5'];
  if ((await exec('ip', probe, { mayFail: true })).status === 0) {
    t.comment('this kernel has VLAN links (CONFIG_VLAN_8021Q)');
    await apply(PLAN, surroundings(namespace)).catch((error) => {
      t.match(error, { code: 102 }, 'but its bridges cannot filter VLANs');
    });
    return;
  }
  await t.rejects(apply(PLAN, surroundings(namespace)), {
    code: 102,
    message:
      "cannot make br0.5, the gateway's link in its VLAN: the kernel of this host has no VLAN links (CONFIG_VLAN_8021Q); " +
      'remove vlan or isGateway',
  });
  t.same(await links(host.netns), ['lo', 'probe']);
});

t.test(
  'what the reference plugin made in its place serves; another link of that name does not',
  async (t) => {
    const host = await makeHost(t);
    const namespace = await openDoor().open(host.netns);
    t.teardown(() => namespace.close());
    const ip = (...words: string[]) => exec('ip', ['-n', host.name, ...words]);
    await ip('link', 'add', 'br0.5', 'type', 'veth', 'peer', 'name', 'port');
    const { facts } = await apply(PLAN, surroundings(namespace));
    t.ok(facts['host/br0.5']?.index);
    t.same(await verify(PLAN, surroundings(namespace)), []);
    await ip('link', 'del', 'br0.5');
    t.match(await verify(PLAN, surroundings(namespace)), [
      { what: 'link br0.5 on the host', found: 'no such link' },
    ]);
    await ip('link', 'add', 'br0.5', 'type', 'bridge');
    await t.rejects(apply(PLAN, surroundings(namespace)), {
      code: 104,
      message: 'wanted br0.5 to be VLAN 5 of bridge br0, found a link of kind bridge of that name: remove it',
    });
    t.match(await verify(PLAN, surroundings(namespace)), [{ found: 'a link of kind bridge' }]);
  },
);

interface Fake {
  namespace: Namespace;
  asked: string[];
  links: Map<string, Partial<Link>>;
  /** VLANs that the bridge itself is in. */
  vids: Set<number>;
}

/** A host whose kernel has VLAN links and filtering. `refuse` fails the operation that is so described. */
function fakeHost(refuse?: string): Fake {
  const found = new Map<string, Partial<Link>>([['br0', { index: 10, kind: 'bridge', up: true, mtu: 1500 }]]);
  const asked: string[] = [];
  const vids = new Set<number>();
  const answer = (op: Op, index: number) => {
    asked.push(op.what);
    const fail = (errno: string) => new NetlinkError({ errno, what: op.what, index });
    if (op.what === refuse) throw fail('ENOMEM');
    const [, verb, name = ''] = /^(look up link|create vlan|delete link) (.*)$/.exec(op.what) ?? [];
    if (op.what === 'add VLANs to link 10') vids.add(5);
    if (op.what === 'list VLANs of link 10') return { ok: true, value: [...vids].map((vid) => ({ vid })) };
    if (op.what === 'list links') return { ok: true, value: [...found.values()] };
    if (verb === 'create vlan')
      found.set(name, { index: 11, kind: 'vlan', vlan: { id: 5 }, link: 10, up: true });
    const link = found.get(name);
    if (verb === 'delete link') found.delete(name);
    if (verb === undefined || link) return { ok: true, value: link };
    const error = fail('ENODEV');
    if (!op.tolerate?.includes('ENODEV')) throw error;
    return { ok: false, error };
  };
  const namespace = { send: async (...ops: Op[]) => ops.map(answer) } as unknown as Namespace;
  return { namespace, asked, links: found, vids };
}

t.test('where the kernel has them: made once, the bridge in the VLAN, shared by all', async (t) => {
  const { namespace, asked, links, vids } = fakeHost();
  await apply([VLAN], surroundings(namespace));
  t.same(asked, ['look up link br0', 'look up link br0.5', 'create vlan br0.5', 'add VLANs to link 10']);
  t.same(await verify([VLAN], surroundings(namespace)), []);
  asked.length = 0;
  await apply([VLAN], surroundings(namespace));
  t.same(asked, ['look up link br0', 'look up link br0.5', 'add VLANs to link 10'], 'the second time');
  await remove([VLAN], surroundings(namespace));
  t.ok(links.has('br0.5'), 'DEL of one attachment leaves it');

  links.set('br0.5', { index: 11, kind: 'vlan', vlan: { id: 6 }, link: 10, up: true });
  t.match(await verify([VLAN], surroundings(namespace)), [
    { wanted: 'VLAN 5 of bridge br0', found: 'VLAN 6' },
  ]);
  links.set('br0.5', { index: 11, kind: 'vlan', vlan: { id: 5 }, link: 99, up: true });
  t.match(await verify([VLAN], surroundings(namespace)), [{ found: 'a VLAN of link 99' }]);
  links.set('br0.5', { index: 11, kind: 'vlan', vlan: { id: 5 }, link: 10, up: false });
  t.match(await verify([VLAN], surroundings(namespace)), [{ wanted: 'up', found: 'down' }]);
  links.set('br0.5', { index: 11, kind: 'vlan', vlan: { id: 5 }, link: 10, up: true });
  vids.clear();
  t.match(await verify([VLAN], surroundings(namespace)), [{ wanted: 'in VLAN 5', found: 'not in it' }]);
});

t.test('a failure after it was made takes it back, unless the bridge has other ports', async (t) => {
  const alone = fakeHost('add VLANs to link 10');
  await t.rejects(apply([VLAN], surroundings(alone.namespace)), { message: /ENOMEM/ });
  t.notOk(alone.links.has('br0.5'));
  const shared = fakeHost('add VLANs to link 10');
  shared.links.set('veth0', { index: 12, name: 'veth0', master: 10 });
  await t.rejects(apply([VLAN], surroundings(shared.namespace)), { message: /ENOMEM/ });
  t.ok(shared.links.has('br0.5'));
});

t.test('as a person would type it', async (t) => {
  t.same(render([VLAN], { netns: '/run/netns/c1', masquerade: () => [] }), [
    'ip link add link br0 name br0.5 up type vlan id 5',
    'bridge vlan add dev br0 vid 5 self',
  ]);
});
