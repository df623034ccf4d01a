/** Routes (net/ipv4/fib_frontend.c, net/ipv6/route.c). */
import { Attributes, attribute, nested, type Values } from './attributes.ts';
import { AF_INET, bytes, formatIp, ip, maskBytes, parsePrefix, u8, u32 } from './codec.ts';
import type { Op, RawMessage } from './door.ts';
import {
  Message,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  nothing,
  operation,
  Struct,
} from './message.ts';
import { align, LITTLE_ENDIAN } from './writer.ts';

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
const RTM_F_LOOKUP_TABLE = 0x1000;

/** rtnetlink.h, enum rt_class_t. */
export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;
/** rtnetlink.h, enum rt_scope_t. */
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RT_SCOPE_HOST = 254;
const RT_SCOPE_NOWHERE = 255;
/** Made by an administrator; what `ip route` leaves unsaid (boot) is 3. */
export const RTPROT_STATIC = 4;
export const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;

const rtmsg = new Struct({
  family: u8,
  dstLength: u8,
  srcLength: u8,
  tos: u8,
  table: u8,
  protocol: u8,
  scope: u8,
  type: u8,
  flags: u32,
});

const metrics = new Attributes({
  mtu: attribute(2, 'RTAX_MTU', u32),
  advmss: attribute(8, 'RTAX_ADVMSS', u32),
  hopLimit: attribute(10, 'RTAX_HOPLIMIT', u32),
});

export const routeMessage = new Message(
  rtmsg,
  new Attributes({
    dst: attribute(1, 'RTA_DST', ip),
    src: attribute(2, 'RTA_SRC', ip),
    oif: attribute(4, 'RTA_OIF', u32),
    gateway: attribute(5, 'RTA_GATEWAY', ip),
    priority: attribute(6, 'RTA_PRIORITY', u32),
    prefSrc: attribute(7, 'RTA_PREFSRC', ip),
    metrics: attribute(8, 'RTA_METRICS', nested(metrics)),
    nextHops: attribute(9, 'RTA_MULTIPATH', bytes),
    table: attribute(15, 'RTA_TABLE', u32),
  }),
);

/** struct rtnexthop (rtnetlink.h): length, flags, weight, index of the link; attributes follow. */
const NEXT_HOP_HEADER = 8;
const nextHopAttributes = new Attributes({ gateway: attribute(5, 'RTA_GATEWAY', ip) });

interface NextHop {
  link: number;
  gateway: string | undefined;
}

/** Throws RangeError when a length leaves the list. */
function readNextHops(list: Uint8Array): NextHop[] {
  const view = new DataView(list.buffer, list.byteOffset, list.length);
  const hops: NextHop[] = [];
  for (let offset = 0; offset + NEXT_HOP_HEADER <= list.length; ) {
    const length = view.getUint16(offset, LITTLE_ENDIAN);
    if (length < NEXT_HOP_HEADER || offset + length > list.length) {
      throw new RangeError(`next hop at byte ${offset}: length ${length} leaves the list`);
    }
    const { gateway } = nextHopAttributes.read(list.subarray(offset + NEXT_HOP_HEADER, offset + length));
    hops.push({ link: view.getInt32(offset + 4, LITTLE_ENDIAN), gateway });
    offset += align(length);
  }
  return hops;
}

/** A route as wanted. */
export interface NewRoute {
  /** CIDR; host bits must be 0. */
  dst: string;
  /** Next hop; absent for a destination on the link. */
  gateway?: string | undefined;
  /** Index of the link. */
  link?: number | undefined;
  /** Preferred source address. */
  source?: string | undefined;
  /** The next hop is taken to be on the link even where no address says so. */
  onlink?: boolean | undefined;
  priority?: number | undefined;
  /** Absent: the main table. 0 is what the kernel takes for that. */
  table?: number | undefined;
  /** RT_SCOPE_*; absent: universe with a gateway, link without (IPv4). */
  scope?: number | undefined;
  /** RTPROT_*; absent: RTPROT_BOOT, as `ip route` and other plugins have it. */
  protocol?: number | undefined;
  /** RTN_*; absent: unicast. 6 blackhole, 7 unreachable, ... as in rtnetlink.h. */
  type?: number | undefined;
  /** Bytes. */
  mtu?: number | undefined;
  /** Bytes. */
  advmss?: number | undefined;
  hopLimit?: number | undefined;
}

