/** A node changes over, to weft and back, with its containers running: one side's ADD, the other side's CHECK and DEL. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  type Container,
  firewallLines,
  type Host,
  ip,
  leases,
  links,
  makeHost,
  makeOutside,
  OUTSIDE,
  ping,
} from '../support/host.ts';
import { expectWay, fillBin, pluginsUnderTest, REFERENCE } from '../support/plugins.ts';

const OURS = pluginsUnderTest();
const SUBNETS = {
  IPv4: ['10.90.0.0/24'],
  'dual stack': ['10.90.0.0/24', 'fd00:90::/64'],
};
type Family = keyof typeof SUBNETS;
type PluginType = 'bridge' | 'ptp';

function configuration(type: PluginType, family: Family, ipMasq: boolean) {
  return {
    cniVersion: '1.0.0',
    name: `mixed-${type}`,
    type,
    ...(type === 'bridge' && { bridge: 'mixed0', isGateway: true }),
    ipMasq,
    ipam: {
      type: 'host-local',
      ranges: SUBNETS[family].map((subnet) => [{ subnet }]),
      routes: [{ dst: '0.0.0.0/0' }, ...(family === 'IPv4' ? [] : [{ dst: '::/0' }])],
    },
  };
}

/** Executes one plugin out of a folder, its delegates out of the same, as a runtime does; ours by the way under test. Returns what it printed. */
async function execute(
  host: Host,
  folder: string,
  command: 'ADD' | 'CHECK' | 'DEL' | 'GC',
  config: ReturnType<typeof configuration> & { prevResult?: unknown },
  container: Partial<Container> = {},
): Promise<string> {
  const bin = folder === OURS ? host.dirs.bin : folder;
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: container.id ?? '',
    CNI_NETNS: container.netns ?? '',
    CNI_IFNAME: 'eth0',
    CNI_PATH: bin,
  };
  return (await host.exec(join(bin, config.type), [], { env, input: JSON.stringify(config) })).stdout;
}

interface Result {
  ips: { address: string }[];
}
const addressesOf = (result: Result) => result.ips.map((entry) => entry.address.replace(/\/.*/, ''));

/** The chain of one attachment, as the reference names it. */
const referenceChain = (network: string, id: string) =>
  `CNI-${createHash('sha512')
    .update(network + id)
    .digest('hex')
    .slice(0, 24)}`;

async function nothingOfTheContainerIsLeft(t: Test, host: Host, container: Container) {
  t.strictSame(await links(container.netns), ['lo']);
  const standing = ['lo', 'mixed0', 'uplink'];
  t.strictSame(
    (await links(host.netns)).filter((name) => !standing.includes(name)),
    [],
  );
  t.strictSame(await leases(host), []);
  const routes = [...(await ip(host.netns, 'route')), ...(await ip(host.netns, '-6', 'route'))];
  const stale = routes.filter((route) => /^(10\.90\.0|fd00:90:)/.test(route.dst) && route.dev !== 'mixed0');
  t.strictSame(stale, [], 'no route');
}

const WAYS = [
  { name: 'ADD by the reference, CHECK and DEL by ours', first: REFERENCE, last: OURS },
  { name: 'ADD by ours, CHECK and DEL by the reference', first: OURS, last: REFERENCE },
];

for (const type of ['bridge', 'ptp'] as const) {
  for (const family of ['IPv4', 'dual stack'] as const) {
    for (const way of WAYS) {
      t.test(`${type}, ${family}: ${way.name}`, async (t) => {
        const host = await makeHost(t);
        await fillBin(host, { record: true });
        await makeOutside(t, host);
        const config = configuration(type, family, true);
        const container = await host.container();

        const prevResult = JSON.parse(await execute(host, way.first, 'ADD', config, container));
        const addresses = addressesOf(prevResult);
        t.equal(addresses.length, SUBNETS[family].length);
        t.ok(await ping(container.netns, OUTSIDE.v4), 'through NAT to the outside');
        if (family === 'dual stack') t.ok(await ping(container.netns, OUTSIDE.v6), 'over IPv6, too');

        await execute(host, way.last, 'CHECK', { ...config, prevResult }, container);
        const del = () => execute(host, way.last, 'DEL', { ...config, prevResult }, container);
        // The reference's DEL takes lease and link away, then stumbles over the missing of a chain that only it would have
        // made (it does not know iptables-nft's words for that). Runtimes call DEL again after an error, which succeeds.
        const chain = referenceChain(config.name, container.id);
        await del().catch((error) => {
          if (way.last === OURS) throw error;
          t.match(error.message, `Chain '${chain}' does not exist`);
          return del();
        });
        await nothingOfTheContainerIsLeft(t, host, container);

        const nat = () => firewallLines(host.netns, container.id, chain, ...addresses);
        if (way.last === OURS) {
          t.strictSame(await nat(), []);
        } else if (OURS !== REFERENCE) {
          // The reference knows nothing of our sets: what stays names its owner, and goes when we are asked.
          t.ok(
            (await nat()).some((line) => line.includes(container.id)),
            'what is left says whose it was',
          );
          const gc = { ...config, cniVersion: '1.1.0', 'cni.dev/valid-attachments': [] };
          await execute(host, OURS, 'GC', gc);
          t.strictSame(await nat(), []);
        }
        await expectWay(t, host);
      });
    }
  }
}

for (const ipMasqBackend of ['nftables', 'iptables']) {
  t.test(
    `DEL by ours, told ${ipMasqBackend}, when the namespace of what the reference added is gone`,
    async (t) => {
      const host = await makeHost(t);
      await fillBin(host, { record: true });
      const config = { ...configuration('bridge', 'dual stack', true), ipMasqBackend };
      const container = await host.container();
      const prevResult = JSON.parse(await execute(host, REFERENCE, 'ADD', config, container));
      const words = [container.id, referenceChain(config.name, container.id), ...addressesOf(prevResult)];
      t.ok((await firewallLines(host.netns, ...words)).length > 0, 'the reference made chains');
      await execute(host, OURS, 'DEL', { ...config, prevResult }, { id: container.id, netns: '' });
      t.strictSame(await leases(host), []);
      t.strictSame(await firewallLines(host.netns, ...words), []);
      await expectWay(t, host);
    },
  );
}

t.test('both on one bridge at once, without masquerade', async (t) => {
  const host = await makeHost(t);
  await fillBin(host, { record: true });
  const config = configuration('bridge', 'dual stack', false);
  const [theirs, ours] = [await host.container(), await host.container()];
  const first = JSON.parse(await execute(host, REFERENCE, 'ADD', config, theirs));
  const second = JSON.parse(await execute(host, OURS, 'ADD', config, ours));
  t.strictSame(
    await leases(host),
    [...addressesOf(first), ...addressesOf(second)].map((address) => `mixed-bridge/${address}`).sort(),
    'one store: no address twice',
  );
  for (const address of addressesOf(second)) t.ok(await ping(theirs.netns, address), `they reach ${address}`);
  for (const address of addressesOf(first)) t.ok(await ping(ours.netns, address), `we reach ${address}`);

  await execute(host, OURS, 'DEL', { ...config, prevResult: first }, theirs);
  t.strictSame(await links(theirs.netns), ['lo']);
  for (const address of addressesOf(second)) t.ok(await ping(host.netns, address), 'the other one stays');
  await execute(host, REFERENCE, 'DEL', { ...config, prevResult: second }, ours);
  await nothingOfTheContainerIsLeft(t, host, ours);
  await expectWay(t, host);
});
