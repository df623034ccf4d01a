/** A host with firewalld: containers are sources of a zone, also after a reload; and nothing stays that DEL or GC took away. */
import t from 'tap';
import { BRIDGE, makeWorld } from '../plugins/world.ts';
import { startAgent } from '../support/agent.ts';
import { startFirewalld } from '../support/firewalld.ts';
import { firewallLines, makeOutside, OUTSIDE, ping } from '../support/host.ts';
import { pluginsUnderTest, weftIsMissing } from '../support/plugins.ts';
import { until } from '../support/until.ts';

const skip = await weftIsMissing();
const bridge = { ...BRIDGE, ipMasq: true };
const config = { cniVersion: '1.1.0', name: BRIDGE.name, type: 'firewall', backend: '' };

/** Addresses as sources of a zone. */
const own = (result: { ips: { address: string }[] }) =>
  result.ips.map(({ address }) => address.replace(/\/64$/, '/128').replace(/\/24$/, '/32')).sort();

for (const backend of ['nftables', 'iptables'] as const) {
  t.test(`firewalld with ${backend}`, { skip }, async (t) => {
    const world = await makeWorld(t);
    await makeOutside(t, world.host);
    const [a, b] = [await world.container(), await world.container()];
    const [first, second] = [await world.add(bridge, a), await world.add(bridge, b)];
    const { env, cmd, sources } = await startFirewalld(world.host, backend);
    const of = (container: typeof a, prevResult: object) => ({ container, prevResult, env });
    t.notOk(await ping(a.netns, OUTSIDE.v4, 1), 'firewalld forwards nothing for the network');

    await world.ok('ADD', config, of(a, first));
    t.ok(await ping(a.netns, OUTSIDE.v4));
    t.same(await sources('trusted'), own(first));
    await world.ok('ADD', config, of(a, first));
    await world.ok('CHECK', config, of(a, first));
    const internal = { ...config, backend: 'firewalld', firewalldZone: 'internal' };
    await world.ok('STATUS', internal, { env });
    await world.ok('ADD', internal, of(b, second));
    t.same(await sources('internal'), own(second));
    const other = await world.call('ADD', { ...internal, firewalldZone: 'home' }, of(b, second));
    t.match(other.json, { code: 105, msg: /is a source of zone internal/ });

    await cmd('--reload');
    t.same(await sources('trusted'), []);
    const check = await world.call('CHECK', config, of(a, first));
    t.match(check.json, { code: 101, msg: /source 10\.1\.0\.\d+\/32 of zone trusted/ });
    const agent = await startAgent(world.host, { bin: pluginsUnderTest(), name: 'repairing', env });
    const isWhole = async () => (await world.call('CHECK', config, of(a, first))).status === 0;
    await until('the agent has put back what was lost before', isWhole);
    t.same(await sources('trusted'), own(first));
    await cmd('--reload');
    await until('the agent has put back what this reload removed', isWhole);
    t.ok(await ping(a.netns, OUTSIDE.v4));
    await until('it is said', async () =>
      (await agent.log()).some(
        ({ msg, what }) => msg === 'put back' && /of zone trusted of firewalld/.test(String(what)),
      ),
    );

    await world.ok('DEL', config, { container: { id: a.id, netns: '' }, env });
    t.same(await sources('trusted'), []);
    // What the reference did is ours to end, and a mark that is gone does no harm.
    const address = first.ips[0].address.split('/')[0];
    await cmd('--zone=trusted', `--add-source=${address}/32`, `--add-source=${own(first)[1]}`);
    await world.ok('CHECK', config, of(a, first));
    await world.ok('DEL', config, of(a, first));
    t.same(await sources('trusted'), []);
    await world.ok('GC', { ...config, 'cni.dev/valid-attachments': [] }, { env });
    t.same(await sources('internal'), []);
    t.same(await firewallLines(world.host.netns, `"${BRIDGE.name} ${a.id}`, `"${BRIDGE.name} ${b.id}`), []);
  });
}
