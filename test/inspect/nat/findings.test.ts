/** What is told of hosts that are wrong in one way each, and of a healthy one nothing. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { printable } from '../../../cli/printable.ts';
import type { Container } from '../../../inspect/containers.ts';
import type { Finding } from '../../../inspect/finding.ts';
import type { Snapshot } from '../../../inspect/host/snapshot.ts';
import { natFindings } from '../../../inspect/nat/findings.ts';
import { natView } from '../../../inspect/nat/view.ts';
import { withOwners } from '../../../inspect/owners.ts';
import { readIptables } from '../../../inspect/ruleset/iptables.ts';
import type { Table } from '../../../inspect/ruleset/model.ts';
import { type Namespaced, worldOf } from '../path-world.ts';

const NAT = [
  '*nat',
  ':PREROUTING ACCEPT [0:0]',
  ':POSTROUTING ACCEPT [0:0]',
  ':WEFT-PORTS - [0:0]',
  ':WEFT-podnet - [0:0]',
];
/** As our iptables backend makes them for container c1 with 10.1.0.5. */
const OURS = [
  '-A PREROUTING -m addrtype --dst-type LOCAL -m comment --comment "weft: published ports" -j WEFT-PORTS',
  '-A WEFT-PORTS -p tcp -m tcp --dport 8080 -m comment --comment "podnet c1 eth0" -j DNAT --to-destination 10.1.0.5:80',
  '-A POSTROUTING -m comment --comment "weft network podnet: masquerade" -j WEFT-podnet',
  '-A WEFT-podnet -s 10.1.0.5/32 -m comment --comment "c1 eth0" -j MASQUERADE --random-fully',
];

function tables(
  lines: readonly string[],
  variant: 'iptables-nft' | 'iptables-legacy' = 'iptables-nft',
): Table[] {
  return readIptables([...NAT, ...lines].join('\n'), variant, 4, new Map());
}

interface Broken {
  tables?: readonly Table[];
  host?: Namespaced;
  container?: Namespaced;
  sysctls?: Readonly<Record<string, number>>;
  unread?: readonly string[];
  containers?: readonly Container[];
}

const HEALTHY = {
  'ipv4/ip_forward': 1,
  'ipv6/conf/all/forwarding': 1,
  'ipv4/conf/all/rp_filter': 0,
  'netfilter/nf_conntrack_max': 1000,
  'netfilter/nf_conntrack_count': 10,
};

/** Codes, subjects and gravity of all findings about a host with one container on a bridge. */
function told(broken: Broken): Finding[] {
  const world = worldOf({
    host: {
      links: { uplink: {}, cni0: { kind: 'bridge' }, veth1: { peer: 'c1:eth0', in: 'cni0' } },
      addresses: { uplink: ['192.0.2.200/24'], cni0: ['10.1.0.1/24'] },
      routes: ['default via 192.0.2.254 dev uplink'],
      ...broken.host,
      sysctls: { ...HEALTHY, ...broken.sysctls },
    },
    c1: {
      links: { eth0: { peer: 'host:veth1' } },
      addresses: { eth0: ['10.1.0.5/24'] },
      ...broken.container,
    },
  });
  const read = world.snapshots.get('host') as Snapshot;
  const ruleset = withOwners({ tables: broken.tables ?? tables(OURS), unread: broken.unread ?? [] });
  const c1: Container = {
    id: 'c1',
    namespace: 'c1',
    path: '/run/netns/c1',
    networks: ['podnet'],
    addresses: ['10.1.0.5'],
  };
  return natFindings(natView({ ...read, ruleset }, world.sketches, broken.containers ?? [c1]));
}

const brief = (findings: readonly Finding[]) =>
  findings.map(({ severity, code, subject }) => `${severity} ${code} ${subject}`);

t.test('a healthy host', async (t) => {
  t.strictSame(brief(told({})), []);
  t.strictSame(brief(told({ tables: [] })), []);
});

