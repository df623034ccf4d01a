/** Packets that netfilter logs, and traces of legacy iptables among them (net/netfilter/nfnetlink_log.c). */
import { Attributes, attribute } from './attributes.ts';
import { bytes, text, u8, u16be, u32be } from './codec.ts';
import type { Namespace } from './door.ts';
import { errnoName } from './errno.ts';
import { Message, NLM_F_ACK, NLMSG_HEADER, Struct } from './message.ts';
import { nfgenmsg } from './nftables-attributes.ts';
import { InsideSocket, SOCK_RAW } from './socket.ts';
import { align, LITTLE_ENDIAN } from './writer.ts';

const AF_NETLINK = 16;
const NETLINK_NETFILTER = 12;
const SUBSYSTEM = 4;
const NFULNL_MSG_PACKET = 0;
const NFULNL_MSG_CONFIG = 1;
const NLMSG_ERROR = 2;
const BIND = 1;
const COPY_PACKET = 2;

const configuration = new Message(
  nfgenmsg,
  new Attributes({
    command: attribute(1, 'NFULA_CFG_CMD', u8),
    mode: attribute(2, 'NFULA_CFG_MODE', bytes),
    /** Packets that are told together. */
    threshold: attribute(5, 'NFULA_CFG_QTHRESH', u32be),
  }),
);
const logged = new Attributes({
  header: attribute(1, 'NFULA_PACKET_HDR', bytes),
  iif: attribute(4, 'NFULA_IFINDEX_INDEV', u32be),
  oif: attribute(5, 'NFULA_IFINDEX_OUTDEV', u32be),
  payload: attribute(9, 'NFULA_PAYLOAD', bytes),
  prefix: attribute(10, 'NFULA_PREFIX', text(128)),
});
/** struct nfulnl_msg_packet_hdr. */
const packetHeader = new Struct({ protocol: u16be, hook: u8 });

export interface Logged {
  /** What the rule says: `TRACE: filter:FORWARD:rule:3`. */
  prefix: string;
  /** ETH_P_*. */
  protocol: number;
  /** NF_INET_*. */
  hook: number;
  /** Indexes of links. */
  iif: number | undefined;
  oif: number | undefined;
  packet: Uint8Array;
}

export interface LogListener {
  close(): void;
}

/**
 * Hears of what is logged to a group, each time at once; `length` bytes of each packet. Throws an Error with `code`: EBUSY where somebody
 * else listens to that group.
 */
export async function listenToLog(
  ns: Namespace,
  group: number,
  length: number,
  heard: (packet: Logged) => void,
): Promise<LogListener> {
  let answered: (errno: number) => void = () => {};
  const answer = new Promise<number>((resolve) => {
    answered = resolve;
  });
  const socket = await InsideSocket.open(
    ns,
    { domain: AF_NETLINK, type: SOCK_RAW, protocol: NETLINK_NETFILTER },
    {
      received: (message) => {
        for (const { type, payload } of messages(message.bytes)) {
          if (type === NLMSG_ERROR)
            answered(-new DataView(payload.buffer, payload.byteOffset).getInt32(0, LITTLE_ENDIAN));
          if (type === ((SUBSYSTEM << 8) | NFULNL_MSG_PACKET)) heard(decode(payload));
        }
      },
      failed: () => {},
    },
  );
  try {
    const mode = new Uint8Array(6);
    new DataView(mode.buffer).setUint32(0, length);
    mode[4] = COPY_PACKET;
    socket.send(
      configuration.encode(
        (SUBSYSTEM << 8) | NFULNL_MSG_CONFIG,
        NLM_F_ACK,
        { resourceId: group },
        {
          ...{ command: BIND, mode, threshold: 1 },
        },
      ),
    );
    const errno = await answer;
    if (errno !== 0) {
      const code = errnoName(errno);
      throw Object.assign(new Error(`cannot listen to log group ${group}: ${code}`), { code, errno });
    }
  } catch (error) {
    socket.close();
    throw error;
  }
  return { close: () => socket.close() };
}

function* messages(found: Uint8Array): Generator<{ type: number; payload: Uint8Array }> {
  const view = new DataView(found.buffer, found.byteOffset, found.length);
  for (let at = 0; at + NLMSG_HEADER <= found.length; ) {
    const length = view.getUint32(at, LITTLE_ENDIAN);
    if (length < NLMSG_HEADER || at + length > found.length) return;
    yield {
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      payload: found.subarray(at + NLMSG_HEADER, at + length),
    };
    at += align(length);
  }
}

function decode(payload: Uint8Array): Logged {
  const found = logged.read(payload.subarray(nfgenmsg.size));
  const header = found.header && packetHeader.read(found.header);
  return {
    prefix: (found.prefix ?? '').trim(),
    protocol: header?.protocol ?? 0,
    hook: header?.hook ?? 0,
    iif: found.iif,
    oif: found.oif,
    packet: found.payload ?? new Uint8Array(),
  };
}
