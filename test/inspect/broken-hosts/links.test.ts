/** Broken hosts: links, addresses, routes and leases of one bridge network, broken in one typical way after the other. */
import t from 'tap';
import { type Broken, holdTo, makeLab } from './lab.ts';

const OUTSIDE = '198.51.100.2';
const UPLINK = '198.51.100.1';
const DB = '10.88.0.3';

const LINKS: readonly Broken[] = [
  {
    name: "the host's end of a veth down",
    break: 'ip link set $WEB down',
    mend: 'ip link set $WEB up',
    code: 'link-down',
    what: /the host's end of eth0 of container web, is down/,
    trace: { from: 'web', to: OUTSIDE, says: /is down: "ip link set veth\S+ up"/ },
  },
  {
    name: "the host's end of a veth out of its bridge",
    break: 'ip link set $WEB nomaster',
    mend: 'ip link set $WEB master pods0',
    code: 'port-out-of-bridge',
    what: /of container web, is in no bridge; its network is on pods0/,
    trace: { from: 'web', to: OUTSIDE, says: /which leads to container web, is not in pods0/ },
  },
  {
    name: 'isolated ports',
    break: 'bridge link set dev $WEB isolated on; bridge link set dev $DB isolated on',
    mend: 'bridge link set dev $WEB isolated off; bridge link set dev $DB isolated off',
    code: 'port-isolated',
    what: /container web, is an isolated port of pods0/,
    severity: 'warning',
    trace: { from: 'web', to: DB, says: /isolated/ },
  },
  {
    name: 'the bridge has another address',
    break: 'ip addr del 10.88.0.1/24 dev pods0; ip addr add 10.88.0.254/24 dev pods0',
    mend: 'ip addr del 10.88.0.254/24 dev pods0; ip addr add 10.88.0.1/24 dev pods0',
    code: 'gateway-gone',
    what: /pods0 has not 10\.88\.0\.1, which is the gateway of container web and of 1 more/,
    trace: { from: 'web', to: OUTSIDE, says: /asks for 10\.88\.0\.1 on eth0/ },
  },
  {
    name: 'a route more exact, through elsewhere',
    break: 'ip route add 10.88.0.0/28 via 198.51.100.2',
    mend: 'ip route del 10.88.0.0/28',
    code: 'route-elsewhere',
    what: /10\.88\.0\.\d\/24 .*behind pods0, and the host sends what is for it by uplink \(route 10\.88\.0\.0\/28\)/,
    trace: { from: 'outside', to: `${UPLINK}:8080`, says: /10\.88\.0\.0\/28 via 198\.51\.100\.2/ },
  },
  {
    name: 'a wrong neighbour',
    break: 'ip neigh replace 10.88.0.2 lladdr 02:00:00:00:00:99 dev pods0 nud permanent',
    mend: 'ip neigh del 10.88.0.2 dev pods0',
    code: 'neighbour-wrong',
    what: /10\.88\.0\.2 by 02:00:00:00:00:99, for ever \(on pods0\); container web has it/,
    trace: { from: 'host', to: '10.88.0.2', says: /02:00:00:00:00:99/ },
  },
  {
    name: 'an address twice',
    break: 'ip -n $db addr add 10.88.0.2/24 dev eth0',
    mend: 'ip -n $db addr del 10.88.0.2/24 dev eth0',
    code: 'address-duplicate',
    what: /10\.88\.0\.2 is there 2 times: container (web|db)/,
    trace: {
      from: 'host',
      to: '10.88.0.2',
      says: /10\.88\.0\.2 is there 2 times|tak(es|en) .*for its own|an address is there twice/,
    },
  },
  {
    name: 'a MAC twice',
    break: 'ip -n $db link set eth0 address $WEBMAC',
    mend: 'ip -n $db link set eth0 address $DBMAC; ip neigh flush dev pods0; ip -n $web neigh flush dev eth0; ip -n $db neigh flush dev eth0; ip netns exec $web ping -qc1 -w20 10.88.0.1 >/dev/null; ip netns exec $db ping -qc1 -w20 10.88.0.1 >/dev/null',
    code: 'mac-duplicate',
    what: /is there twice on bridge pods0: container (web|db) and container (web|db)/,
  },
  {
    name: 'no default route inside',
    break: 'ip -n $web route del default',
    mend: 'ip -n $web route add default via 10.88.0.1',
    code: 'default-route-gone',
    what: /container web has no IPv4 default route any more/,
    trace: { from: 'web', to: OUTSIDE, says: /has no route to 198\.51\.100\.2/ },
  },
  {
    name: 'a larger MTU inside than on the bridge',
    break: 'ip -n $web link set eth0 mtu 9000',
    mend: 'ip -n $web link set eth0 mtu 1500',
    code: 'mtu-mismatch',
    what: /eth0 has MTU 9000, and \S+ on the host only 1500/,
    trace: { from: 'web', to: OUTSIDE, size: 4000, says: /1500/ },
  },
  {
    name: 'an address gone inside',
    break: 'ip -n $db addr del 10.88.0.3/24 dev eth0',
    mend: 'ip -n $db addr add 10.88.0.3/24 dev eth0; ip -n $db route add default via 10.88.0.1',
    code: 'address-gone',
    what: /container db has lost 10\.88\.0\.3, which network podnet gave to its eth0/,
    trace: { from: 'web', to: DB, says: /10\.88\.0\.3.* nobody there has that address/ },
  },
  {
    name: 'an address leased twice',
    break: 'mkdir $DATA/other; printf "web\\r\\neth1" >$DATA/other/10.88.0.2',
    mend: 'rm -r $DATA/other',
    code: 'lease-doubled',
    what: /10\.88\.0\.2 is leased 2 times: to container web in network other, to container web in network podnet/,
    severity: 'warning',
  },
  {
    name: 'a lease gone',
    break: 'mv $DATA/podnet/10.88.0.2 $DATA/kept',
    mend: 'mv $DATA/kept $DATA/podnet/10.88.0.2',
    code: 'address-unleased',
    what: /container web has 10\.88\.0\.2 of network podnet, and no lease says so/,
    severity: 'warning',
  },
  {
    name: 'a link without owner',
    break:
      'ip link add lonely type veth peer name eth7 netns $web; ip link set lonely alias "weft oldnet ghost eth7"',
    mend: 'ip link del lonely',
    code: 'link-without-owner',
    what: /lonely was made for eth7 of container ghost on network oldnet, which nobody knows/,
    severity: 'warning',
  },
  {
    name: 'a network whose plugin is not there',
    break: `echo '{"cniVersion":"1.0.0","name":"later","plugins":[{"type":"never-heard-of"}]}' >$CONF/99-later.conflist`,
    mend: 'rm $CONF/99-later.conflist',
    code: 'network-not-ready',
    what: /network later .*never-heard-of/,
    severity: 'warning',
  },
  {
    name: 'a leaked lease',
    break: 'printf "ghost\\r\\neth0" >$DATA/podnet/10.88.0.99; touch -d 2001-01-01 $DATA/podnet/10.88.0.99',
    mend: 'rm $DATA/podnet/10.88.0.99',
    code: 'lease-leaked',
    what: /10\.88\.0\.99 is leased to container ghost, which is not there/,
    severity: 'warning',
  },
];

t.test('links, addresses and routes', async (t) => {
  await holdTo(t, await makeLab(t), LINKS);
});