t.test('two owners of one port', async (t) => {
  const docker = '-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80';
  const second = told({ tables: tables([...OURS, docker]) });
  t.strictSame(brief(second), ['error port-owned-twice tcp 8080']);
  t.match(second[0]?.what, 'tcp 8080 has two owners: weft portmap (podnet c1 eth0) and somebody else');
  t.match(second[0]?.why, /^"tcp 8080 -> 10\.1\.0\.5:80" of ip nat WEFT-PORTS rule 1 comes first/);
  const first = told({ tables: tables([docker, ...OURS]) });
  t.match(first[0]?.why, /^"tcp 8080 -> 172\.17\.0\.2:80" of ip nat PREROUTING rule 1 comes first/);
  const range = '-A PREROUTING -p tcp -m tcp --dport 8000:8100 -j DNAT --to-destination 172.17.0.2';
  t.strictSame(brief(told({ tables: tables([...OURS, range]) })), ['error port-owned-twice tcp 8000-8100']);
  const others = [
    '-A PREROUTING -p udp -m udp --dport 8080 -j DNAT --to-destination 172.17.0.2:80',
    '-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80',
    '-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80',
  ];
  t.strictSame(
    brief(told({ tables: tables([...OURS, ...others]) })),
    [],
    'another protocol, a service, the same end',
  );
  const kube = readFileSync(join(import.meta.dirname, '../rulesets/kube-proxy.iptables'), 'utf8');
  const services = readIptables(kube, 'iptables-nft', 4, new Map());
  t.strictSame(brief(told({ tables: services })), [], 'a service has many endpoints');
});

t.test('a masquerade that never happens', async (t) => {
  const accepted = told({
    tables: tables(['-A POSTROUTING -s 10.0.0.0/8 ! -d 10.0.0.0/8 -j ACCEPT', ...OURS]),
  });
  t.strictSame(brief(accepted), ['error masquerade-shadowed c1']);
  t.match(
    accepted[0]?.what,
    /"masquerade 10\.1\.0\.5" of weft \(podnet c1 eth0\) never happens: ip nat POSTROUTING rule 1 comes first/,
  );
  const snat = told({ tables: tables(['-A POSTROUTING -o uplink -j SNAT --to-source 192.0.2.7', ...OURS]) });
  t.match(brief(snat), ['warning masquerade-shadowed c1']);
  const harmless = [
    '-A POSTROUTING -s 10.1.0.0/24 -j MASQUERADE',
    '-A POSTROUTING -s 10.1.0.0/24 -d 10.1.0.0/24 -j ACCEPT',
    '-A POSTROUTING -s 10.1.0.0/24 -m statistic --mode random --probability 0.5 -j ACCEPT',
    '-A POSTROUTING -s 10.1.0.0/24 -o cni0 -j ACCEPT',
  ];
  for (const rule of harmless) t.strictSame(brief(told({ tables: tables([rule, ...OURS]) })), [], rule);
});

t.test('settings of the host', async (t) => {
  t.strictSame(brief(told({ sysctls: { 'ipv4/ip_forward': 0 } })), ['error forwarding-off IPv4']);
  t.strictSame(
    brief(told({ sysctls: { 'ipv6/conf/all/forwarding': 0 } })),
    [],
    'nothing of IPv6 is rewritten',
  );
  t.strictSame(brief(told({ sysctls: { 'ipv4/conf/cni0/forwarding': 0 } })), ['error forwarding-off cni0']);
  t.strictSame(brief(told({ sysctls: { 'netfilter/nf_conntrack_count': 1000 } })), [
    'error conntrack-full nf_conntrack',
  ]);
  t.strictSame(brief(told({ sysctls: { 'netfilter/nf_conntrack_count': 950 } })), [
    'warning conntrack-nearly-full nf_conntrack',
  ]);
  const bridged = { 'bridge/bridge-nf-call-iptables': 1 };
  t.strictSame(brief(told({ sysctls: bridged })), [], 'the kernel begins so');
  const drop = readIptables('*filter\n:FORWARD DROP [0:0]', 'iptables-nft', 4, new Map());
  t.strictSame(brief(told({ tables: [...tables(OURS), ...drop] })), []);
  const [parted] = told({ tables: [...tables(OURS), ...drop], sysctls: bridged });
  t.match(parted, { code: 'bridge-nf-call', severity: 'note', safe: false });
  t.strictSame(parted?.mend, ['sysctl -w net.bridge.bridge-nf-call-iptables=0']);
  const both = told({
    tables: [...tables(OURS), ...tables(['-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE'], 'iptables-legacy')],
  });
  t.strictSame(brief(both), ['warning iptables-both-variants iptables']);
  t.strictSame(
    brief(told({ tables: [...tables(OURS), ...tables([], 'iptables-legacy')] })),
    [],
    'empty tables harm nobody',
  );
  t.strictSame(brief(told({ unread: ['sets of ipset: ipset is not installed'] })), [
    'note rules-unread sets of ipset',
  ]);
});

