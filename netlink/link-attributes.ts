/** Tables of link messages (linux/if_link.h, linux/rtnetlink.h, drivers/net/veth.c). */
import { Attributes, attribute, many, nested } from './attributes.ts';
import { bool, bool32, type Codec, i32, ip, mac, NLA_F_NESTED, text, u8, u16, u16be, u32 } from './codec.ts';
import { Message, messageIn, Struct } from './message.ts';

export const ifinfomsg = new Struct({
  family: u8,
  pad: u8,
  /** ARPHRD_*. */
  type: u16,
  index: i32,
  flags: u32,
  change: u32,
});

export const bridgeData = new Attributes({
  /** Hundredths of a second. */
  forwardDelay: attribute(1, 'IFLA_BR_FORWARD_DELAY', u32),
  ageingTime: attribute(4, 'IFLA_BR_AGEING_TIME', u32),
  stpState: attribute(5, 'IFLA_BR_STP_STATE', u32),
  vlanFiltering: attribute(7, 'IFLA_BR_VLAN_FILTERING', bool),
  groupForwardMask: attribute(9, 'IFLA_BR_GROUP_FWD_MASK', u16),
  multicastSnooping: attribute(23, 'IFLA_BR_MCAST_SNOOPING', bool),
  callIptables: attribute(36, 'IFLA_BR_NF_CALL_IPTABLES', bool),
  callIp6tables: attribute(37, 'IFLA_BR_NF_CALL_IP6TABLES', bool),
  defaultVlan: attribute(39, 'IFLA_BR_VLAN_DEFAULT_PVID', u16),
});

export const portData = new Attributes({
  /** BR_STATE_*: 0 disabled, 1 listening, 2 learning, 3 forwarding, 4 blocking. */
  state: attribute(1, 'IFLA_BRPORT_STATE', u8),
  cost: attribute(3, 'IFLA_BRPORT_COST', u32),
  hairpin: attribute(4, 'IFLA_BRPORT_MODE', bool),
  learning: attribute(8, 'IFLA_BRPORT_LEARNING', bool),
  unicastFlood: attribute(9, 'IFLA_BRPORT_UNICAST_FLOOD', bool),
  proxyArp: attribute(10, 'IFLA_BRPORT_PROXYARP', bool),
  multicastFlood: attribute(27, 'IFLA_BRPORT_MCAST_FLOOD', bool),
  broadcastFlood: attribute(30, 'IFLA_BRPORT_BCAST_FLOOD', bool),
  neighbourSuppress: attribute(32, 'IFLA_BRPORT_NEIGH_SUPPRESS', bool),
  isolated: attribute(33, 'IFLA_BRPORT_ISOLATED', bool),
});

export const vxlanData = new Attributes({
  vni: attribute(1, 'IFLA_VXLAN_ID', u32),
  group: attribute(2, 'IFLA_VXLAN_GROUP', ip),
  group6: attribute(16, 'IFLA_VXLAN_GROUP6', ip),
  /** Index of the link that carries the tunnel. */
  underlay: attribute(3, 'IFLA_VXLAN_LINK', u32),
  local: attribute(4, 'IFLA_VXLAN_LOCAL', ip),
  local6: attribute(17, 'IFLA_VXLAN_LOCAL6', ip),
  ttl: attribute(5, 'IFLA_VXLAN_TTL', u8),
  tos: attribute(6, 'IFLA_VXLAN_TOS', u8),
  learning: attribute(7, 'IFLA_VXLAN_LEARNING', bool),
  /** Seconds. */
  ageing: attribute(8, 'IFLA_VXLAN_AGEING', u32),
  proxy: attribute(11, 'IFLA_VXLAN_PROXY', bool),
  l2miss: attribute(13, 'IFLA_VXLAN_L2MISS', bool),
  l3miss: attribute(14, 'IFLA_VXLAN_L3MISS', bool),
  port: attribute(15, 'IFLA_VXLAN_PORT', u16be),
  udpChecksum: attribute(18, 'IFLA_VXLAN_UDP_CSUM', bool),
  udpZeroChecksum6Send: attribute(19, 'IFLA_VXLAN_UDP_ZERO_CSUM6_TX', bool),
  udpZeroChecksum6Receive: attribute(20, 'IFLA_VXLAN_UDP_ZERO_CSUM6_RX', bool),
});

export const macvlanData = new Attributes({
  /** MACVLAN_MODE_*: see netlink/link-kinds.ts. */
  mode: attribute(1, 'IFLA_MACVLAN_MODE', u32),
  flags: attribute(2, 'IFLA_MACVLAN_FLAGS', u16),
  broadcastQueueLength: attribute(7, 'IFLA_MACVLAN_BC_QUEUE_LEN', u32),
});

export const vlanData = new Attributes({
  id: attribute(1, 'IFLA_VLAN_ID', u16),
});

export const ipvlanData = new Attributes({
  /** IPVLAN_MODE_*: see netlink/link-kinds.ts. */
  mode: attribute(1, 'IFLA_IPVLAN_MODE', u16),
  flags: attribute(2, 'IFLA_IPVLAN_FLAGS', u16),
});

export const vrfData = new Attributes({ table: attribute(1, 'IFLA_VRF_TABLE', u32) });

/** Of tun and tap links; only read: they are made by ioctl (netlink/native/tun.cc). */
export const tunData = new Attributes({
  owner: attribute(1, 'IFLA_TUN_OWNER', u32),
  group: attribute(2, 'IFLA_TUN_GROUP', u32),
  /** IFF_TUN 1, IFF_TAP 2. */
  type: attribute(3, 'IFLA_TUN_TYPE', u8),
  persist: attribute(6, 'IFLA_TUN_PERSIST', bool),
  multiQueue: attribute(7, 'IFLA_TUN_MULTI_QUEUE', bool),
});

