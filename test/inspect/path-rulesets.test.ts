/** Predictions through the rules that other programs make, as they print them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { withOwners } from '../../inspect/owners.ts';
import { readIptables } from '../../inspect/ruleset/iptables.ts';
import type { Table } from '../../inspect/ruleset/model.ts';
import { ask, type Namespaced, words, worldOf } from './path-world.ts';

const BRIDGE = { kind: 'bridge' };

async function rules(file: string): Promise<readonly Table[]> {
  const printed = await readFile(join(import.meta.dirname, 'rulesets', file), 'utf8');
  return withOwners({ tables: readIptables(printed, 'iptables-nft', 4, new Map()), unread: [] }).tables;
}

const container = (peer: string, address: string, gateway: string): Namespaced => ({
  links: { eth0: { peer } },
  addresses: { eth0: [address] },
  routes: [`default via ${gateway} dev eth0`],
});

const OUTSIDE = container('host:uplink', '198.51.100.2/24', '198.51.100.1');

t.test('Docker', async (t) => {
  const world = worldOf({
    outside: { ...OUTSIDE, addresses: { eth0: ['198.51.100.2/24', '203.0.113.5/32'] } },
    web: container('host:v1', '172.17.0.2/16', '172.17.0.1'),
    other: container('host:v2', '172.18.0.2/16', '172.18.0.1'),
    host: {
      links: {
        uplink: { peer: 'outside:eth0' },
        docker0: BRIDGE,
        'br-0123456789ab': BRIDGE,
        v1: { peer: 'web:eth0', in: 'docker0' },
        v2: { peer: 'other:eth0', in: 'br-0123456789ab' },
      },
      addresses: {
        uplink: ['198.51.100.1/24'],
        docker0: ['172.17.0.1/16'],
        'br-0123456789ab': ['172.18.0.1/16'],
      },
      routes: ['203.0.113.0/24 via 198.51.100.2 dev uplink'],
      tables: await rules('docker.iptables'),
    },
  });
  const published = ask(world, 'outside', '198.51.100.1:8081');
  t.match(
    [published.there.outcome, published.back?.outcome],
    ['delivered', 'delivered'],
    published.there.why,
  );
  t.match(published.there.hops.at(-1), {
    place: { host: 'web' },
    tuple: { destination: '172.17.0.2', destinationPort: 80 },
  });
  t.match(
    published.there.hops.find((hop) => hop.kind === 'rule'),
    { owner: { who: 'docker' }, verdict: 'dnat to 172.17.0.2:80' },
  );
  t.match(ask(world, 'outside', '198.51.100.1:8081', { source: '203.0.113.5' }).there, {
    ...{ outcome: 'dropped', why: /-s 203\.0\.113\.0\/24 -i uplink -j DROP" in chain DOCKER-USER/ },
  });
  t.match(ask(world, 'outside', '172.17.0.2:81').there, {
    outcome: 'dropped',
    why: /policy drop of chain FORWARD/,
  });
  const out = ask(world, 'web', '198.51.100.2');
  t.match(
    [out.there.hops.at(-1)?.tuple.source, out.back?.outcome],
    ['198.51.100.1', 'delivered'],
    `${out.back?.why}`,
  );
  t.match(ask(world, 'other', '172.17.0.2:81').there.outcome, 'dropped', 'networks are kept apart');
  t.match(ask(world, 'host', '198.51.100.1:8081').there.hops.at(-1)?.place.host, 'web', 'the host itself');
  t.match(
    ask(world, 'web', '198.51.100.1:8081').there.hops.at(-1)?.place.host,
    'host',
    'who publishes it ends at the proxy',
  );
});

t.test('kube-proxy', async (t) => {
  const pod = (n: number) => container(`host:v${n}`, `10.244.0.${n}/24`, '10.244.0.1');
  const world = worldOf({
    outside: OUTSIDE,
    five: pod(5),
    six: pod(6),
    seven: pod(7),
    host: {
      links: {
        uplink: { peer: 'outside:eth0' },
        cni0: BRIDGE,
        ...Object.fromEntries(
          ['five', 'six', 'seven'].map((name, i) => [
            `v${i + 5}`,
            { peer: `${name}:eth0`, in: 'cni0', port: { state: 3, hairpin: true } },
          ]),
        ),
      },
      addresses: { uplink: ['198.51.100.1/24'], cni0: ['10.244.0.1/24'] },
      routes: ['default via 198.51.100.2 dev uplink'],
      tables: await rules('kube-proxy.iptables'),
      sysctls: { 'bridge/bridge-nf-call-iptables': 1 },
    },
  });
  const service = ask(world, 'seven', '10.96.0.10:80');
  t.match([service.there.outcome, service.back?.outcome], ['delivered', 'delivered'], service.there.why);
  t.match(service.there.hops.at(-1), {
    place: { host: 'six' },
    tuple: { source: '10.244.0.7', destination: '10.244.0.6', destinationPort: 8080 },
  });
  t.match(service.back?.hops.at(-1)?.tuple.source, '10.96.0.10', 'the answer comes from the service');
  t.match(service.there.assumptions.join(), /probability 0\.5.* does not match/);
  const itself = ask(world, 'six', '10.96.0.10:80');
  t.match(
    [itself.there.outcome, itself.there.hops.at(-1)?.tuple.source],
    ['delivered', '10.244.0.1'],
    'masqueraded towards itself',
  );
  t.equal(itself.back?.outcome, 'delivered', `${itself.back?.why}`);
  const port = ask(world, 'outside', '198.51.100.1:30080');
  t.match(
    [port.there.outcome, port.there.hops.at(-1)?.tuple.source],
    ['delivered', '10.244.0.1'],
    'a node port',
  );
  t.match(words(port.there, 'rule').join(), /packet mark 0x4000/);
  t.equal(port.back?.outcome, 'delivered');
});
