/** Links: look up, make, change, delete (rtnetlink(7); net/core/rtnetlink.c). */
import type { Values } from './attributes.ts';
import type { Op, RawMessage } from './door.ts';
import {
  type bridgeData,
  type ipvlanData,
  linkMessage,
  type macvlanData,
  type portData,
  type tunData,
  type vlanData,
  type vrfData,
  type vxlanData,
} from './link-attributes.ts';
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, nothing, operation, slow } from './message.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_RUNNING = 0x40;
const IFF_PROMISC = 0x100;
const IFF_ALLMULTI = 0x200;
/** Counters are the larger half of an answer, and nobody here reads them. */
const RTEXT_FILTER_SKIP_STATS = 8;

/** A link by name or by index. */
export type LinkRef = string | number;

export type BridgeOptions = Values<typeof bridgeData.table>;
export type PortSettings = Values<typeof portData.table>;
export type VxlanOptions = Values<typeof vxlanData.table>;

export interface Link {
  index: number;
  name: string;
  /** IFF_*. */
  flags: number;
  up: boolean;
  /** Up, with carrier. */
  running: boolean;
  loopback: boolean;
  /** Asked for by a person or program; a bridge's own request does not count. */
  promiscuous: boolean;
  /** Takes every multicast frame. */
  allMulticast: boolean;
  /** ARPHRD_*: 1 is Ethernet. */
  type: number;
  /** Bytes. */
  mtu: number;
  /** Absent where the kind has none. */
  mac: string | undefined;
  /** IF_OPER_*: 2 down, 5 dormant, 6 up. */
  operState: number | undefined;
  /** `bridge`, `veth`, ...; absent for physical links and loopback. */
  kind: string | undefined;
  slaveKind: string | undefined;
  /** Index. */
  master: number | undefined;
  /** Index of the lower link or of a veth's peer, in the namespace of `linkNetnsId` where that is given. */
  link: number | undefined;
  linkNetnsId: number | undefined;
  alias: string | undefined;
  txQueueLength: number | undefined;
  bridge: BridgeOptions | undefined;
  vxlan: VxlanOptions | undefined;
  macvlan: Values<typeof macvlanData.table> | undefined;
  vlan: Values<typeof vlanData.table> | undefined;
  ipvlan: Values<typeof ipvlanData.table> | undefined;
  vrf: Values<typeof vrfData.table> | undefined;
  /** Tun and tap. */
  tun: Values<typeof tunData.table> | undefined;
  /** How it stands in its bridge. */
  port: PortSettings | undefined;
  /** Number of the XDP program that looks at what comes in (0: several); absent where there is none. */
  xdp?: number | undefined;
}

/** Reads one RTM_NEWLINK or RTM_DELLINK; also what a monitor hands over. */
export function decodeLink(message: RawMessage): Link {
  const { header, attributes: found } = linkMessage.read(message.payload);
  return {
    index: header.index,
    name: found.name ?? '',
    flags: header.flags,
    up: (header.flags & IFF_UP) !== 0,
    running: (header.flags & IFF_RUNNING) !== 0,
    loopback: (header.flags & IFF_LOOPBACK) !== 0,
    promiscuous: (header.flags & IFF_PROMISC) !== 0,
    allMulticast: (header.flags & IFF_ALLMULTI) !== 0,
    type: header.type,
    mtu: found.mtu ?? 0,
    mac: found.mac === '' ? undefined : found.mac,
    operState: found.operState,
    kind: found.info?.kind,
    slaveKind: found.info?.slaveKind,
    master: found.master,
    link: found.link,
    linkNetnsId: found.linkNetnsId,
    alias: found.alias,
    txQueueLength: found.txQueueLength,
    bridge: found.info?.bridge,
    vxlan: found.info?.vxlan,
    macvlan: found.info?.macvlan,
    vlan: found.info?.vlan,
    ipvlan: found.info?.ipvlan,
    vrf: found.info?.vrf,
    tun: found.info?.tun,
    port: found.info?.port,
    ...(found.xdp?.attached ? { xdp: found.xdp.program ?? 0 } : {}),
  };
}

