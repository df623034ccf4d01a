/** routed as text: configuration and addresses in, commands out. No root, no kernel. */
import t from 'tap';
import { renderCommands } from '../../firewall/nftables-ruleset.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { render } from '../../plan/engine.ts';
import { planFor } from '../../plugins/definition.ts';
import { routed } from '../../plugins/routed/routed.ts';
import type { RoutedConf } from '../../plugins/routed/schema.ts';
import { POOLS } from './cluster-world.ts';

const ATTACHMENT = { network: 'mynet', containerId: 'c1', ifname: 'eth0', netns: '/run/netns/c1' };
const NAMES = { netns: ATTACHMENT.netns, masquerade: renderCommands };
const ANSWER: IpamResult = {
  ips: [{ address: '10.244.3.7/32' }, { address: 'fd00:244:0:3::7/128' }],
  routes: [],
  dns: {},
};

function lines(more: Partial<RoutedConf>, answer: IpamResult = ANSWER): string[] {
  const base = { cniVersion: '1.1.0', name: 'mynet', type: 'routed', mtu: 1500, pools: POOLS };
  const config = { ...base, ...more } as RoutedConf;
  return render(planFor(routed, { config, attachment: ATTACHMENT, args: {}, hostId: 'h' }, answer), NAMES);
}

t.test('a link, a route and a neighbour on each side; no bridge', async (t) => {
  t.same(
    lines({}).filter((line) => !line.startsWith('nft')),
    [
      'ip link add vethe3stgvlyn2x address e2:05:a5:49:43:2e mtu 1500 up type veth peer name eth0 address f6:99:ec:c3:32:0b mtu 1500 netns c1',
      'ip -n c1 link set eth0 up',
      "ip link set vethe3stgvlyn2x alias 'weft mynet c1 eth0'",
      'ip route add 10.244.3.7/32 dev vethe3stgvlyn2x scope 253',
      'ip neigh replace 10.244.3.7 lladdr f6:99:ec:c3:32:0b dev vethe3stgvlyn2x nud permanent',
      'ip -6 route add fd00:244:0:3::7/128 dev vethe3stgvlyn2x',
      'ip neigh replace fd00:244:0:3::7 lladdr f6:99:ec:c3:32:0b dev vethe3stgvlyn2x nud permanent',
      'sysctl -w net/ipv4/ip_forward=1',
      'sysctl -w net/ipv6/conf/all/forwarding=1',
      'ip -n c1 addr add 10.244.3.7/32 dev eth0',
      'ip -n c1 -6 addr add fd00:244:0:3::7/128 dev eth0 nodad',
      'ip -n c1 route add 169.254.1.1/32 dev eth0 scope 253',
      'ip -n c1 neigh replace 169.254.1.1 lladdr e2:05:a5:49:43:2e dev eth0 nud permanent',
      'ip -n c1 neigh replace fe80::1 lladdr e2:05:a5:49:43:2e dev eth0 nud permanent',
      'ip -n c1 route add default via 169.254.1.1 dev eth0',
      'ip -n c1 -6 route add default via fe80::1 dev eth0',
    ],
  );
});

t.test('one family, and only the network', async (t) => {
  const four = { ...ANSWER, ips: ANSWER.ips.slice(0, 1) };
  const inside = lines({ isDefaultGateway: false, ipMasq: false }, four).filter((line) =>
    / -n c1 /.test(line),
  );
  t.same(inside.slice(1), [
    'ip -n c1 addr add 10.244.3.7/32 dev eth0',
    'ip -n c1 route add 169.254.1.1/32 dev eth0 scope 253',
    'ip -n c1 neigh replace 169.254.1.1 lladdr e2:05:a5:49:43:2e dev eth0 nud permanent',
    'ip -n c1 route add 10.244.0.0/16 via 169.254.1.1 dev eth0',
  ]);
});

t.test('routes of IPAM go by the gateway; its default route is not added twice', async (t) => {
  const routes = [{ dst: '0.0.0.0/0', mtu: 1400 }, { dst: '192.0.2.0/24' }];
  t.same(
    lines({}, { ...ANSWER, routes }).filter((line) => /-n c1 route add (?!169)/.test(line)),
    [
      'ip -n c1 route add default via 169.254.1.1 dev eth0 mtu 1400',
      'ip -n c1 route add 192.0.2.0/24 via 169.254.1.1 dev eth0',
    ],
  );
});

t.test('addresses of any IPAM become single ones', async (t) => {
  const subnet = { ...ANSWER, ips: [{ address: '10.244.3.7/24', gateway: '10.244.3.1' }] };
  const answer = routed.complete?.({ pool: '10.244.0.0/16' } as RoutedConf, subnet);
  t.same(answer?.ips, [{ address: '10.244.3.7/32', gateway: '169.254.1.1' }]);
  t.same(answer?.routes, [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }]);
});

t.test(
  'containers to containers of other hosts are not masqueraded, ports to the world are random',
  async (t) => {
    const rules = lines({}).filter((line) => /^nft 'add rule inet weft masq-/.test(line));
    t.match(rules[0], /ip daddr 10\.244\.0\.0\/16 return/);
    t.match(rules[2], /ip6 daddr fd00:244::\/48 return/);
    t.match(rules.at(-1), /masquerade fully-random/);
  },
);

t.test('an IPv6 address wants 1280 bytes, and no address is none', async (t) => {
  t.throws(() => lines({ mtu: 1000 }), { code: 7, message: /routed: mtu 1000 is too small for fd00/ });
  t.throws(() => lines({}, { ...ANSWER, ips: [] }), { code: 7, message: /routed: IPAM gave no address/ });
});