/** A route as found. */
export interface Route {
  family: number;
  /** CIDR: `0.0.0.0/0`, `::/0` for the default route. */
  dst: string;
  gateway: string | undefined;
  link: number | undefined;
  source: string | undefined;
  onlink: boolean;
  priority: number | undefined;
  table: number;
  scope: number;
  protocol: number;
  type: number;
  flags: number;
  mtu: number | undefined;
  advmss: number | undefined;
  hopLimit: number | undefined;
}

/**
 * Reads one RTM_NEWROUTE as the routes that it was made of: the kernel joins IPv6 routes to one destination into one of several
 * next hops.
 */
function decodeRoutes(message: RawMessage): Route[] {
  const route = decodeRoute(message);
  const { nextHops } = routeMessage.read(message.payload).attributes;
  return nextHops === undefined ? [route] : readNextHops(nextHops).map((hop) => ({ ...route, ...hop }));
}

/** Reads one RTM_NEWROUTE or RTM_DELROUTE; of several next hops none. */
export function decodeRoute(message: RawMessage): Route {
  const { header, attributes: found } = routeMessage.read(message.payload);
  return {
    family: header.family,
    dst: `${found.dst ?? (header.family === AF_INET ? '0.0.0.0' : '::')}/${header.dstLength}`,
    gateway: found.gateway,
    link: found.oif,
    source: found.prefSrc,
    onlink: (header.flags & RTNH_F_ONLINK) !== 0,
    priority: found.priority,
    table: found.table ?? header.table,
    scope: header.scope,
    protocol: header.protocol,
    type: header.type,
    flags: header.flags,
    mtu: found.metrics?.mtu,
    advmss: found.metrics?.advmss,
    hopLimit: found.metrics?.hopLimit,
  };
}

function tables(table: number | undefined): { table: number; attribute: number | undefined } {
  const id = table || RT_TABLE_MAIN;
  return id < 256 ? { table: id, attribute: undefined } : { table: 0, attribute: id };
}

function metricsOf({ mtu, advmss, hopLimit }: NewRoute): Values<typeof metrics.table> | undefined {
  return mtu === undefined && advmss === undefined && hopLimit === undefined
    ? undefined
    : { mtu, advmss, hopLimit };
}

function request(type: number, flags: number, wanted: NewRoute): Uint8Array {
  const prefix = parsePrefix(wanted.dst);
  if (maskBytes(prefix.bytes, prefix.length).some((byte, i) => byte !== prefix.bytes[i])) {
    throw new RangeError(`route to ${wanted.dst}: want host bits of 0`);
  }
  const { table, attribute } = tables(wanted.table);
  const added = type === RTM_NEWROUTE;
  const kind = wanted.type ?? (added ? RTN_UNICAST : 0);
  // A delete matches any scope and protocol unless told, as `ip route del` does.
  const byGateway = wanted.gateway === undefined && kind === RTN_UNICAST ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  const scope = wanted.scope ?? (!added ? RT_SCOPE_NOWHERE : prefix.family === AF_INET ? byGateway : 0);
  return routeMessage.encode(
    type,
    flags,
    {
      family: prefix.family,
      dstLength: prefix.length,
      table,
      protocol: wanted.protocol ?? (added ? RTPROT_BOOT : 0),
      scope,
      type: kind,
      flags: wanted.onlink ? RTNH_F_ONLINK : 0,
    },
    {
      dst: prefix.length > 0 ? formatIp(prefix.bytes) : undefined,
      gateway: wanted.gateway,
      oif: wanted.link,
      prefSrc: wanted.source,
      priority: wanted.priority,
      metrics: metricsOf(wanted),
      table: attribute,
    },
  );
}

