/** What iproute2, nft and ipset were seen to send (captured.json), and the request of ours that means the same. */

import { addAddress, deleteAddress, listAddresses, replaceAddress } from '../../../netlink/address.ts';
import { addBridgeVlans, deleteBridgeVlans } from '../../../netlink/bridge-vlan.ts';
import type { Op } from '../../../netlink/door.ts';
import * as filter from '../../../netlink/filter.ts';
import * as ipset from '../../../netlink/ipset.ts';
import * as link from '../../../netlink/link.ts';
import * as kinds from '../../../netlink/link-kinds.ts';
import * as neighbour from '../../../netlink/neighbour.ts';
import * as nft from '../../../netlink/nftables.ts';
import * as keys from '../../../netlink/nftables-keys.ts';
import { addFilterPlace, deleteRootQdisc } from '../../../netlink/qdisc.ts';
import * as route from '../../../netlink/route.ts';
import { addRule, deleteRule } from '../../../netlink/rule.ts';

export interface Case {
  /** Run in a namespace with br0 (index 10), v0 (11, a port of br0) and vx0 (12, a VXLAN). */
  command: string;
  op: Op;
  /** Attributes that the program sends and we do not, or whose value cannot be the same; with the reason. */
  except?: Readonly<Record<string, string>>;
}

export const SETUP = [
  'ip link set lo up',
  'ip link add br0 index 10 up type bridge',
  'ip address add 10.1.0.1/24 dev br0',
  'ip address add fd00::1/64 dev br0 nodad',
  'ip link add v0 index 11 master br0 up type veth peer name v1 index 13',
  'ip link add vx0 index 12 up type vxlan id 5 dstport 4789 nolearning',
  'nft add table inet weft',
  "nft 'add set inet weft sources { type ipv4_addr; }'",
  "nft 'add set inet weft timed { type ipv4_addr; flags timeout; }'",
  "nft 'add map inet weft ports { type inet_proto . inet_service : ipv4_addr . inet_service; }'",
  "nft 'add chain inet weft a'",
  "nft 'add map inet weft who { type ifname : verdict; }'",
  'ipset create ip4 hash:ip comment',
  'ipset create nets hash:net comment',
  'ipset create ports hash:ip,port comment',
  'ipset create ip6 hash:ip family inet6',
];

const set = (name: string): nft.SetRef => ({ family: 'inet', table: 'weft', set: name });
const setId = { NFTA_SET_ELEM_LIST_SET_ID: 'number that nft gives a set within its batch' };
const lineNumber = { IPSET_ATTR_LINENO: 'line of a file that ipset restores' };

