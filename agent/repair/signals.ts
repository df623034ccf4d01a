/**
 * What of the kernel's notifications may mean that something of ours is gone. Few bytes of each are read: an ADD makes dozens of
 * notifications, and must not be slower for them.
 */
import { pieces } from '../../netlink/attributes.ts';
import { AF_BRIDGE } from '../../netlink/codec.ts';
import type { Family, Namespace, RawMessage } from '../../netlink/door.ts';
import { type Monitor, monitor, type Overrun } from '../../netlink/monitor.ts';
import { LITTLE_ENDIAN } from '../../netlink/writer.ts';

export type Signal =
  /** Rules, chains, sets or tables were removed; elements of sets, which our own DELs do as well; a policy was set. An author follows. */
  | { kind: 'rules' | 'elements' | 'policy' }
  /** Ends a change of the ruleset: the name of who made it, and the number of its thread in the machine's first PID namespace. */
  | { kind: 'author'; name: string; thread: number | undefined }
  /** An address, a route, a bridge's port or a setting of a link (its index; 0 where it is not known, or of all). */
  | { kind: 'state'; link: number }
  /** A link, with all that it had. Containers' own: nobody but an ADD can make them again. */
  | { kind: 'gone'; link: number; isContainers: boolean };

export type Heard = Signal | Overrun;

/** linux/rtnetlink.h. */
const RTM_DELLINK = 17;
const RTM_DELADDR = 21;
const RTM_DELROUTE = 25;
const RTM_NEWNETCONF = 80;
/** struct netconfmsg, NETCONFA_IFINDEX and one setting: somebody changed it. A link that comes tells all that it has (linux/netconf.h). */
const ONE_SETTING = 20;
/** Where ifinfomsg and ifaddrmsg have the link's index, and rtmsg has who made the route. */
const INDEX = 4;
const PROTOCOL = 5;
const RTPROT_KERNEL = 2;
const RTMSG = 12;
const RTA_OIF = 4;
const IFINFOMSG = 16;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
/** NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET (linux/netfilter/nf_tables.h). */
const REMOVALS = [2, 5, 8, 11];
const NFT_MSG_NEWCHAIN = 3;
const NFTA_CHAIN_POLICY = 5;
const NFT_MSG_DELSETELEM = 14;
const NFT_MSG_NEWGEN = 15;
const NFGENMSG = 4;
const NFTA_GEN_PROC_PID = 2;
const NFTA_GEN_PROC_NAME = 3;

export function readSignal(family: Family, message: RawMessage): Signal | undefined {
  if (family === 'route') return readRouteSignal(message);
  const change = message.type & 0xff;
  if (REMOVALS.includes(change)) return { kind: 'rules' };
  if (change === NFT_MSG_DELSETELEM) return { kind: 'elements' };
  // Somebody's policy: what was let through by nobody may have to be let through from now on.
  if (change === NFT_MSG_NEWCHAIN && hasPolicy(message.payload)) return { kind: 'policy' };
  return change === NFT_MSG_NEWGEN ? authorOf(message.payload) : undefined;
}

function readRouteSignal(message: RawMessage): Signal | undefined {
  const { type, payload } = message;
  if (type === RTM_DELADDR) return { kind: 'state', link: wordAt(payload, INDEX) };
  if (type === RTM_DELLINK) {
    // A port that left its bridge.
    if (payload[0] === AF_BRIDGE) return { kind: 'state', link: wordAt(payload, INDEX) };
    return { kind: 'gone', link: wordAt(payload, INDEX), isContainers: isVeth(payload) };
  }
  if (type === RTM_DELROUTE) {
    // The kernel's own come and go with addresses and links.
    if (payload[PROTOCOL] === RTPROT_KERNEL) return undefined;
    return { kind: 'state', link: wordAt(find(payload.subarray(RTMSG), RTA_OIF), 0) };
  }
  return type === RTM_NEWNETCONF && payload.length <= ONE_SETTING ? { kind: 'state', link: 0 } : undefined;
}

const hasPolicy = (chain: Uint8Array) => find(chain.subarray(NFGENMSG), NFTA_CHAIN_POLICY).length > 0;

function isVeth(link: Uint8Array): boolean {
  const kind = find(find(link.subarray(IFINFOMSG), IFLA_LINKINFO), IFLA_INFO_KIND);
  return Buffer.from(kind.buffer, kind.byteOffset, kind.length).toString('latin1') === 'veth\0';
}

/** The first attribute of that number; empty where there is none. */
function find(list: Uint8Array, wanted: number): Uint8Array {
  for (const { number, payload } of pieces(list)) {
    if (number === wanted) return payload;
  }
  return list.subarray(list.length);
}

const wordAt = ({ buffer, byteOffset, length }: Uint8Array, at: number): number =>
  length < at + 4 ? 0 : new DataView(buffer, byteOffset, length).getUint32(at, LITTLE_ENDIAN);

function authorOf(payload: Uint8Array): Signal {
  let name = 'a program without a name';
  let thread: number | undefined;
  for (const { number, payload: value } of pieces(payload.subarray(NFGENMSG))) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
    if (number === NFTA_GEN_PROC_NAME) name = bytes.toString('utf8').replace(/\0.*$/s, '');
    if (number === NFTA_GEN_PROC_PID && bytes.length === 4) thread = bytes.readUInt32BE();
  }
  return { kind: 'author', name, thread };
}

/** `host` must be of openDoor(). `arrived` is called for every notification. Throws an Error with `code`. */
export async function signals(host: Namespace, arrived: () => void): Promise<Monitor<Signal>> {
  const groups = ['link', 'address', 'route', 'netconf'] as const;
  // The kernel drops the others: most of what an ADD causes does not even wake this process.
  const types = [RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE, RTM_NEWNETCONF];
  const read = (family: Family, message: RawMessage) => {
    arrived();
    return readSignal(family, message);
  };
  try {
    return await monitor(host, [...groups, 'nftables'], read, types);
  } catch {
    // A kernel without nf_tables.
    return await monitor(host, groups, read, types);
  }
}