function decodeOne(messages: readonly RawMessage[]): Link {
  const found = messages.find((message) => message.type === RTM_NEWLINK);
  if (found === undefined) throw new Error('the kernel acknowledged a link lookup without an answer');
  return decodeLink(found);
}

function target(link: LinkRef): { index: number; name?: string } {
  return typeof link === 'number' ? { index: link } : { index: 0, name: link };
}

function lookup(link: LinkRef): Uint8Array {
  const { index, name } = target(link);
  return linkMessage.encode(RTM_GETLINK, 0, { index }, { name, extMask: RTEXT_FILTER_SKIP_STATS });
}

/** One link; ENODEV when there is none. */
export function getLink(link: LinkRef): Op<Link> {
  return operation('route', linkMessage, [lookup(link)], { what: `look up link ${link}`, decode: decodeOne });
}

/** A lookup whose answer is of no interest, but that the kernel works off what it has put off (see plan/steps/veth.ts). */
export function settleLink(link: LinkRef): Op<void> {
  return operation('route', linkMessage, [lookup(link)], { what: `look up link ${link}`, decode: nothing });
}

/** Every link of the namespace. */
export function listLinks(): Op<Link[]> {
  const request = linkMessage.encode(RTM_GETLINK, NLM_F_DUMP, {}, { extMask: RTEXT_FILTER_SKIP_STATS });
  return operation('route', linkMessage, [request], {
    what: 'list links',
    decode: (messages) => messages.map(decodeLink),
  });
}

/** What may be changed on a link that exists. */
export interface LinkChanges {
  up?: boolean | undefined;
  promiscuous?: boolean | undefined;
  allMulticast?: boolean | undefined;
  /** Bytes. */
  mtu?: number | undefined;
  mac?: string | undefined;
  /** Index of the new master; 0 for none. */
  master?: number | undefined;
  /** At most 255 bytes. */
  alias?: string | undefined;
  txQueueLength?: number | undefined;
  /** The link must be down for it on kernels before 6.2. Only for a link given by index. */
  rename?: string | undefined;
  /** Moves the link; costs an RCU grace period. */
  netnsFd?: number | undefined;
  /** Only for a port of a bridge. */
  port?: PortSettings | undefined;
  /** The kernel announces the link's IPv4 addresses whenever it comes up or its MAC is set (ip-sysctl.rst, arp_notify). */
  arpNotify?: boolean | undefined;
  /** Whether the link gives itself an IPv6 address (fe80::) when it comes up. EAFNOSUPPORT where the kernel has no IPv6. */
  linkLocal?: boolean | undefined;
}

function flagsOf({ up, promiscuous, allMulticast }: LinkChanges): { flags: number; change: number } {
  const asked = [
    { bit: IFF_UP, value: up },
    { bit: IFF_PROMISC, value: promiscuous },
    { bit: IFF_ALLMULTI, value: allMulticast },
  ].filter(({ value }) => value !== undefined);
  const bits = (some: typeof asked) => some.reduce((sum, { bit }) => sum | bit, 0);
  return { flags: bits(asked.filter(({ value }) => value)), change: bits(asked) };
}

/** Changes a link; only what is given changes. ENODEV when there is none. */
export function setLink(link: LinkRef, changes: LinkChanges): Op<void> {
  return operation('route', linkMessage, [change(link, changes)], {
    what: `change link ${link}`,
    decode: nothing,
  });
}

function change(link: LinkRef, changes: LinkChanges): Uint8Array {
  const { index, name } = target(link);
  if (changes.rename !== undefined && name !== undefined) {
    throw new RangeError(`rename: want link ${name} given by its index, found its name`);
  }
  const { mtu, mac, master, alias, txQueueLength, netnsFd, port } = changes;
  return linkMessage.encode(
    RTM_NEWLINK,
    0,
    { index, ...flagsOf(changes) },
    {
      name: name ?? changes.rename,
      mtu,
      mac,
      master,
      alias,
      txQueueLength,
      netnsFd,
      info: port && { slaveKind: 'bridge', port },
      families: familiesOf(changes),
    },
  );
}

