/** vxlan as text: configuration and addresses in, commands out. No root, no kernel. */
import t from 'tap';
import { renderCommands } from '../../firewall/nftables-ruleset.ts';
import type { IpamResult } from '../../ipam/ipam.ts';
import { render } from '../../plan/engine.ts';
import { planFor } from '../../plugins/definition.ts';
import type { VxlanConf } from '../../plugins/vxlan/schema.ts';
import { vxlan } from '../../plugins/vxlan/vxlan.ts';
import { POOLS } from './cluster-world.ts';

const ATTACHMENT = { network: 'mynet', containerId: 'c1', ifname: 'eth0', netns: '/run/netns/c1' };
const NAMES = { netns: ATTACHMENT.netns, masquerade: renderCommands };
const SUBNET: IpamResult = {
  ips: [
    { address: '10.244.3.2/24', gateway: '10.244.3.1' },
    { address: 'fd00:244:0:3::2/64', gateway: 'fd00:244:0:3::1' },
  ],
  routes: [],
  dns: {},
};
const STRETCHED: IpamResult = {
  ips: [{ address: '10.244.3.2/16', gateway: '10.244.0.1' }],
  routes: [],
  dns: {},
};

function lines(more: Partial<VxlanConf>, answer?: IpamResult, args: Record<string, string> = {}): string[] {
  const base = { cniVersion: '1.1.0', name: 'mynet', type: 'vxlan', vni: 7, mtu: 1450, pools: POOLS };
  const config = { ...base, ...more } as VxlanConf;
  return render(planFor(vxlan, { config, attachment: ATTACHMENT, args, hostId: 'h' }, answer), NAMES);
}

t.test("a bridge that is the gateway of this host's subnet; the pool goes by it", async (t) => {
  const all = lines({}, SUBNET);
  t.same(
    all.filter((line) => !line.startsWith('nft')),
    [
      'ip link add weftbr.7 address b6:02:8e:84:d0:b9 up type bridge',
      'ip link set weftbr.7 mtu 1450',
      'ip link add vethe3stgvlyn2x address e2:05:a5:49:43:2e mtu 1450 master weftbr.7 type veth peer name eth0 address f6:99:ec:c3:32:0b mtu 1450 netns c1',
      'ip link set vethe3stgvlyn2x addrgenmode none',
      'ip link set vethe3stgvlyn2x up',
      'ip -n c1 link set eth0 up',
      "ip link set vethe3stgvlyn2x alias 'weft mynet c1 eth0'",
      'ip addr add 10.244.3.1/24 dev weftbr.7',
      'ip -6 addr add fd00:244:0:3::1/64 dev weftbr.7 nodad',
      'sysctl -w net/ipv4/ip_forward=1',
      'sysctl -w net/ipv6/conf/all/forwarding=1',
      'ip -n c1 addr add 10.244.3.2/24 dev eth0',
      'ip -n c1 -6 addr add fd00:244:0:3::2/64 dev eth0 nodad',
      'ip -n c1 route add default via 10.244.3.1 dev eth0',
      'ip -n c1 -6 route add default via fd00:244:0:3::1 dev eth0',
      'ip -n c1 route add 10.244.0.0/16 via 10.244.3.1 dev eth0',
      'ip -n c1 -6 route add fd00:244::/48 via fd00:244:0:3::1 dev eth0',
      'ip netns exec c1 sysctl -w net/ipv4/conf/eth0/arp_notify=1',
      'ip netns exec c1 sysctl -w net/ipv6/conf/eth0/ndisc_notify=1',
      'ip -n c1 link set eth0 address f6:99:ec:c3:32:0b',
    ],
  );
});

