/** Broken hosts: of both families, with rules of other programs: those of Docker, of kube-proxy, of families that are seldom looked into. */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { execIn } from '../../support/host.ts';
import { until } from '../../support/until.ts';
import { type Broken, holdTo, makeLab } from './lab.ts';

const OUTSIDE = { v4: '198.51.100.2', v6: '2001:db8:ff::2' } as const;
const UPLINK = '198.51.100.1';
const WEB6 = 'fd00:88::2';
const DB6 = 'fd00:88::3';
const XDP = fileURLToPath(new URL('xdp-drop.py', import.meta.url));

const CASES: readonly Broken[] = [
  {
    name: 'a stray DROP of IPv6 alone',
    break: 'ip6tables-nft -I FORWARD -s fd00:88::/64 -j DROP',
    mend: 'nft delete table ip6 filter',
    code: 'rule-drops',
    what: /ip6 filter FORWARD: -s fd00:88::\/64 -j DROP/,
    trace: { from: 'web', to: OUTSIDE.v6, says: /-s fd00:88::\/64 -j DROP/ },
  },
  {
    name: 'forwarding of IPv6 off',
    break: 'sysctl -qw net.ipv6.conf.all.forwarding=0',
    mend: 'sysctl -qw net.ipv6.conf.all.forwarding=1',
    code: 'forwarding-off',
    what: /IPv6 forwarding is off/,
    trace: { from: 'web', to: OUTSIDE.v6, says: /does not forward/ },
  },
  {
    name: "somebody's table that drops what it does not know",
    break: `nft 'add table inet corp { chain passing { type filter hook forward priority 10; policy drop; ct state established,related accept; ip saddr 10.0.0.0/8 accept; }; }'`,
    mend: 'nft delete table inet corp',
    code: 'rule-drops',
    what: /the policy of a chain drops packets .*inet corp passing: policy drop/,
    trace: { from: 'web', to: OUTSIDE.v6, says: /policy drop/ },
  },
  {
    name: 'a chain at the link that drops before it leaves',
    break: `nft 'add table netdev shaper { chain leaving { type filter hook egress device "uplink" priority 0; ip daddr 198.51.100.0/24 drop; }; }'`,
    mend: 'nft delete table netdev shaper',
    code: 'rule-drops',
    what: /netdev shaper leaving: ip daddr 198\.51\.100\.0\/24 drop/,
    trace: {
      from: 'web',
      to: OUTSIDE.v4,
      says: /drop by "ip daddr 198\.51\.100\.0\/24 drop" in chain leaving of table netdev shaper/,
    },
  },
  {
    name: 'a rule for frames between ports of the bridge',
    break: `nft 'add table bridge sec { chain passing { type filter hook forward priority 0; ether type ip6 drop; }; }'`,
    mend: 'nft delete table bridge sec',
    code: 'rule-drops',
    what: /bridge sec passing: ether type ip6 drop/,
    trace: { from: 'web', to: DB6, says: /ether type ip6 drop/ },
  },
  {
    name: 'a published port dropped before anything is looked up',
    break: 'iptables-nft -t raw -A PREROUTING -p tcp --dport 8080 -j DROP',
    mend: 'nft delete table ip raw',
    code: 'rule-drops',
    what: /ip raw PREROUTING: -p tcp -m tcp --dport 8080 -j DROP/,
    trace: { from: 'outside', to: `${UPLINK}:8080`, says: /--dport 8080 -j DROP/ },
  },
  {
    name: 'a published port that is not tracked: nothing is rewritten',
    break: 'iptables-nft -t raw -A PREROUTING -p tcp --dport 8080 -j CT --notrack',
    mend: 'nft delete table ip raw',
    code: 'way-blocked',
    what: /from outside to .*:8080.* nobody listens/,
    trace: {
      from: 'outside',
      to: `${UPLINK}:8080`,
      says: /nobody listens on tcp 198\.51\.100\.1:8080|not tracked/,
    },
  },
  {
    name: 'a node port of kube-proxy that is our published port',
    break:
      'iptables-nft -t nat -N KUBE-SERVICES; iptables-nft -t nat -N KUBE-NODEPORTS; iptables-nft -t nat -N KUBE-SVC-X; iptables-nft -t nat -N KUBE-SEP-X; ' +
      'iptables-nft -t nat -A KUBE-SEP-X -p tcp -m comment --comment "default/web" -j DNAT --to-destination 10.88.0.3:80; ' +
      'iptables-nft -t nat -A KUBE-SVC-X -m comment --comment "default/web" -j KUBE-SEP-X; ' +
      'iptables-nft -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment "default/web" -m tcp --dport 8080 -j KUBE-SVC-X; ' +
      'iptables-nft -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS; ' +
      'iptables-nft -t nat -A PREROUTING -j KUBE-SERVICES',
    mend: 'nft delete table ip nat',
    code: 'port-owned-twice',
    what: /tcp 8080 has two owners: .*kube-proxy/,
    trace: { from: 'outside', to: `${UPLINK}:8080`, says: /KUBE-SEP-X/ },
  },
  {
    name: 'packets that somebody marks, and a rule that sends them astray',
    break:
      'ip route add blackhole default table 77; ip rule add fwmark 0x7 lookup 77 priority 70; iptables-nft -t mangle -A PREROUTING -i pods0 -j MARK --set-mark 7',
    mend: 'nft delete table ip mangle; ip rule del priority 70; ip route flush table 77',
    code: 'way-blocked',
    what: /blackhole/,
    trace: { from: 'web', to: OUTSIDE.v4, says: /refuses 198\.51\.100\.2 by a route of kind blackhole/ },
  },
  {
    name: 'no default route of IPv6 inside',
    break: 'ip -n $web -6 route del default',
    mend: 'ip -n $web -6 route add default via fd00:88::1',
    code: 'default-route-gone',
    what: /container web has no IPv6 default route any more/,
    trace: { from: 'web', to: OUTSIDE.v6, says: /has no route to 2001:db8:ff::2/ },
  },
  {
    name: 'a wrong neighbour of IPv6',
    break: `ip neigh replace ${WEB6} lladdr 02:00:00:00:00:99 dev pods0 nud permanent`,
    mend: `ip neigh del ${WEB6} dev pods0`,
    code: 'neighbour-wrong',
    what: /fd00:88::2 by 02:00:00:00:00:99, for ever/,
    trace: { from: 'host', to: WEB6, says: /02:00:00:00:00:99/ },
  },
  {
    name: 'a route of IPv6 that says no',
    break: `ip -6 route add unreachable ${WEB6}/128`,
    mend: `ip -6 route del unreachable ${WEB6}/128`,
    code: 'route-elsewhere',
    what: /fd00:88::2/,
    trace: { from: 'host', to: WEB6, says: /refuses fd00:88::2 by a route of kind unreachable/ },
  },
  {
    name: 'a program at a link',
    break: 'python3 $XDP $WEB',
    mend: 'python3 $XDP $WEB off',
    code: 'link-program',
    what: /XDP program \d+ looks at what comes in by veth\S+, the host's end of eth0 of container web/,
    severity: 'note',
    trace: { from: 'web', to: OUTSIDE.v4, says: /XDP program \d+, which looks at what comes in by/ },
  },
  {
    name: 'a program of the host on a published port',
    break: `sh -c 'python3 -m http.server --bind 0.0.0.0 8080 >/dev/null 2>&1 & echo $! >$CONF/pid'; until ss -Hltn "sport = :8080" | grep -q .; do sleep 0.1; done`,
    mend: 'kill $(cat $CONF/pid); rm $CONF/pid; while ss -Hltn "sport = :8080" | grep -q .; do sleep 0.1; done',
    code: 'port-listened-to',
    what: /tcp 8080 is published for container web, and python3 \(process \d+\) listens on it/,
    severity: 'warning',
  },
];

t.test('of both families, and of other programs', async (t) => {
  const lab = await makeLab(t, 1500, true);
  const listen = 'require("node:net").createServer().listen(80)';
  await lab.host.daemon('listener', 'nsenter', [`--net=${lab.web}`, process.execPath, '-e', listen]);
  await until('a program listens on port 80', async () =>
    /:80\b/.test((await execIn(lab.web, 'ss', ['-ltn'])).stdout),
  );
  await holdTo(t, lab, CASES, { XDP });
});