function familiesOf({ arpNotify, linkLocal }: LinkChanges) {
  if (arpNotify === undefined && linkLocal === undefined) return undefined;
  return {
    ...(arpNotify !== undefined && { ipv4: { settings: { arpNotify } } }),
    ...(linkLocal !== undefined && { ipv6: { addressGeneration: linkLocal ? 0 : 1 } }),
  };
}

/** Deletes a link; ENODEV when there is none. The answer takes an RCU grace period, the deletion does not. */
export function deleteLink(link: LinkRef): Op<void> {
  const { index, name } = target(link);
  return slow(
    operation('route', linkMessage, [linkMessage.encode(RTM_DELLINK, 0, { index }, { name })], {
      what: `delete link ${link}`,
      decode: nothing,
    }),
  );
}

/** What every new link may be given. */
export interface NewLink {
  name: string;
  /** Absent: the kernel makes one up. */
  mac?: string | undefined;
  /** Bytes. */
  mtu?: number | undefined;
  up?: boolean | undefined;
  /** Index of its master. */
  master?: number | undefined;
  txQueueLength?: number | undefined;
  /** Set right after, and read back with the rest: the kernel takes no alias when it makes a link. */
  alias?: string | undefined;
  /** Only with a bridge as master; set right after. */
  port?: PortSettings | undefined;
}

type LinkAttributes = Parameters<typeof linkMessage.encode>[3];

function newLink(link: NewLink, rest: LinkAttributes): Uint8Array {
  const { name, mac, mtu, master, txQueueLength } = link;
  return linkMessage.encode(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, flagsOf({ up: link.up || undefined }), {
    name,
    mac,
    mtu,
    master,
    txQueueLength,
    ...rest,
  });
}

/** Makes a link in the namespace of `netnsFd`, where it is to be looked up. Without `alias` and `port`: they are set afterwards. */
export function createElsewhere(link: NewLink, what: string, rest: LinkAttributes): Op<void> {
  return operation('route', linkMessage, [newLink(link, rest)], { what, decode: nothing });
}

/** Makes the link, sets what cannot be set at birth, reads it back; EEXIST when the name is taken, and then nothing is changed. */
export function create(link: NewLink, what: string, rest: LinkAttributes): Op<Link> {
  const { name, alias, port } = link;
  const made = newLink(link, rest);
  const later = alias === undefined && port === undefined ? [] : [change(name, { alias, port })];
  return operation('route', linkMessage, [made, ...later, lookup(name)], { what, decode: decodeOne });
}

/** A bridge. */
export function createBridge(link: NewLink & BridgeOptions): Op<Link> {
  const { name, mac, mtu, up, master, txQueueLength, alias, port, ...bridge } = link;
  return create(link, `create bridge ${name}`, { info: { kind: 'bridge', bridge } });
}

/** The inner end of a veth pair. */
export interface VethPeer {
  name: string;
  mac?: string | undefined;
  mtu?: number | undefined;
  txQueueLength?: number | undefined;
  /** Descriptor of the namespace it is born in (Namespace.fd). Absent: that of the first end. */
  netnsFd?: number | undefined;
}

/**
 * A veth pair in one message; the peer is born in its own namespace, with its name, MAC and MTU, but down: the kernel makes
 * the peer first and refuses to set up a veth that has no other end yet (ENOTCONN, drivers/net/veth.c). Set it up there.
 * The answer is the first end; its `link` is the peer's index.
 */
export function createVeth(link: NewLink & { peer: VethPeer }): Op<Link> {
  const peer = { header: {}, attributes: { ...link.peer } };
  const what = `create veth ${link.name} with peer ${link.peer.name}`;
  return create(link, what, { info: { kind: 'veth', veth: { peer } } });
}

/** A VXLAN device; `local6`, `group6` are the IPv6 forms of `local`, `group`. The kernel's default port is 8472: name one. */
export function createVxlan(link: NewLink & { vxlan: VxlanOptions & { vni: number } }): Op<Link> {
  return create(link, `create vxlan ${link.name}`, { info: { kind: 'vxlan', vxlan: link.vxlan } });
}
