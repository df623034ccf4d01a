/** What attachments left behind whose end is proved is taken away; nothing else. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { recordNames } from '../../plugins/record.ts';
import { BRIDGE, makeWorld } from '../plugins/world.ts';
import { startAgent } from '../support/agent.ts';
import { exec, firewallLines, type Host, leases, type Teardown } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';

const skip = await weftIsMissing();
const CONFIG = { ...BRIDGE, ipMasq: true, ipMasqBackend: 'nftables' };
const folder = (host: Host) => join(host.dirs.cache, 'weft/attachments');

const agentOn = (host: Host, ...flags: string[]) =>
  startAgent(host, { bin: pluginsUnderTest(), name: `collecting-${Math.random()}`, flags });

/** The record of a container, changed on the disk. */
async function falsify(host: Host, id: string, changes: object): Promise<void> {
  for (const name of recordNames(folder(host))) {
    const file = join(folder(host), name);
    const record = JSON.parse(await readFile(file, 'utf8'));
    if (record.containerId === id) await writeFile(file, JSON.stringify({ ...record, ...changes }));
  }
}

/** A container's namespace goes without a DEL; what is left is there to be collected. */
async function vanish(id: string): Promise<void> {
  await exec('ip', ['netns', 'del', id]);
}

/** A container whose namespace a test may take away itself. */
async function mortal(t: Teardown, host: Host) {
  const id = `${host.name}-m${Math.random().toString(36).slice(2, 6)}`;
  await exec('ip', ['netns', 'add', id]);
  t.teardown(() => exec('ip', ['netns', 'del', id], { mayFail: true }).then(() => {}));
  return { id, netns: `/run/netns/${id}` };
}

t.test('after a restart of the host', { skip }, async (t) => {
  const world = await makeWorld(t);
  const [old, living] = [await world.container(), await world.container()];
  await world.add(CONFIG, old);
  await world.add(CONFIG, living);
  // Of the time before, only files are left.
  await world.host.exec('nft', ['flush', 'ruleset']);
  await falsify(world.host, old.id, { boot: 'another', host: '4:1', sandbox: '4:2' });
  const agent = await agentOn(world.host, '--collect-after', '0.5');
  await until('its leases are free', async () => (await leases(world.host)).length === 2);
  await until('it is said', async () => (await agent.log()).some(({ msg }) => msg === 'collected'));
  const [line] = (await agent.log()).filter(({ msg }) => msg === 'collected');
  t.match(line, { network: 'mynet', containerId: old.id, ifname: 'eth0', reason: /last start of this host/ });
  t.equal(recordNames(folder(world.host)).length, 1);
  t.ok((await firewallLines(world.host.netns, living.id)).length > 0);
});

t.test('a namespace that is gone', { skip }, async (t) => {
  const world = await makeWorld(t);
  const dead = await mortal(t, world.host);
  const living = await world.container();
  const prevResult = await world.add(CONFIG, dead);
  const limit = { cniVersion: '1.1.0', name: CONFIG.name, type: 'bandwidth', egressRate: 8e6 };
  await world.ok('ADD', limit, { container: dead, prevResult });
  await world.add(CONFIG, living);
  t.equal((await leases(world.host)).length, 4);
  const isLimited = async () => (await world.hostLinks()).some((name) => name.startsWith('ifb'));
  t.ok(await isLimited());
  await vanish(dead.id);
  const agent = await agentOn(world.host, '--collect-after', '0.5');
  await until('its leases are free', async () => (await leases(world.host)).length === 2);
  await until(
    'its elements are gone',
    async () => (await firewallLines(world.host.netns, dead.id)).length === 0,
  );
  await until('the link that it sent through is gone', async () => !(await isLimited()));
  t.ok((await firewallLines(world.host.netns, living.id)).length > 0);
  await until('it is said', async () =>
    (await agent.log()).some(({ msg, reason }) => msg === 'collected' && /is gone/.test(String(reason))),
  );
});

t.test('what cannot be proved stays, and is said once', { skip }, async (t) => {
  const world = await makeWorld(t);
  const [moved, remade, foreign] = [
    await world.container(),
    await world.container(),
    await world.container(),
  ];
  for (const container of [moved, remade, foreign]) await world.add(CONFIG, container);
  // Its path leads nowhere, but its namespace lives.
  await falsify(world.host, moved.id, { netns: '/run/netns/nowhere' });
  // Another program attached it again after the restart.
  await falsify(world.host, remade.id, { boot: 'another' });
  for (const lease of await leases(world.host)) {
    const file = join(world.host.dirs.data, lease);
    const text = await readFile(file, 'utf8');
    if (text.startsWith(remade.id)) await writeFile(file, text);
  }
  await falsify(world.host, foreign.id, { host: '4:1', netns: '/run/netns/nowhere' });
  const before = await leases(world.host);
  const agent = await agentOn(world.host, '--collect-after', '0');
  const left = async () => (await agent.log()).filter(({ msg }) => msg === 'left alone');
  await until('both are said', async () => (await left()).length === 2);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.same(await leases(world.host), before);
  t.equal((await left()).length, 2);
  const reasons = (await left()).map(({ containerId, reason }) => `${containerId} ${reason}`).join('\n');
  t.match(reasons, new RegExp(`${moved.id} .*nowhere is gone, but its link veth\\w+ stands`));
  t.match(reasons, new RegExp(`${remade.id} .*but its container holds`));
});

t.test('--no-collect', { skip }, async (t) => {
  const world = await makeWorld(t);
  const dead = await mortal(t, world.host);
  await world.add(CONFIG, dead);
  await vanish(dead.id);
  await agentOn(world.host, '--no-collect', '--collect-after', '0');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.equal((await leases(world.host)).length, 2);
});
