/** Packets of a flow on all links of a namespace: one packet socket (packet(7)) with a filter. */
import type { Namespace } from '../../netlink/door.ts';
import { type Link, listLinks } from '../../netlink/link.ts';
import {
  AF_PACKET,
  InsideSocket,
  packetAddress,
  type Received,
  readPacketAddress,
  SOCK_RAW,
} from '../../netlink/socket.ts';
import { LITTLE_ENDIAN } from '../../netlink/writer.ts';
import { decodeFrame, decodeNetwork, VXLAN_PORT } from '../packet/decode.ts';
import { flowFilter } from './filter.ts';
import { type Flow, wayOf } from './flow.ts';
import type { SeenPacket, Site } from './request.ts';

const ETH_P_ALL = 3;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_TIMESTAMPNS = 35;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_AUXDATA = 8;
const PACKET_OUTGOING = 4;
const PACKET_USER = 6;
const PACKET_KERNEL = 7;
/** Bytes of memory in the kernel for what was not read yet. */
const RECEIVE_BUFFER = 4 << 20;
/** ARPHRD_*: links whose packets begin with an Ethernet header; loopback has an empty one. */
const ETHERNET = [1, 772];
const LINKTYPE_ETHERNET = 1;
const LINKTYPE_RAW = 101;

/** A namespace held open for an observation, with its links by index. */
export interface OpenSite extends Site {
  ns: Namespace;
  links: ReadonlyMap<number, Link>;
}

export async function linksOf(ns: Namespace): Promise<Map<number, Link>> {
  const [found] = await ns.send(listLinks());
  return new Map((found.ok ? found.value : []).map((link) => [link.index, link]));
}

/** Ports on which VXLAN is spoken in a namespace. */
export function tunnelPorts(links: Iterable<Link>): number[] {
  return [...links].flatMap(({ kind, vxlan }) => (kind === 'vxlan' ? [vxlan?.port ?? VXLAN_PORT] : []));
}

export interface Capture {
  /** How many packets the kernel had no room for since the last call. */
  lost(): number;
  close(): void;
}

/** Begins at once; `seen` gets packets in the order in which they passed. Throws an Error with `code`. */
export async function capture(
  site: OpenSite,
  flow: Flow,
  snapLength: number,
  seen: (packet: SeenPacket) => void,
): Promise<Capture> {
  const kind = { domain: AF_PACKET, type: SOCK_RAW, protocol: 0, room: snapLength };
  const socket = await InsideSocket.open(site.ns, kind, {
    received: (message) => {
      const packet = read(site, flow, message);
      if (packet !== undefined) seen(packet);
    },
    // A link that went down.
    failed: () => {},
  });
  try {
    socket.setOption(SOL_SOCKET, SO_TIMESTAMPNS, 1);
    socket.setOption(SOL_PACKET, PACKET_AUXDATA, 1);
    socket.setOption(SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    socket.filter(flowFilter(flow, snapLength));
    // Before it is bound nothing arrives: there is no packet that the filter has not seen.
    socket.bind(packetAddress(ETH_P_ALL));
  } catch (error) {
    socket.close();
    throw error;
  }
  return {
    lost: () => {
      const statistics = socket.option(SOL_PACKET, PACKET_STATISTICS, 8);
      return new DataView(statistics.buffer, statistics.byteOffset).getUint32(4, LITTLE_ENDIAN);
    },
    close: () => socket.close(),
  };
}

function read(site: OpenSite, flow: Flow, message: Received): SeenPacket | undefined {
  const from = readPacketAddress(message.address);
  if (from.type === PACKET_USER || from.type === PACKET_KERNEL) return undefined;
  const isEthernet = ETHERNET.includes(from.hardware);
  const packet = isEthernet
    ? decodeFrame(message.bytes, flow.tunnels)
    : decodeNetwork(message.bytes, from.protocol, flow.tunnels);
  const way = wayOf(flow, packet);
  const whole = auxiliary(message);
  if (whole?.vlan !== undefined) packet.vlan ??= whole.vlan;
  const inner = packet.vxlan?.inner ?? packet;
  if (way === undefined && inner.arp === undefined && inner.icmp?.target === undefined) return undefined;
  return {
    at: timeOf(message) ?? 0n,
    place: site.place,
    link: site.links.get(from.link)?.name ?? `link ${from.link}`,
    direction: from.type === PACKET_OUTGOING ? 'out' : 'in',
    ...{ way, packet, length: whole?.length ?? message.length, bytes: message.bytes },
    linkType: isEthernet ? LINKTYPE_ETHERNET : LINKTYPE_RAW,
  };
}

const TP_STATUS_VLAN_VALID = 0x10;

/** struct tpacket_auxdata: the length before the filter cut it, and the VLAN tag that the link took off. */
function auxiliary({ controls }: Received): { length: number; vlan?: number } | undefined {
  const data = controls.find(({ level, type }) => level === SOL_PACKET && type === PACKET_AUXDATA)?.data;
  if (data === undefined || data.length < 20) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const length = view.getUint32(4, LITTLE_ENDIAN);
  const isTagged = (view.getUint32(0, LITTLE_ENDIAN) & TP_STATUS_VLAN_VALID) !== 0;
  return isTagged ? { length, vlan: view.getUint16(16, LITTLE_ENDIAN) & 0xfff } : { length };
}

/** struct timespec of 64 bits. */
function timeOf({ controls }: Received): bigint | undefined {
  const data = controls.find(({ level, type }) => level === SOL_SOCKET && type === SO_TIMESTAMPNS)?.data;
  if (data === undefined || data.length < 16) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  return view.getBigInt64(0, LITTLE_ENDIAN) * 1_000_000_000n + view.getBigInt64(8, LITTLE_ENDIAN);
}
