/** Broken hosts: rules, settings and connections of one bridge network with published ports, broken in one typical way after the other. */
import t from 'tap';
import { execIn } from '../../support/host.ts';
import { until } from '../../support/until.ts';
import { type Broken, holdTo, makeLab } from './lab.ts';

const OUTSIDE = '198.51.100.2';
const UPLINK = '198.51.100.1';
const DB = '10.88.0.3';

const RULES: readonly Broken[] = [
  {
    name: 'forwarding off',
    break: 'sysctl -qw net.ipv4.ip_forward=0',
    mend: 'sysctl -qw net.ipv4.ip_forward=1',
    code: 'forwarding-off',
    what: /IPv4 forwarding is off/,
    trace: { from: 'web', to: OUTSIDE, says: /does not forward/ },
  },
  {
    name: 'a stray DROP in nft',
    break: `nft 'add table inet stray { chain wall { type filter hook forward priority 0; ip saddr 10.88.0.0/24 drop; }; }'`,
    mend: 'nft delete table inet stray',
    code: 'rule-drops',
    what: /inet stray wall: ip saddr 10\.88\.0\.0\/24 drop/,
    trace: { from: 'web', to: OUTSIDE, says: /ip saddr 10\.88\.0\.0\/24 drop/ },
  },
  {
    name: 'a stray DROP in iptables',
    break: 'iptables-nft -I FORWARD -s 10.88.0.0/24 -j DROP',
    mend: 'nft delete table ip filter',
    code: 'rule-drops',
    what: /ip filter FORWARD: -s 10\.88\.0\.0\/24 -j DROP/,
    trace: { from: 'web', to: OUTSIDE, says: /-s 10\.88\.0\.0\/24 -j DROP/ },
  },
  {
    name: 'a policy of DROP between neighbours, by bridge-nf-call-iptables',
    break:
      'sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -o uplink -j ACCEPT; iptables-nft -A FORWARD -i uplink -j ACCEPT',
    mend: 'nft delete table ip filter',
    code: 'rule-drops',
    what: /ip filter FORWARD: policy drop/i,
    trace: { from: 'web', to: DB, says: /policy drop/i },
  },
  {
    name: 'strict reverse path, and the way back elsewhere',
    break: 'sysctl -qw net.ipv4.conf.pods0.rp_filter=1; ip route add 10.88.0.2/32 via 198.51.100.2',
    mend: 'sysctl -qw net.ipv4.conf.pods0.rp_filter=0; ip route del 10.88.0.2/32',
    code: 'rp-filter-drops',
    what: /rp_filter of pods0 drops what container web sends/,
    trace: { from: 'web', to: OUTSIDE, says: /rp_filter|reverse path/ },
  },
  {
    name: 'the masquerade deleted',
    break: 'nft delete table inet weft',
    mend: '$MEND',
    code: 'rules-missing',
    what: /container web on network podnet lacks rule .* in table inet weft, and \d+ more|container web on network podnet lacks .*inet weft/,
    trace: { from: 'web', to: OUTSIDE, says: /masquerade|knows? no way back|no route to 10\.88\.0\.2/ },
  },
  {
    name: 'a stale connection of UDP',
    break:
      'conntrack -I -p udp -s 198.51.100.2 -d 198.51.100.1 --sport 4000 --dport 5353 -r 198.51.100.1 -q 198.51.100.2 --reply-port-src 5353 --reply-port-dst 4000 -t 600 >/dev/null 2>&1',
    mend: 'conntrack -D -p udp --orig-dst 198.51.100.1 --orig-port-dst 5353 >/dev/null 2>&1',
    code: 'conntrack-stale',
    what: /udp 5353 .*still goes to 198\.51\.100\.1/,
    trace: {
      from: 'outside',
      to: `${UPLINK}:5353/udp`,
      sourcePort: 4000,
      says: /tracked connection of 198\.51\.100\.2:4000/,
    },
  },
  {
    name: 'a full table of connections',
    break: 'conntrack -F >/dev/null 2>&1',
    // The limit is the machine's.
    settings: { 'netfilter/nf_conntrack_max': 1000, 'netfilter/nf_conntrack_count': 1000 },
    mend: ':',
    code: 'conntrack-full',
    what: /table of connections is full/,
    trace: {
      from: 'web',
      to: OUTSIDE,
      says: /connection tracking is full|tracked connections \(at most 1000\)/,
    },
  },
  {
    name: 'a published port shadowed by an earlier rule',
    break: `nft 'add table ip early { chain pre { type nat hook prerouting priority -110; tcp dport 8080 dnat to 10.88.0.3:80; }; }'`,
    mend: 'nft delete table ip early',
    code: 'port-owned-twice',
    what: /tcp 8080 has two owners/,
    trace: { from: 'outside', to: `${UPLINK}:8080`, says: /tcp dport 8080 dnat to 10\.88\.0\.3:80/ },
  },
  {
    name: 'a stray DROP in legacy iptables',
    break: 'iptables-legacy -I FORWARD -s 10.88.0.0/24 -j DROP',
    mend: 'iptables-legacy -F FORWARD',
    code: 'rule-drops',
    what: /ip filter FORWARD \(legacy\): -s 10\.88\.0\.0\/24 -j DROP/,
    trace: { from: 'web', to: OUTSIDE, says: /-s 10\.88\.0\.0\/24 -j DROP/ },
  },
  {
    name: 'both iptables in use',
    break:
      'iptables-nft -A INPUT -p tcp --dport 1 -j ACCEPT; iptables-legacy -A INPUT -p tcp --dport 2 -j ACCEPT',
    mend: 'nft delete table ip filter; iptables-legacy -D INPUT -p tcp --dport 2 -j ACCEPT',
    code: 'iptables-both-variants',
    what: /iptables-nft in ip filter; iptables-legacy in ip filter/,
    severity: 'warning',
  },
  {
    name: 'an element without a container',
    break: `nft 'add element inet weft masquerade4 { 10.88.0.77 comment "gone eth0" : jump masq-podnet }'`,
    mend: `nft 'delete element inet weft masquerade4 { 10.88.0.77 }'`,
    code: 'nat-without-container',
    what: /nobody here has 10\.88\.0\.77/,
    severity: 'warning',
  },
  {
    name: 'route_localnet off',
    break: 'sysctl -qw net.ipv4.conf.pods0.route_localnet=0',
    mend: 'sysctl -qw net.ipv4.conf.pods0.route_localnet=1',
    code: 'attachment-incomplete',
    what: /route_localnet/,
    trace: { from: 'host', to: '127.0.0.1:8080', says: /route_localnet/ },
  },
];

t.test('rules, settings and connections', async (t) => {
  const lab = await makeLab(t);
  const listen = 'require("node:net").createServer().listen(80)';
  await lab.host.daemon('listener', 'nsenter', [`--net=${lab.web}`, process.execPath, '-e', listen]);
  await until('a program listens on port 80', async () =>
    /:80\b/.test((await execIn(lab.web, 'ss', ['-ltn'])).stdout),
  );
  await holdTo(t, lab, RULES);
});