export const CASES: Readonly<Record<string, Case>> = {
  bridge: {
    command:
      'ip link add br1 address 02:00:00:00:00:01 mtu 1400 up type bridge ageing_time 20000 vlan_filtering 0',
    op: link.createBridge({
      name: 'br1',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      up: true,
      ageingTime: 20000,
      vlanFiltering: false,
    }),
  },
  veth: {
    command:
      'ip link add v2 address 02:00:00:00:00:02 mtu 1300 master br0 up type veth peer name eth0 address 02:00:00:00:00:03 mtu 1300 netns NAMESPACE',
    op: link.createVeth({
      name: 'v2',
      mac: '02:00:00:00:00:02',
      mtu: 1300,
      master: 10,
      up: true,
      peer: { name: 'eth0', mac: '02:00:00:00:00:03', mtu: 1300, netnsFd: 3 },
    }),
    except: { IFLA_NET_NS_FD: 'number of a descriptor' },
  },
  'vlan link': {
    command: 'ip link add link br0 name br0.5 address 02:00:00:00:00:05 up type vlan id 5',
    op: kinds.createVlan({ name: 'br0.5', mac: '02:00:00:00:00:05', up: true, lower: 10, id: 5 }),
  },
  vxlan: {
    command: 'ip link add vx1 type vxlan id 77 local 10.1.0.1 dev br0 dstport 4790 ttl 9 nolearning',
    op: link.createVxlan({
      name: 'vx1',
      vxlan: { vni: 77, local: '10.1.0.1', underlay: 10, port: 4790, ttl: 9, learning: false },
    }),
  },
  vxlan6: {
    command: 'ip link add vx2 type vxlan id 78 local fd00::1 group ff05::78 dev br0 dstport 4790',
    op: link.createVxlan({
      name: 'vx2',
      vxlan: { vni: 78, local6: 'fd00::1', group6: 'ff05::78', underlay: 10, port: 4790, learning: true },
    }),
  },
  macvlan: {
    command: 'ip link add mv0 link br0 type macvlan mode private bcqueuelen 500',
    op: kinds.createStacked(
      { name: 'mv0' },
      { lower: 10, as: { type: 'macvlan', mode: 'private', broadcastQueueLength: 500 } },
    ),
  },
  'macvlan in a container': {
    command:
      'ip link add link br0 name eth0 address 02:00:00:00:00:06 mtu 1400 netns NAMESPACE type macvlan mode bridge',
    op: kinds.createStacked(
      { name: 'eth0', mac: '02:00:00:00:00:06', mtu: 1400 },
      { lower: 10, as: { type: 'macvlan', mode: 'bridge' }, netnsFd: 3 },
    ),
    except: { IFLA_NET_NS_FD: 'number of a descriptor' },
  },
  'ipvlan in a container': {
    command: 'ip link add link br0 name eth0 mtu 1400 netns NAMESPACE type ipvlan mode l3s',
    op: kinds.createStacked(
      { name: 'eth0', mtu: 1400 },
      { lower: 10, as: { type: 'ipvlan', mode: 'l3s' }, netnsFd: 3 },
    ),
    except: {
      IFLA_NET_NS_FD: 'number of a descriptor',
      IFLA_IPVLAN_FLAGS: 'how its links reach each other: 0, bridge, is the default',
    },
  },
  'vlan in a container': {
    command: 'ip link add link br0 name eth0 mtu 1400 netns NAMESPACE type vlan id 4094',
    op: kinds.createStacked(
      { name: 'eth0', mtu: 1400 },
      { lower: 10, as: { type: 'vlan', id: 4094 }, netnsFd: 3 },
    ),
    except: { IFLA_NET_NS_FD: 'number of a descriptor' },
  },
  dummy: {
    command: 'ip link add eth0 address 02:00:00:00:00:07 mtu 1400 up type dummy',
    op: kinds.createDummy({ name: 'eth0', mac: '02:00:00:00:00:07', mtu: 1400, up: true }),
  },
  vrf: {
    command: 'ip link add blue up type vrf table 7',
    op: kinds.createVrf({ name: 'blue', up: true, table: 7 }),
  },
  'move and rename': {
    command: 'ip link set dev v0 netns NAMESPACE name eth0 alias v0 up',
    op: link.setLink(11, { netnsFd: 3, rename: 'eth0', alias: 'v0', up: true }),
    except: { IFLA_NET_NS_FD: 'number of a descriptor' },
  },
  changes: {
    command: 'ip link set dev v0 mtu 1234 address 02:00:00:00:00:09 alias weft promisc on up txqueuelen 9',
    op: link.setLink(11, {
      mtu: 1234,
      mac: '02:00:00:00:00:09',
      alias: 'weft',
      promiscuous: true,
      up: true,
      txQueueLength: 9,
    }),
  },
  nomaster: { command: 'ip link set dev v0 nomaster', op: link.setLink(11, { master: 0 }) },
  port: {
    command: 'ip link set dev v0 type bridge_slave hairpin on isolated on learning off neigh_suppress on',
    op: link.setLink(11, {
      port: { hairpin: true, isolated: true, learning: false, neighbourSuppress: true },
    }),
    except: {
      IFLA_INFO_KIND: "'bridge_slave', an invention of iproute2's that the kernel does not read",
      IFLA_INFO_SLAVE_KIND: 'how the kernel itself says it',
    },
  },
  vlan: {
    command: 'bridge vlan add dev v0 vid 100 pvid untagged',
    op: addBridgeVlans(11, [{ vid: 100, pvid: true, untagged: true }]),
  },
  vlans: {
    command: 'bridge vlan del dev v0 vid 200-210',
    op: deleteBridgeVlans(11, [{ vid: 200, end: 210 }]),
  },
  'vlan of the bridge': {
    command: 'bridge vlan add dev br0 vid 7 self',
    op: addBridgeVlans(10, [{ vid: 7 }], true),
  },
  'delete link': { command: 'ip link del dev v0', op: link.deleteLink(11) },
  address: {
    command: 'ip address add 10.2.0.1/24 dev br0',
    op: addAddress({ link: 10, address: '10.2.0.1/24' }),
  },
  'address with all': {
    command: 'ip address add 10.2.0.1/24 broadcast 10.2.0.255 label br0:x dev br0 noprefixroute scope link',
    op: addAddress({
      link: 10,
      address: '10.2.0.1/24',
      broadcast: '10.2.0.255',
      label: 'br0:x',
      noPrefixRoute: true,
      scope: 253,
    }),
  },
  address6: {
    command: 'ip address replace fd01::1/64 dev br0 nodad noprefixroute',
    op: replaceAddress({ link: 10, address: 'fd01::1/64', noDad: true, noPrefixRoute: true }),
  },
  optimistic: {
    command: 'ip address add fd01::1/64 dev br0 optimistic',
    op: addAddress({ link: 10, address: 'fd01::1/64', optimistic: true }),
  },
  'delete address': { command: 'ip address del 10.1.0.1/24 dev br0', op: deleteAddress(10, '10.1.0.1/24') },
  'list addresses': { command: 'ip -4 address show dev br0', op: listAddresses({ link: 10, family: 2 }) },
  route: {
    command: 'ip route add 10.9.0.0/16 via 10.1.0.2 dev br0 src 10.1.0.1 mtu 1300 advmss 1200 metric 7',
    op: route.addRoute({
      dst: '10.9.0.0/16',
      gateway: '10.1.0.2',
      link: 10,
      source: '10.1.0.1',
      mtu: 1300,
      advmss: 1200,
      priority: 7,
    }),
  },
  'default route': {
    command: 'ip route replace default via 10.66.0.2 dev br0 onlink table 1000 proto static',
    op: route.replaceRoute({
      dst: '0.0.0.0/0',
      gateway: '10.66.0.2',
      link: 10,
      onlink: true,
      table: 1000,
      protocol: 4,
    }),
  },
  'route on the link': {
    command: 'ip route add 10.7.0.1/32 dev br0 scope link table 100',
    op: route.addRoute({ dst: '10.7.0.1/32', link: 10, scope: 253, table: 100 }),
  },
  'route on the link, scope unsaid': {
    command: 'ip route add 10.7.0.1/32 dev br0',
    op: route.addRoute({ dst: '10.7.0.1/32', link: 10 }),
  },
  route6: {
    command: 'ip route add fd09::/16 via fd00::2 mtu 1280',
    op: route.addRoute({ dst: 'fd09::/16', gateway: 'fd00::2', mtu: 1280 }),
  },
  'delete route': {
    command: 'ip route del 10.1.0.0/24 dev br0',
    op: route.deleteRoute({ dst: '10.1.0.0/24', link: 10 }),
  },
  neighbour: {
    command: 'ip neighbour add 10.1.0.9 lladdr 02:00:00:00:00:09 dev br0',
    op: neighbour.addNeighbour({ link: 10, address: '10.1.0.9', mac: '02:00:00:00:00:09' }),
  },
  'proxy neighbour': {
    command: 'ip neighbour replace proxy fd00::7 dev br0',
    op: neighbour.addProxyNeighbour(10, 'fd00::7'),
  },
  fdb: {
    command: 'bridge fdb append 00:00:00:00:00:00 dev vx0 dst 10.9.0.2 port 4790 vni 6 via br0',
    op: neighbour.appendFdb({
      link: 12,
      mac: '00:00:00:00:00:00',
      in: 'self',
      dst: '10.9.0.2',
      port: 4790,
      vni: 6,
      via: 10,
    }),
  },
  'fdb of a bridge': {
    command: 'bridge fdb add 02:00:00:00:01:02 dev v0 master static',
    op: neighbour.addFdb({ link: 11, mac: '02:00:00:00:01:02', in: 'master', state: 'static' }),
  },
  element: {
    command: 'nft \'add element inet weft sources { 10.1.0.2 comment "net web" }\'',
    op: nft.batch([
      nft.addElements(set('sources'), [{ key: keys.addressKey('10.1.0.2'), comment: 'net web' }]),
    ]),
    except: setId,
  },
  'element with a timeout': {
    command: "nft 'add element inet weft timed { 10.1.0.2 timeout 1h }'",
    op: nft.batch([
      nft.addElements(set('timed'), [{ key: keys.addressKey('10.1.0.2'), timeout: 3_600_000 }]),
    ]),
    except: setId,
  },
  'map element': {
    command: "nft 'add element inet weft ports { tcp . 8080 : 10.1.0.2 . 80 }'",
    op: nft.batch([
      nft.addElements(set('ports'), [
        {
          key: keys.concatenated(keys.protocolKey(6), keys.portKey(8080)),
          value: keys.concatenated(keys.addressKey('10.1.0.2'), keys.portKey(80)),
        },
      ]),
    ]),
    except: setId,
  },
  'verdict map element': {
    command: 'nft \'add element inet weft who { "eth0" : jump a }\'',
    op: nft.batch([
      nft.addElements(set('who'), [{ key: keys.linkNameKey('eth0'), verdict: { kind: 'jump', chain: 'a' } }]),
    ]),
    except: setId,
  },
  'ipset hash:ip': {
    command: 'ipset add ip4 10.1.0.2 comment "of a container"',
    op: ipset.addSetElement('ip4', { address: '10.1.0.2', comment: 'of a container' }, true),
    except: lineNumber,
  },
  'ipset hash:net': {
    command: 'ipset -exist add nets 10.9.0.0/16',
    op: ipset.addSetElement('nets', { address: '10.9.0.0/16' }),
    except: lineNumber,
  },
  'ipset hash:ip,port': {
    command: 'ipset add ports 10.1.0.2,udp:80',
    op: ipset.addSetElement('ports', { address: '10.1.0.2', port: 80, protocol: 17 }, true),
    except: lineNumber,
  },
  'ipset of IPv6': {
    command: 'ipset add ip6 fd00::2',
    op: ipset.addSetElement('ip6', { address: 'fd00::2' }, true),
    except: lineNumber,
  },
  'no token bucket': {
    command: 'tc qdisc del dev v0 root handle 7765: tbf',
    op: deleteRootQdisc(11, 0x7765, 'tbf'),
  },
  'place for filters': { command: 'tc qdisc add dev v0 clsact', op: addFilterPlace(11) },
  'filter by prefix': {
    command: 'tc filter add dev v0 ingress pref 7 protocol ipv6 u32 match ip6 dst fd00:1:2:3::/68 flowid :1',
    op: filter.addFilter(11, 'ingress', {
      preference: 7,
      match: { side: 'destination', prefix: 'fd00:1:2:3::/68' },
    }),
  },
  'redirecting filter': {
    command:
      'tc filter add dev v0 egress pref 8 protocol all u32 match u32 0 0 action mirred egress redirect dev vx0',
    op: filter.addFilter(11, 'egress', { preference: 8, redirect: 12 }),
  },
  'no filters': {
    command: 'tc filter del dev v0 ingress pref 7 protocol ip',
    op: filter.deleteFilters(11, 'ingress', {
      preference: 7,
      match: { side: 'source', prefix: '10.0.0.0/8' },
    }),
  },
  'policy rule': {
    command: 'ip rule add from 10.1.0.5 lookup 123456 priority 700 protocol 119',
    op: addRule({ from: '10.1.0.5/32', table: 123456, priority: 700, protocol: 119 }),
  },
  'no policy rule': {
    command: 'ip -6 rule del from fd00::5 lookup 100 priority 700',
    op: deleteRule({ from: 'fd00::5/128', table: 100, priority: 700 }),
  },
};
