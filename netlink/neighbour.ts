/** Neighbours (ARP and NDP entries), proxy entries, and forwarding databases of bridges and VXLANs (net/core/neighbour.c, rtnetlink.c). */
import { Attributes, attribute } from './attributes.ts';
import { AF_BRIDGE, bytes, familyOf, i32, ip, mac, u8, u16, u16be, u32 } from './codec.ts';
import type { Op, RawMessage } from './door.ts';
import {
  Message,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  nothing,
  operation,
  Struct,
} from './message.ts';

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;
const NTF_PROXY = 0x08;
const NTF_EXT_LEARNED = 0x10;
/** neighbour.h: the states of an entry that is there to stay. */
export const NUD_PERMANENT = 0x80;
const NUD_NOARP = 0x40;
const NUD_REACHABLE = 0x02;
const NUD_FAILED = 0x20;

const ndmsg = new Struct({ family: u8, pad1: u8, pad2: u16, index: i32, state: u16, flags: u8, type: u8 });

export const neighbourMessage = new Message(
  ndmsg,
  new Attributes({
    /** The neighbour; in a VXLAN's FDB, the remote end of the tunnel. */
    dst: attribute(1, 'NDA_DST', ip),
    /** Six bytes on Ethernet; tunnels have others. */
    address: attribute(2, 'NDA_LLADDR', bytes),
    vlan: attribute(5, 'NDA_VLAN', u16),
    port: attribute(6, 'NDA_PORT', u16be),
    vni: attribute(7, 'NDA_VNI', u32),
    index: attribute(8, 'NDA_IFINDEX', u32),
    master: attribute(9, 'NDA_MASTER', u32),
    protocol: attribute(12, 'NDA_PROTOCOL', u8),
  }),
);

/** The same message for requests, where the link-layer address is always a MAC. */
const requestMessage = new Message(
  ndmsg,
  new Attributes({
    ...neighbourMessage.attributes.table,
    address: attribute(2, 'NDA_LLADDR', mac),
  }),
);

export interface NewNeighbour {
  /** Index of the link. */
  link: number;
  address: string;
  mac: string;
  /** NUD_*; absent: permanent. */
  state?: number | undefined;
  /** RTPROT_*, a mark of who made it; the kernel does nothing with it. */
  protocol?: number | undefined;
}

export interface Neighbour {
  link: number;
  family: number;
  address: string;
  /** Absent while unresolved, and in proxy entries. */
  mac: string | undefined;
  /** NUD_*. */
  state: number;
  permanent: boolean;
  failed: boolean;
  proxy: boolean;
  protocol: number | undefined;
}

/** Reads one RTM_NEWNEIGH or RTM_DELNEIGH that is not AF_BRIDGE. */
export function decodeNeighbour(message: RawMessage): Neighbour {
  const { header, attributes: found } = neighbourMessage.read(message.payload);
  return {
    link: header.index,
    family: header.family,
    address: found.dst ?? '',
    mac: found.address?.length === 6 ? mac.read(found.address) : undefined,
    state: header.state,
    permanent: (header.state & NUD_PERMANENT) !== 0,
    failed: (header.state & NUD_FAILED) !== 0,
    proxy: (header.flags & NTF_PROXY) !== 0,
    protocol: found.protocol,
  };
}

function request(type: number, flags: number, wanted: NewNeighbour): Uint8Array {
  const { link, address, mac, state = NUD_PERMANENT, protocol } = wanted;
  return requestMessage.encode(
    type,
    flags,
    { family: familyOf(address), index: link, state },
    { dst: address, address: mac, protocol },
  );
}

function words(verb: string, { link, address, mac }: NewNeighbour): string {
  return `${verb} neighbour ${address} at ${mac} on link ${link}`;
}

/** Adds a neighbour; EEXIST when there is an entry for the address. */
export function addNeighbour(wanted: NewNeighbour): Op<void> {
  return operation('route', requestMessage, [request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, wanted)], {
    what: words('add', wanted),
    decode: nothing,
  });
}

/** Adds a neighbour, in place of any entry for the address. */
export function replaceNeighbour(wanted: NewNeighbour): Op<void> {
  return operation('route', requestMessage, [request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, wanted)], {
    what: words('set', wanted),
    decode: nothing,
  });
}

/** Deletes the entry of an address; ENOENT when there is none. */
export function deleteNeighbour(link: number, address: string): Op<void> {
  const header = { family: familyOf(address), index: link };
  const bytes = requestMessage.encode(RTM_DELNEIGH, 0, header, { dst: address });
  return operation('route', requestMessage, [bytes], {
    what: `delete neighbour ${address} of link ${link}`,
    decode: nothing,
  });
}

export interface NeighbourFilter {
  link?: number | undefined;
  family?: number | undefined;
}

/** Neighbours of all links, or of one; both families, or one. The kernel does the filtering. */
export function listNeighbours({ link, family = 0 }: NeighbourFilter = {}): Op<Neighbour[]> {
  return operation(
    'route',
    requestMessage,
    [requestMessage.encode(RTM_GETNEIGH, NLM_F_DUMP, { family }, { index: link })],
    {
      what: `list neighbours${link === undefined ? '' : ` of link ${link}`}`,
      decode: (messages) =>
        messages.map(decodeNeighbour).filter((found) => link === undefined || found.link === link),
    },
  );
}

/** Lets a link answer ARP or NDP for an address that is elsewhere. */
export function addProxyNeighbour(link: number, address: string): Op<void> {
  return proxy(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, link, address);
}

/** ENOENT when there is none. */
export function deleteProxyNeighbour(link: number, address: string): Op<void> {
  return proxy(RTM_DELNEIGH, 0, link, address);
}

