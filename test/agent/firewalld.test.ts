/** A host with firewalld: containers are sources of a zone, also after a reload; and nothing stays that DEL or GC took away. */
import t from 'tap';
import { BRIDGE, makeWorld } from '../plugins/world.ts';
import { startAgent } from '../support/agent.ts';
import { startFirewalld } from '../support/firewalld.ts';
import { firewallLines, makeOutside, OUTSIDE, ping, SILENCE } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';

const skip = await weftIsMissing();
const bridge = { ...BRIDGE, ipMasq: true };
const config = { cniVersion: '1.1.0', name: BRIDGE.name, type: 'firewall', backend: '' };

for (const backend of ['nftables', 'iptables'] as const) {
  t.test(`firewalld with ${backend}`, { skip }, async (t) => {
    const world = await makeWorld(t);
    await makeOutside(t, world.host);
    const { env, cmd } = await startFirewalld(world.host, backend);
    const [a, b] = [await world.container(), await world.container()];
    const [first, second] = [await world.add(bridge, a), await world.add(bridge, b)];
    const of = (container: typeof a, prevResult: object) => ({ container, prevResult, env });
    const sources = async () =>
      (await cmd('--zone=trusted', '--list-sources')).split(' ').filter(Boolean).sort();
    const own = (result: { ips: { address: string }[] }) =>
      result.ips.map(({ address }) => address.replace(/\/64$/, '/128').replace(/\/24$/, '/32'));
    t.notOk(await ping(a.netns, OUTSIDE.v4, SILENCE), 'firewalld forwards nothing for the network');

    await world.ok('ADD', config, of(a, first));
    t.ok(await ping(a.netns, OUTSIDE.v4));
    t.ok(await ping(a.netns, OUTSIDE.v6));
    t.same(await sources(), own(first));
    await world.ok('ADD', config, of(a, first));
    await world.ok('CHECK', config, of(a, first));
    await world.ok('STATUS', { ...config, backend: 'firewalld' }, { env });
    await world.ok('ADD', { ...config, backend: 'firewalld', firewalldZone: 'internal' }, of(b, second));
    t.equal(await cmd('--zone=internal', '--list-sources'), own(second).join(' '));
    t.match(
      (await world.call('ADD', { ...config, backend: 'firewalld', firewalldZone: 'home' }, of(b, second)))
        .json,
      {
        code: 105,
        msg: /is a source of zone internal/,
      },
    );

    await cmd('--reload');
    t.same(await sources(), []);
    t.match((await world.call('CHECK', config, of(a, first))).json, {
      code: 101,
      msg: /source 10\.1\.0\.\d+\/32 of zone trusted/,
    });
    const agent = await startAgent(world.host, { bin: pluginsUnderTest(), name: 'repairing', env });
    await until('the agent has put back', async () => (await sources()).length === 2);
    t.same(await sources(), own(first));
    await cmd('--reload');
    await until('the agent has put back what the reload removed', async () => (await sources()).length === 2);
    await until(
      'and what the iptables of firewalld swept away',
      async () => (await world.call('CHECK', config, of(a, first))).status === 0,
    );
    t.ok(await ping(a.netns, OUTSIDE.v4));
    const lines = (await agent.log()).filter(({ msg }) => msg === 'put back').map(({ what }) => String(what));
    t.ok(lines.some((line) => line.includes('of zone trusted of firewalld')));

    await world.ok('DEL', config, { container: { id: a.id, netns: '' }, env });
    t.same(await sources(), []);
    await world.ok('GC', { ...config, 'cni.dev/valid-attachments': [] }, { env });
    t.equal(await cmd('--zone=internal', '--list-sources'), '');
    t.same(await firewallLines(world.host.netns, `${BRIDGE.name} ${a.id}`, `${BRIDGE.name} ${b.id}`), []);
  });
}