t.test('what a container left behind', async (t) => {
  const gone = told({
    container: { links: { eth0: { peer: 'host:veth1' } }, addresses: {} },
    containers: [],
  });
  t.strictSame(brief(gone), ['warning nat-without-container c1']);
  t.strictSame(gone[0]?.mend, [
    "iptables-nft -t nat -D WEFT-PORTS -p tcp -m tcp --dport 8080 -m comment --comment 'podnet c1 eth0' -j DNAT --to-destination 10.1.0.5:80",
    "iptables-nft -t nat -D WEFT-podnet -s 10.1.0.5/32 -m comment --comment 'c1 eth0' -j MASQUERADE --random-fully",
  ]);
  t.ok(gone[0]?.safe);
  const outOfView = { links: { cni0: { kind: 'bridge' }, veth9: { kind: 'veth', link: 7, linkNetnsId: 3 } } };
  t.strictSame(
    brief(told({ host: outOfView, container: { links: { eth0: { peer: 'host:cni0' } } }, containers: [] })),
    [],
    'somebody may be where nobody can look',
  );
  const reference = [
    '-A PREROUTING -p tcp -m tcp --dport 81 -m comment --comment "dnat name: \\"refnet\\" id: \\"r1\\"" -j CNI-DN-0123456789abcdef01234',
    '-A CNI-DN-0123456789abcdef01234 -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.1.0.77:80',
  ];
  const others = told({ tables: tables([':CNI-DN-0123456789abcdef01234 - [0:0]', ...OURS, ...reference]) });
  t.strictSame(brief(others), ['warning nat-without-container r1']);
  t.notOk(others[0]?.safe, 'it is not ours to take away');
});

t.test('what mends is one command, whatever a comment says', async (t) => {
  const evil = '-A WEFT-podnet -s 10.1.0.66/32 -m comment --comment "$(reboot);`id` eth0" -j MASQUERADE';
  const [finding] = told({ tables: tables([...OURS, evil]) });
  t.match(finding, { code: 'nat-without-container', subject: '$(reboot);`id`' });
  t.strictSame(finding?.mend, [
    "iptables-nft -t nat -D WEFT-podnet -s 10.1.0.66/32 -m comment --comment '$(reboot);`id` eth0' -j MASQUERADE",
  ]);
  t.equal(printable('a\u001b[2Jb\nc'), 'a\ufffd[2Jb\ufffdc', 'nor does it get to the terminal');
});

t.test('ways that do not lead back, or are too narrow', async (t) => {
  const elsewhere = told({
    host: {
      links: { uplink: {}, cni0: { kind: 'bridge' }, veth1: { peer: 'c1:eth0', in: 'cni0' } },
      addresses: { uplink: ['192.0.2.200/24'], cni0: ['10.1.0.1/24'] },
      routes: ['default via 192.0.2.254 dev uplink', '10.1.0.5/32 dev uplink'],
    },
    sysctls: { 'ipv4/conf/all/rp_filter': 1 },
  });
  t.strictSame(brief(elsewhere), ['error rp-filter-drops c1']);
  t.strictSame(elsewhere[0]?.mend, ['sysctl -w net/ipv4/conf/cni0/rp_filter=2']);
  const two = {
    links: { uplink: {}, cni0: { kind: 'bridge' }, veth1: { peer: 'c1:eth0', in: 'cni0' }, second: {} },
    addresses: { uplink: ['192.0.2.200/24'], cni0: ['10.1.0.1/24'], second: ['203.0.113.2/24'] },
    routes: ['default via 192.0.2.254 dev uplink', 'default via 203.0.113.1 dev second metric 200'],
  };
  t.strictSame(brief(told({ host: two, sysctls: { 'ipv4/conf/second/rp_filter': 1 } })), [
    'warning rp-filter-drops second',
  ]);
  t.strictSame(
    brief(told({ host: two, sysctls: { 'ipv4/conf/second/rp_filter': 2 } })),
    [],
    'loose lets them in',
  );
  const jumbo = told({
    container: { links: { eth0: { peer: 'host:veth1', mtu: 9000 } }, addresses: { eth0: ['10.1.0.5/24'] } },
  });
  t.strictSame(brief(jumbo), ['error mtu-mismatch c1']);
  const narrow = told({
    host: {
      links: { uplink: { mtu: 1400 }, cni0: { kind: 'bridge' }, veth1: { peer: 'c1:eth0', in: 'cni0' } },
      addresses: { uplink: ['192.0.2.200/24'], cni0: ['10.1.0.1/24'] },
      routes: ['default via 192.0.2.254 dev uplink'],
    },
  });
  t.strictSame(brief(narrow), ['warning mtu-mismatch cni0']);
});