function proxy(type: number, flags: number, link: number, address: string): Op<void> {
  const header = { family: familyOf(address), index: link, flags: NTF_PROXY, state: NUD_PERMANENT };
  return operation('route', requestMessage, [requestMessage.encode(type, flags, header, { dst: address })], {
    what: `${type === RTM_NEWNEIGH ? 'add' : 'delete'} proxy neighbour ${address} on link ${link}`,
    decode: nothing,
  });
}

/** Proxy entries, of all links or of one. */
export function listProxyNeighbours({ link, family = 0 }: NeighbourFilter = {}): Op<Neighbour[]> {
  const bytes = requestMessage.encode(RTM_GETNEIGH, NLM_F_DUMP, { family, flags: NTF_PROXY }, {});
  return operation('route', requestMessage, [bytes], {
    what: 'list proxy neighbours',
    decode: (messages) =>
      messages
        .map(decodeNeighbour)
        .filter((found) => found.proxy && (link === undefined || found.link === link)),
  });
}

/** An entry of a bridge's or a VXLAN's forwarding database, as wanted. */
export interface NewFdbEntry {
  /** Index of the port, or of the VXLAN device. */
  link: number;
  mac: string;
  /** Whose database: the device's own (VXLAN), that of the bridge it is a port of, or both in one message. */
  in: 'self' | 'master' | 'both';
  /** The remote end of the tunnel. */
  dst?: string | undefined;
  vlan?: number | undefined;
  /** VXLAN: where these differ from the device's. */
  port?: number | undefined;
  vni?: number | undefined;
  /** Index of the link the tunnel goes out of. */
  via?: number | undefined;
  /** `permanent` is for addresses of the host itself where it is a bridge's; `static` never ages; `dynamic` does. */
  state?: 'permanent' | 'static' | 'dynamic' | undefined;
}

export interface FdbEntry {
  link: number;
  mac: string;
  dst: string | undefined;
  vlan: number | undefined;
  port: number | undefined;
  vni: number | undefined;
  via: number | undefined;
  /** Index of the bridge, where the entry is in a bridge. */
  master: number | undefined;
  self: boolean;
  permanent: boolean;
  static: boolean;
  externallyLearned: boolean;
}

const FDB_STATES = {
  permanent: NUD_PERMANENT | NUD_NOARP,
  static: NUD_NOARP | NUD_REACHABLE,
  dynamic: NUD_REACHABLE,
} as const;

/** Reads one RTM_NEWNEIGH or RTM_DELNEIGH of AF_BRIDGE. */
export function decodeFdb(message: RawMessage): FdbEntry {
  const { header, attributes: found } = neighbourMessage.read(message.payload);
  return {
    link: header.index,
    mac: found.address === undefined ? '' : mac.read(found.address),
    dst: found.dst,
    vlan: found.vlan,
    port: found.port,
    vni: found.vni,
    via: found.index,
    master: found.master,
    self: (header.flags & NTF_SELF) !== 0,
    permanent: (header.state & NUD_PERMANENT) !== 0,
    static: (header.state & (NUD_NOARP | NUD_PERMANENT)) === NUD_NOARP,
    externallyLearned: (header.flags & NTF_EXT_LEARNED) !== 0,
  };
}

function fdbRequest(type: number, flags: number, entry: NewFdbEntry): Uint8Array {
  const { link, mac, in: where, dst, vlan, port, vni, via, state = 'permanent' } = entry;
  const header = {
    family: AF_BRIDGE,
    index: link,
    state: FDB_STATES[state],
    flags: { self: NTF_SELF, master: NTF_MASTER, both: NTF_SELF | NTF_MASTER }[where],
  };
  return requestMessage.encode(type, flags, header, { dst, address: mac, vlan, port, vni, index: via });
}

function fdbOp(verb: string, type: number, flags: number, entry: NewFdbEntry): Op<void> {
  const to = entry.dst === undefined ? '' : ` to ${entry.dst}`;
  return operation('route', requestMessage, [fdbRequest(type, flags, entry)], {
    what: `${verb} FDB entry ${entry.mac}${to} of link ${entry.link}`,
    decode: nothing,
  });
}

/** Adds an entry; EEXIST when there is one for the MAC. */
export function addFdb(entry: NewFdbEntry): Op<void> {
  return fdbOp('add', RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, entry);
}

/** Adds an entry in place of the one for the MAC. */
export function replaceFdb(entry: NewFdbEntry): Op<void> {
  return fdbOp('set', RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
}

/** VXLAN: adds one more destination for the MAC (all zeros: what is not known, and broadcasts). */
export function appendFdb(entry: NewFdbEntry): Op<void> {
  return fdbOp('append', RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, entry);
}

/** Deletes an entry, or with `dst` one destination of it; ENOENT when there is none. */
export function deleteFdb(entry: NewFdbEntry): Op<void> {
  return fdbOp('delete', RTM_DELNEIGH, 0, entry);
}

/** Entries of one port or VXLAN (`link`), of one bridge (`master`), or all. */
export function listFdb({ link, master }: { link?: number; master?: number } = {}): Op<FdbEntry[]> {
  const header = { family: AF_BRIDGE, index: link ?? 0 };
  return operation(
    'route',
    requestMessage,
    [requestMessage.encode(RTM_GETNEIGH, NLM_F_DUMP, header, { master })],
    {
      what: `list FDB entries${link === undefined ? '' : ` of link ${link}`}`,
      decode: (messages) =>
        messages.map(decodeFdb).filter((found) => link === undefined || found.link === link),
    },
  );
}