function words({ dst, gateway, link }: NewRoute): string {
  return `route to ${dst}${gateway ? ` via ${gateway}` : ''}${link === undefined ? '' : ` on link ${link}`}`;
}

/** Adds a route; EEXIST when the table has one for that destination and priority. */
export function addRoute(wanted: NewRoute): Op<void> {
  return operation('route', routeMessage, [request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, wanted)], {
    what: `add ${words(wanted)}`,
    decode: nothing,
  });
}

/**
 * Adds a route where there may be another one for that destination and priority: before it (IPv4), or as one more next hop
 * (IPv6). EEXIST when the very same is there.
 */
export function addRouteBeside(wanted: NewRoute): Op<void> {
  return operation('route', routeMessage, [request(RTM_NEWROUTE, NLM_F_CREATE, wanted)], {
    what: `add ${words(wanted)}`,
    decode: nothing,
  });
}

/** Adds a route, in place of the one with that destination and priority. */
export function replaceRoute(wanted: NewRoute): Op<void> {
  return operation('route', routeMessage, [request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, wanted)], {
    what: `set ${words(wanted)}`,
    decode: nothing,
  });
}

/** Deletes the first route that has all that is given; ESRCH when there is none. */
export function deleteRoute(wanted: NewRoute): Op<void> {
  return operation('route', routeMessage, [request(RTM_DELROUTE, 0, wanted)], {
    what: `delete ${words(wanted)}`,
    decode: nothing,
  });
}

/** Which route the kernel would take to an address; ENETUNREACH when none. */
export function lookupRoute(address: string): Op<Route> {
  const { bytes, length, family } = parsePrefix(address);
  // IPv6 always tells the table, and refuses to be asked (net/ipv6/route.c).
  const header = { family, dstLength: length, flags: family === AF_INET ? RTM_F_LOOKUP_TABLE : 0 };
  return operation(
    'route',
    routeMessage,
    [routeMessage.encode(RTM_GETROUTE, 0, header, { dst: formatIp(bytes) })],
    {
      what: `look up the route to ${address}`,
      decode([message]) {
        if (message === undefined)
          throw new Error('the kernel acknowledged a route lookup without an answer');
        return decodeRoute(message);
      },
    },
  );
}

export interface RouteFilter {
  /** AF_INET or AF_INET6; absent: both. */
  family?: number | undefined;
  /** Absent: every table. */
  table?: number | undefined;
  link?: number | undefined;
  protocol?: number | undefined;
}

/** Routes, filtered by the kernel where it can and by us where not; cached exceptions are left out. ENOENT for an IPv4 table that does not exist. */
export function listRoutes(filter: RouteFilter = {}): Op<Route[]> {
  const { family = 0, table, link, protocol } = filter;
  // Filters other than the family are only taken for one family (strict checking).
  const id = family === 0 ? undefined : table;
  const request = routeMessage.encode(
    RTM_GETROUTE,
    NLM_F_DUMP,
    { family, table: id !== undefined && id < 256 ? id : 0, protocol: family === 0 ? 0 : (protocol ?? 0) },
    { table: id !== undefined && id >= 256 ? id : undefined, oif: family === 0 ? undefined : link },
  );
  return operation('route', routeMessage, [request], {
    what: 'list routes',
    decode: (messages) =>
      messages
        .flatMap(decodeRoutes)
        .filter(
          (route) =>
            (route.flags & RTM_F_CLONED) === 0 &&
            (table === undefined || route.table === table) &&
            (link === undefined || route.link === link) &&
            (protocol === undefined || route.protocol === protocol),
        ),
  });
}
