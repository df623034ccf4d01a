/** What a server grants: its options as the rest of weft speaks of them. */
import { networkOf } from '../../cni/prefix.ts';
import type { Dns, Route } from '../../cni/types.ts';
import { ANY, dotted, type Message, OPTION, type Options } from './message.ts';

export interface Terms {
  /** CIDR notation. */
  address: string;
  gateway?: string;
  routes: Route[];
  dns: Dns;
  /** Of the server; dotted. */
  server: string;
  /** Seconds from the request; Infinity is a lease without end, and written as null. */
  seconds: number;
  t1: number;
  t2: number;
}

/** RFC 2131, section 4.4.5. */
const [HALF, SEVEN_EIGHTHS] = [0.5, 0.875];
/** RFC 2131, section 3.3. */
const WITHOUT_END = 0xffffffff;
/** RFC 2132, section 5.1. */
const SMALLEST_MTU = 68;

/** Of an offer or an acknowledgement. A text instead: why it cannot be used. */
export function termsOf({ yiaddr, options }: Message): Terms | string {
  const server = options.get(OPTION.server);
  if (server?.length !== 4) return 'it does not say which server it is from';
  if (yiaddr === ANY) return 'it has no address';
  const mask = number(options, OPTION.subnetMask, 4);
  if (mask === undefined) return 'it has no subnet mask';
  const bits = 32 - Math.log2(2 ** 32 - mask);
  if (!Number.isInteger(bits) || bits === 0) return 'its subnet mask is none';
  const granted = number(options, OPTION.leaseTime, 4);
  if (!granted) return 'it has no lease time';
  const mtu = number(options, OPTION.mtu, 2);
  const { gateway, routes } = routing(options);
  return {
    address: `${yiaddr}/${bits}`,
    ...(gateway !== undefined && { gateway }),
    routes: routes.map((route) => (mtu !== undefined && mtu >= SMALLEST_MTU ? { ...route, mtu } : route)),
    dns: dnsOf(options),
    server: dotted(server),
    ...times(granted, options),
  };
}

function times(granted: number, options: Options): { seconds: number; t1: number; t2: number } {
  if (granted === WITHOUT_END) return { seconds: Infinity, t1: Infinity, t2: Infinity };
  const t1 = number(options, OPTION.renewalTime, 4) || granted * HALF;
  const t2 = number(options, OPTION.rebindingTime, 4) || granted * SEVEN_EIGHTHS;
  const sane = t1 < t2 && t2 < granted;
  return { seconds: granted, t1: sane ? t1 : granted * HALF, t2: sane ? t2 : granted * SEVEN_EIGHTHS };
}

function number(options: Options, code: number, size: 2 | 4): number | undefined {
  const value = options.get(code);
  if (value?.length !== size) return undefined;
  const view = new DataView(value.buffer, value.byteOffset, size);
  return size === 2 ? view.getUint16(0) : view.getUint32(0);
}

function addresses(options: Options, code: number): string[] {
  const value = options.get(code) ?? new Uint8Array();
  return Array.from({ length: Math.floor(value.length / 4) }, (_, n) => dotted(value, n * 4));
}

/** Where there are classless routes, the router and the older static routes do not count (RFC 3442, "DHCP Client Behavior"). */
function routing(options: Options): { gateway: string | undefined; routes: Route[] } {
  const classless = options.get(OPTION.classlessRoutes);
  if (classless) {
    const routes = readClassless(classless);
    return { gateway: routes.find(({ dst }) => dst === '0.0.0.0/0')?.gw, routes };
  }
  const gateway = addresses(options, OPTION.routers).find((router) => router !== ANY);
  const pairs = addresses(options, OPTION.staticRoutes);
  const routes: Route[] = [];
  for (let at = 0; at + 1 < pairs.length; at += 2) {
    const [to = ANY, gw = ANY] = [pairs[at], pairs[at + 1]];
    // RFC 2132, section 5.8: the default route is not legal here. A destination without prefix length is a network of its class.
    if (to !== ANY) routes.push({ dst: networkOf(`${to}/${classOf(to)}`), gw });
  }
  if (gateway !== undefined) routes.push({ dst: '0.0.0.0/0', gw: gateway });
  return { gateway, routes };
}

/** RFC 791, section 3.2; what has bits behind its class's is a host. */
function classOf(address: string): number {
  const [first = 0] = address.split('.').map(Number);
  const bits = first < 128 ? 8 : first < 192 ? 16 : first < 224 ? 24 : 32;
  return networkOf(`${address}/${bits}`) === `${address}/${bits}` ? bits : 32;
}

/** RFC 3442: prefix length, as many bytes as it has significant ones, router. What is cut off or impossible ends the list. */
function readClassless(value: Uint8Array): Route[] {
  const routes: Route[] = [];
  for (let at = 0; at < value.length; ) {
    const bits = value[at] ?? 0;
    const bytes = Math.ceil(bits / 8);
    if (bits > 32 || at + 1 + bytes + 4 > value.length) break;
    const to = new Uint8Array(4);
    to.set(value.subarray(at + 1, at + 1 + bytes));
    const gw = dotted(value, at + 1 + bytes);
    const dst = networkOf(`${dotted(to)}/${bits}`);
    // A router of zeros: on this very link.
    routes.push(gw === ANY ? { dst } : { dst, gw });
    at += 1 + bytes + 4;
  }
  return routes;
}

function dnsOf(options: Options): Dns {
  const nameservers = addresses(options, OPTION.nameServers);
  // Some servers end texts with a zero byte (RFC 2132, section 2).
  const domain = text(options.get(OPTION.domainName));
  return { ...(nameservers.length > 0 && { nameservers }), ...(domain !== '' && { domain }) };
}

/** As far as it can be printed. */
export function text(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? [])
    .toString('latin1')
    .replace(/[^\x20-\x7e]+/g, '')
    .trim();
}
