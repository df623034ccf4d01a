/** Connection tracking: find and delete entries (linux/netfilter/nfnetlink_conntrack.h). */
import { Attributes, attribute, nested, type Values } from './attributes.ts';
import { AF_INET, AF_INET6, bytes, ip, u8, u16be, u32be, u64be } from './codec.ts';
import type { Namespace, Op } from './door.ts';
import { Message, NLM_F_DUMP, nothing, operation, tolerating } from './message.ts';
import { nfgenmsg } from './nftables-attributes.ts';

const SUBSYSTEM = 1;
const IPCTNL_MSG_CT_GET = (SUBSYSTEM << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (SUBSYSTEM << 8) | 2;

const addresses = new Attributes({
  v4Source: attribute(1, 'CTA_IP_V4_SRC', ip),
  v4Destination: attribute(2, 'CTA_IP_V4_DST', ip),
  v6Source: attribute(3, 'CTA_IP_V6_SRC', ip),
  v6Destination: attribute(4, 'CTA_IP_V6_DST', ip),
});

const protocol = new Attributes({
  number: attribute(1, 'CTA_PROTO_NUM', u8),
  sourcePort: attribute(2, 'CTA_PROTO_SRC_PORT', u16be),
  destinationPort: attribute(3, 'CTA_PROTO_DST_PORT', u16be),
});

const tuple = new Attributes({
  ip: attribute(1, 'CTA_TUPLE_IP', nested(addresses)),
  protocol: attribute(2, 'CTA_TUPLE_PROTO', nested(protocol)),
});

/** Only where the kernel counts (nf_conntrack_acct). */
const counters = new Attributes({
  packets: attribute(1, 'CTA_COUNTERS_PACKETS', u64be),
  bytes: attribute(2, 'CTA_COUNTERS_BYTES', u64be),
});

export const entryMessage = new Message(
  nfgenmsg,
  new Attributes({
    original: attribute(1, 'CTA_TUPLE_ORIG', nested(tuple)),
    reply: attribute(2, 'CTA_TUPLE_REPLY', nested(tuple)),
    status: attribute(3, 'CTA_STATUS', u32be),
    timeout: attribute(7, 'CTA_TIMEOUT', u32be),
    mark: attribute(8, 'CTA_MARK', u32be),
    originalCounters: attribute(9, 'CTA_COUNTERS_ORIG', nested(counters)),
    replyCounters: attribute(10, 'CTA_COUNTERS_REPLY', nested(counters)),
    id: attribute(12, 'CTA_ID', u32be),
    zone: attribute(18, 'CTA_ZONE', u16be),
  }),
);

/** To name an entry again, its tuple is sent back as it came. */
const deleteMessage = new Message(
  nfgenmsg,
  new Attributes({
    original: attribute(1, 'CTA_TUPLE_ORIG', { ...bytes, flags: 0x8000 }),
    id: attribute(12, 'CTA_ID', u32be),
    zone: attribute(18, 'CTA_ZONE', u16be),
  }),
);

export interface Flow {
  source: string;
  destination: string;
  /** IP protocol number. */
  protocol: number;
  /** Absent where the protocol has none. */
  sourcePort: number | undefined;
  destinationPort: number | undefined;
}

export interface Connection {
  family: number;
  original: Flow;
  /** What answers look like: differs from the original where NAT is at work. */
  reply: Flow;
  /** IPS_*: 8 confirmed, 16 source NAT, 32 destination NAT. */
  status: number;
  mark: number;
  id: number | undefined;
  zone: number | undefined;
  /** Seconds until the kernel forgets it, unless packets come. */
  timeout?: number | undefined;
  /** Both directions; only where the kernel counts (net.netfilter.nf_conntrack_acct). */
  counters?: { packets: number; bytes: number } | undefined;
}

function readFlow(found: Values<typeof tuple.table> | undefined): Flow {
  return {
    source: found?.ip?.v4Source ?? found?.ip?.v6Source ?? '',
    destination: found?.ip?.v4Destination ?? found?.ip?.v6Destination ?? '',
    protocol: found?.protocol?.number ?? 0,
    sourcePort: found?.protocol?.sourcePort,
    destinationPort: found?.protocol?.destinationPort,
  };
}

interface Tracked extends Connection {
  tuple: Uint8Array;
}

function readEntry(payload: Uint8Array): Tracked {
  const { header, attributes: found } = entryMessage.read(payload);
  return {
    family: header.family,
    original: readFlow(found.original),
    reply: readFlow(found.reply),
    status: found.status ?? 0,
    mark: found.mark ?? 0,
    id: found.id,
    zone: found.zone,
    timeout: found.timeout,
    counters: countersOf(found.originalCounters, found.replyCounters),
    tuple: deleteMessage.read(payload).attributes.original ?? new Uint8Array(),
  };
}

type Counted = Values<typeof counters.table> | undefined;

function countersOf(original: Counted, reply: Counted): { packets: number; bytes: number } | undefined {
  if (original === undefined && reply === undefined) return undefined;
  return {
    packets: (original?.packets ?? 0) + (reply?.packets ?? 0),
    bytes: (original?.bytes ?? 0) + (reply?.bytes ?? 0),
  };
}

/** Entries of one family. */
export function listConnections(family: typeof AF_INET | typeof AF_INET6): Op<Connection[]> {
  return list(family);
}

function list(family: number): Op<Tracked[]> {
  return operation(
    'netfilter',
    entryMessage,
    [entryMessage.encode(IPCTNL_MSG_CT_GET, NLM_F_DUMP, { family }, {})],
    {
      what: 'list tracked connections',
      decode: (messages) => messages.map(({ payload }) => readEntry(payload)),
    },
  );
}

function remove({ family, tuple, id, zone, original }: Tracked): Op<void> {
  const request = deleteMessage.encode(IPCTNL_MSG_CT_DELETE, 0, { family }, { original: tuple, id, zone });
  const op = operation('netfilter', deleteMessage, [request], {
    what: `delete tracked connection from ${original.source} to ${original.destination}`,
    decode: nothing,
  });
  // Gone by itself meanwhile, or its tuple taken by a newer one (other id).
  return tolerating(op, 'ENOENT');
}

/**
 * Deletes the entries that `matches` says yes to, at most `limit` of them, in both families or one. Returns how many were deleted.
 * Throws NetlinkError.
 */
export async function deleteConnections(
  ns: Pick<Namespace, 'send'>,
  matches: (connection: Connection) => boolean,
  { limit = 65_536, families = [AF_INET, AF_INET6] as readonly number[] } = {},
): Promise<number> {
  const doomed: Tracked[] = [];
  for (const family of families) {
    const [found] = await ns.send(list(family));
    if (found.ok) doomed.push(...found.value.filter(matches));
  }
  let deleted = 0;
  for (let at = 0; at < Math.min(doomed.length, limit); at += 256) {
    const replies = await ns.send(...doomed.slice(at, Math.min(at + 256, limit)).map(remove));
    deleted += replies.filter((reply) => reply.ok).length;
  }
  return deleted;
}

/** Matches connections that begin at, end at, or are answered by an address; with `protocol` and `port` only those. */
export function involving(
  address: string,
  protocol?: number,
  port?: number,
): (connection: Connection) => boolean {
  return ({ original, reply }) =>
    [original, reply].some(
      (flow) =>
        (flow.source === address && (port === undefined || flow.sourcePort === port)) ||
        (flow.destination === address && (port === undefined || flow.destinationPort === port)),
    ) &&
    (protocol === undefined || original.protocol === protocol);
}