t.test('masquerade: to the world only, with random ports, unless it is switched off', async (t) => {
  const rules = lines({}, SUBNET).filter((line) => /^nft 'add rule inet weft masq-/.test(line));
  t.same(
    rules.map((line) => line.replace(/^nft 'add rule inet weft masq-mynet (.*) comment.*$/, '$1')),
    [
      'ip daddr 10.244.0.0/16 return',
      'ip daddr 224.0.0.0/4 return',
      'ip6 daddr fd00:244::/48 return',
      'ip6 daddr ff00::/8 return',
      'masquerade fully-random',
    ],
  );
  t.same(
    lines({ ipMasq: false }, SUBNET).filter((line) => line.startsWith('nft')),
    [],
  );
});

t.test('without a default route the pool is still reached', async (t) => {
  const routes = lines({ isDefaultGateway: false }, SUBNET).filter((line) => / route add /.test(line));
  t.same(routes, [
    'ip -n c1 route add 10.244.0.0/16 via 10.244.3.1 dev eth0',
    'ip -n c1 -6 route add fd00:244::/48 via fd00:244:0:3::1 dev eth0',
  ]);
});

t.test('a pool that IPAM routes otherwise is left to it', async (t) => {
  const routed = { ...SUBNET, routes: [{ dst: '10.244.0.0/16', gw: '10.244.3.9', priority: 5 }] };
  const routes = lines({}, routed).filter((line) => line.includes('10.244.0.0/16 via'));
  t.same(routes, ['ip -n c1 route add 10.244.0.0/16 via 10.244.3.9 dev eth0 metric 5']);
});

t.test(
  "stretched: one gateway and its MAC on every host, the container's MAC follows its address",
  async (t) => {
    const l2: Partial<VxlanConf> = { mode: 'l2', pools: [{ prefix: '10.244.0.0/16' }] };
    const all = lines(l2, STRETCHED);
    const bridge = all[0];
    t.match(all[2], / peer name eth0 address ee:66:de:a8:48:58 mtu 1450 netns c1$/);
    t.ok(all.includes('ip addr add 10.244.0.1/16 dev weftbr.7'));
    t.same(
      all.filter((line) => / route add /.test(line)),
      ['ip -n c1 route add default via 10.244.0.1 dev eth0'],
      'the pool is the link',
    );
    const elsewhere = render(
      planFor(
        vxlan,
        {
          config: {
            cniVersion: '1.1.0',
            name: 'mynet',
            type: 'vxlan',
            vni: 7,
            ...l2,
          } as unknown as VxlanConf,
          attachment: { ...ATTACHMENT, containerId: 'other' },
          args: {},
          hostId: 'another',
        },
        STRETCHED,
      ),
      NAMES,
    );
    t.equal(elsewhere[0], bridge, 'the same bridge on another host');
    t.match(elsewhere[1], /address ee:66:de:a8:48:58/, 'the same MAC for the same address');
  },
);

t.test('a MAC that is asked for: the runtime before args before CNI_ARGS', async (t) => {
  const macs = {
    runtimeConfig: { mac: '0A:00:00:00:00:01' },
    args: { cni: { mac: '0a:00:00:00:00:02' } },
  };
  for (const mode of ['l3', 'l2'] as const) {
    const answer = mode === 'l2' ? STRETCHED : SUBNET;
    const mac = (more: Partial<VxlanConf>) =>
      /eth0 address (\S+)/.exec(lines({ mode, ...more }, answer, { MAC: '0a:00:00:00:00:03' })[2] ?? '')?.[1];
    t.equal(mac(macs), '0a:00:00:00:00:01');
    t.equal(mac({ args: macs.args }), '0a:00:00:00:00:02');
    t.equal(mac({}), '0a:00:00:00:00:03');
  }
});

t.test('hairpin, MAC filter and names', async (t) => {
  const all = lines({ hairpinMode: true, macspoofchk: true, bridge: 'br9' }, SUBNET);
  t.ok(all.includes('bridge link set dev vethe3stgvlyn2x hairpin on'));
  t.ok(all.some((line) => line.includes('guarded')));
  t.match(all[0], /^ip link add br9 /);
});

t.test('DEL needs no addresses and no pool', async (t) => {
  const config = { cniVersion: '1.1.0', name: 'mynet', type: 'vxlan' } as VxlanConf;
  const steps = vxlan.links({ config, attachment: ATTACHMENT, args: {}, hostId: 'h' });
  t.same(
    steps.map(({ kind }) => kind),
    ['bridge', 'veth'],
  );
});