/** Programs that look at frames before anybody else does; only read. */
export const xdpData = new Attributes({
  /** XDP_ATTACHED_*: 0 none. */
  attached: attribute(2, 'IFLA_XDP_ATTACHED', u8),
  program: attribute(4, 'IFLA_XDP_PROG_ID', u32),
});

/** The same for a veth's peer as for the link itself, so declared apart. */
const common = {
  mac: attribute(1, 'IFLA_ADDRESS', mac),
  name: attribute(3, 'IFLA_IFNAME', text(16)),
  /** Bytes. */
  mtu: attribute(4, 'IFLA_MTU', u32),
  txQueueLength: attribute(13, 'IFLA_TXQLEN', u32),
  netnsFd: attribute(28, 'IFLA_NET_NS_FD', u32),
};

export const peerMessage = new Message(ifinfomsg, new Attributes(common));

const vethData = new Attributes({ peer: attribute(1, 'VETH_INFO_PEER', messageIn(peerMessage, 0)) });

const linkInfo = new Attributes({
  kind: attribute(1, 'IFLA_INFO_KIND', text(64)),
  bridge: attribute(2, 'IFLA_INFO_DATA', nested(bridgeData), ['kind', 'bridge']),
  veth: attribute(2, 'IFLA_INFO_DATA', nested(vethData), ['kind', 'veth']),
  vxlan: attribute(2, 'IFLA_INFO_DATA', nested(vxlanData), ['kind', 'vxlan']),
  macvlan: attribute(2, 'IFLA_INFO_DATA', nested(macvlanData), ['kind', 'macvlan']),
  vlan: attribute(2, 'IFLA_INFO_DATA', nested(vlanData), ['kind', 'vlan']),
  ipvlan: attribute(2, 'IFLA_INFO_DATA', nested(ipvlanData), ['kind', 'ipvlan']),
  vrf: attribute(2, 'IFLA_INFO_DATA', nested(vrfData), ['kind', 'vrf']),
  tun: attribute(2, 'IFLA_INFO_DATA', nested(tunData), ['kind', 'tun']),
  slaveKind: attribute(4, 'IFLA_INFO_SLAVE_KIND', text(64)),
  port: attribute(5, 'IFLA_INFO_SLAVE_DATA', nested(portData), ['slaveKind', 'bridge']),
});

/** Settings of a link by IPV4_DEVCONF_* (linux/ip.h): what /proc/sys/net/ipv4/conf/<link>/ has as files. */
const ipv4Settings = new Attributes({ arpNotify: attribute(22, 'IPV4_DEVCONF_ARP_NOTIFY', bool32) });
const ipv4 = new Attributes({ settings: attribute(1, 'IFLA_INET_CONF', nested(ipv4Settings)) });
const ipv6 = new Attributes({
  /** IN6_ADDR_GEN_MODE_* (linux/if_link.h): 0 an address of the link's own from its MAC, 1 none. */
  addressGeneration: attribute(8, 'IFLA_INET6_ADDR_GEN_MODE', u8),
});
const families = nested(
  new Attributes({
    ipv4: attribute(2, 'AF_INET', nested(ipv4)),
    ipv6: attribute(10, 'AF_INET6', nested(ipv6)),
  }),
);

const anyText = text(256);
/** An empty alias takes the alias away (dev_set_alias in net/core/dev.c): then not even a terminator may stand there. */
const aliasText: Codec<string> = {
  ...anyText,
  write: (to, value) => (value === '' ? undefined : anyText.write(to, value)),
};

export const linkMessage = new Message(
  ifinfomsg,
  new Attributes({
    ...common,
    /** Index of the lower link or of a veth's peer, in the namespace `linkNetnsId` where that is given. */
    link: attribute(5, 'IFLA_LINK', u32),
    /** 0 takes the link out of its master. */
    master: attribute(10, 'IFLA_MASTER', u32),
    /** IF_OPER_* (RFC 2863): 2 down, 6 up. */
    operState: attribute(16, 'IFLA_OPERSTATE', u8),
    info: attribute(18, 'IFLA_LINKINFO', nested(linkInfo)),
    alias: attribute(20, 'IFLA_IFALIAS', aliasText),
    /** Only written: what the kernel tells of them has another shape, and nobody here reads it (net/ipv4/devinet.c). */
    families: attribute(26, 'IFLA_AF_SPEC', { ...families, read: () => ({}) }),
    extMask: attribute(29, 'IFLA_EXT_MASK', u32),
    linkNetnsId: attribute(37, 'IFLA_LINK_NETNSID', i32),
    xdp: attribute(43, 'IFLA_XDP', nested(xdpData)),
  }),
);

/** struct bridge_vlan_info. */
const vlanInfo = new Struct({ flags: u16, vid: u16 });

/** AF_BRIDGE messages read IFLA_AF_SPEC in their own way (linux/if_bridge.h). */
export const bridgeVlanMessage = new Message(
  ifinfomsg,
  new Attributes({
    spec: attribute(
      26,
      'IFLA_AF_SPEC',
      nested(
        new Attributes({
          flags: attribute(0, 'IFLA_BRIDGE_FLAGS', u16),
          vlans: attribute(
            2,
            'IFLA_BRIDGE_VLAN_INFO',
            many<{ flags: number; vid: number }>({
              write: (to, value) => vlanInfo.write(to, value),
              read: (found) => vlanInfo.read(found),
            }),
          ),
        }),
        NLA_F_NESTED,
      ),
    ),
    extMask: attribute(29, 'IFLA_EXT_MASK', u32),
  }),
);
