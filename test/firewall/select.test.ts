import t from 'tap';
import { firewall } from '../../firewall/select.ts';
import { openDoor } from '../../netlink/namespace.ts';
import { realAmbient } from '../../runtime/ambient.ts';
import { execIn, makeHost, type Teardown } from '../support/host.ts';

const MEMBER = {
  network: 'net1',
  containerId: 'c1',
  ifname: 'eth0',
  sources: ['10.66.1.2'],
  except: ['10.66.0.0/16'],
};

async function hostOf(t: Teardown) {
  const host = await makeHost(t);
  const door = await openDoor().open(host.netns);
  t.teardown(() => door.close());
  return { host, door, ambient: realAmbient(host.env) };
}

t.test('nftables, where nothing speaks against it', async (t) => {
  const { door, ambient } = await hostOf(t);
  t.equal((await firewall(door, ambient)).name, 'nftables');
  t.equal((await firewall(door, ambient, 'iptables')).name, 'iptables', 'what is asked for');
});

t.test('iptables, where the host runs on legacy iptables', async (t) => {
  const { host, door, ambient } = await hostOf(t);
  await execIn(host.netns, 'iptables-legacy', ['-t', 'nat', '-A', 'POSTROUTING', '-j', 'ACCEPT']);
  t.equal((await firewall(door, ambient)).name, 'iptables');
  t.equal((await firewall(door, ambient, 'nftables')).name, 'nftables', 'what is asked for');
});

t.test('what was chosen stays', async (t) => {
  const { host, door, ambient } = await hostOf(t);
  await (await firewall(door, ambient)).addMasquerade(MEMBER);
  await execIn(host.netns, 'iptables-legacy', ['-t', 'nat', '-A', 'POSTROUTING', '-j', 'ACCEPT']);
  const backend = await firewall(door, ambient);
  t.equal(backend.name, 'nftables');
  t.strictSame(await backend.verifyMasquerade(MEMBER), []);
});

t.test('no program at all: told by name, but DEL and GC succeed', async (t) => {
  const { door, ambient } = await hostOf(t);
  const backend = await firewall(door, ambient, undefined, () => undefined);
  const refusal = { code: 50, message: /neither nft nor iptables is installed/ };
  await t.rejects(backend.probe(), refusal);
  await t.rejects(backend.addMasquerade(MEMBER), refusal);
  await t.rejects(backend.verifyMasquerade(MEMBER), refusal);
  await backend.removeMasquerade(MEMBER);
  t.strictSame(await backend.collectMasquerade('net1', []), []);
});

t.test('only iptables is installed', async (t) => {
  const { door, ambient } = await hostOf(t);
  const find = (_: unknown, name: string) => (name === 'nft' ? undefined : `/sbin/${name}`);
  t.equal((await firewall(door, ambient, undefined, find)).name, 'iptables');
});
