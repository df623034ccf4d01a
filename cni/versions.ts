import ipaddr from 'ipaddr.js';
import { showValue } from './config.ts';
import { CniError, ErrorCode } from './errors.ts';
import { fold } from './fold.ts';
import { resultSchema } from './schema.ts';
import type { CniVersion, Dns, Interface, IpConfig, Result, Route } from './types.ts';
import { SUPPORTED_VERSIONS } from './types.ts';

/**
 * Results of every version, read into the newest shape and written in any. Fields that no version knows pass through in
 * both directions (SPEC 1.1, "Success"; behaviour of libcni's pkg/types where the text is silent).
 */

export const NEWEST_VERSION: CniVersion = '1.1.0';

/** What a version's result looks like, seen from the newest. */
interface Shape {
  /** `ip4` and `ip6` instead of lists; no interfaces. */
  legacy: boolean;
  /** `ips[].version` is "4" or "6". */
  ipVersion: boolean;
  /** The fields that 1.1.0 brought: NEW_INTERFACE_FIELDS, NEW_ROUTE_FIELDS. */
  linkDetails: boolean;
}

const SHAPES: Record<CniVersion, Shape> = {
  '0.1.0': { legacy: true, ipVersion: false, linkDetails: false },
  '0.2.0': { legacy: true, ipVersion: false, linkDetails: false },
  '0.3.0': { legacy: false, ipVersion: true, linkDetails: false },
  '0.3.1': { legacy: false, ipVersion: true, linkDetails: false },
  '0.4.0': { legacy: false, ipVersion: true, linkDetails: false },
  '1.0.0': { legacy: false, ipVersion: false, linkDetails: false },
  '1.1.0': { legacy: false, ipVersion: false, linkDetails: true },
};

const NEW_INTERFACE_FIELDS = ['mtu', 'socketPath', 'pciID'];
const NEW_ROUTE_FIELDS = ['mtu', 'advmss', 'priority', 'table', 'scope'];

type Json = Record<string, unknown>;

export function isSupportedVersion(version: string): version is CniVersion {
  return (SUPPORTED_VERSIONS as readonly string[]).includes(version);
}

/** Whether `version` is `floor` or newer. */
export function isAtLeast(version: CniVersion, floor: CniVersion): boolean {
  return SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(floor);
}

/**
 * Writes a result as an object of the given version, ready for JSON.stringify. Empty lists and an empty `dns` are left
 * out. Throws CniError(incompatibleVersion) when the version cannot say it (0.2.0 and older need an address).
 */
export function formatResult(result: Result, version: CniVersion): Json {
  const shape = SHAPES[version];
  const { interfaces, ips, routes, dns, ...unknown } = result as Result & Json;
  const head = { ...unknown, cniVersion: version };
  const dnsPart = dnsIsEmpty(dns) ? {} : { dns };
  const routesOut = shape.linkDetails ? routes : routes.map((route) => without(route, NEW_ROUTE_FIELDS));
  if (shape.legacy) return { ...head, ...formatLegacyIps(ips, routesOut, version), ...dnsPart };
  const interfacesOut = shape.linkDetails
    ? interfaces
    : interfaces.map((link) => without(link, NEW_INTERFACE_FIELDS));
  const ipsOut = shape.ipVersion ? ips.map((ip) => ({ version: family(ip.address), ...ip })) : ips;
  return {
    ...head,
    ...(interfacesOut.length > 0 && { interfaces: interfacesOut }),
    ...(ipsOut.length > 0 && { ips: ipsOut }),
    ...(routesOut.length > 0 && { routes: routesOut }),
    ...dnsPart,
  };
}

function formatLegacyIps(ips: readonly IpConfig[], routes: readonly object[], version: CniVersion): Json {
  const out: Json = {};
  for (const [key, wanted] of [
    ['ip4', '4'],
    ['ip6', '6'],
  ] as const) {
    const first = ips.find((ip) => family(ip.address) === wanted);
    if (first === undefined) continue;
    const { address, interface: _, ...rest } = first;
    const own = routes.filter((route) => family((route as Route).dst) === wanted);
    out[key] = { ip: address, ...rest, ...(own.length > 0 && { routes: own }) };
  }
  if (Object.keys(out).length === 0) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `a result of version ${version} needs an address, this one has none: use cniVersion 0.3.0 or newer`,
    );
  }
  return out;
}

/** Where a result comes from, for its errors. */
export interface ResultSource {
  /** Starts the field names in errors: `prevResult`, `result of host-local`. */
  name: string;
  /** ErrorCode.decoding, or invalidConfig for a part of the configuration. */
  code: number;
}

/**
 * Reads a result of any version into the newest shape. `fallback` is the version of a result that does not say its own
 * (that of the configuration). Throws CniError(incompatibleVersion) on a version that weft does not know, and
 * CniError(source.code) on a wrong type, naming the field.
 */
export function parseResult(value: unknown, fallback: CniVersion, source: ResultSource): Result {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CniError(source.code, `${source.name}: found ${showValue(value)}, wanted a result object`);
  }
  const raw = fold(resultSchema, value) as Json;
  const { cniVersion, ...rest } = raw;
  const version = cniVersion === undefined || cniVersion === '' ? fallback : cniVersion;
  if (typeof version !== 'string' || !isSupportedVersion(version)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `${source.name}.cniVersion: found ${showValue(version)}, wanted one of ${SUPPORTED_VERSIONS.join(', ')}`,
    );
  }
  const reader = new Reader(source);
  return SHAPES[version].legacy ? readLegacy(reader, rest) : readLists(reader, rest);
}

function readLists(reader: Reader, raw: Json): Result {
  const { interfaces, ips, routes, dns, ...unknown } = raw;
  return {
    ...unknown,
    interfaces: reader.list(interfaces, 'interfaces', (item, at) => readInterface(reader, item, at)),
    ips: reader.list(ips, 'ips', (item, at) => readIp(reader, item, at)),
    routes: reader.list(routes, 'routes', (item, at) => readRoute(reader, item, at)),
    dns: readDns(reader, dns),
  };
}

function readLegacy(reader: Reader, raw: Json): Result {
  const { ip4, ip6, dns, ...unknown } = raw;
  const result: Result = { ...unknown, interfaces: [], ips: [], routes: [], dns: readDns(reader, dns) };
  for (const [key, part] of [
    ['ip4', ip4],
    ['ip6', ip6],
  ] as const) {
    if (part === undefined) continue;
    const { ip, routes, ...rest } = reader.object(part, key);
    reader.string(ip, `${key}.ip`, CIDR);
    result.ips.push(readIp(reader, { ...rest, address: ip }, key));
    result.routes.push(...reader.list(routes, `${key}.routes`, (item, at) => readRoute(reader, item, at)));
  }
  return result;
}

function readInterface(reader: Reader, item: Json, at: string): Interface {
  reader.string(item.name, `${at}.name`);
  reader.optionalStrings(item, at, ['mac', 'sandbox', 'socketPath', 'pciID']);
  reader.optionalIntegers(item, at, ['mtu']);
  return zeroIsAbsent(item, ['mac', 'sandbox', 'socketPath', 'pciID', 'mtu']) as unknown as Interface;
}

function readIp(reader: Reader, item: Json, at: string): IpConfig {
  const { version: _, ...ip } = item;
  reader.string(ip.address, `${at}.address`, CIDR);
  // Go's net.IP writes an empty string for no address.
  if (ip.gateway !== undefined && ip.gateway !== '') reader.string(ip.gateway, `${at}.gateway`, ADDRESS);
  reader.optionalIntegers(ip, at, ['interface']);
  return zeroIsAbsent(ip, ['gateway']) as unknown as IpConfig;
}

function readRoute(reader: Reader, item: Json, at: string): Route {
  reader.string(item.dst, `${at}.dst`, CIDR);
  if (item.gw !== undefined && item.gw !== '') reader.string(item.gw, `${at}.gw`, ADDRESS);
  reader.optionalIntegers(item, at, NEW_ROUTE_FIELDS);
  reader.optionalIntegers(item, at, ['scope'], 255);
  // 0 is a table and a scope; for the others it is how Go programs write "not set".
  return zeroIsAbsent(item, ['gw', 'mtu', 'advmss', 'priority']) as unknown as Route;
}

function readDns(reader: Reader, value: unknown): Dns {
  if (value === undefined) return {};
  const dns = reader.object(value, 'dns');
  reader.optionalStrings(dns, 'dns', ['domain']);
  for (const key of ['nameservers', 'search', 'options']) {
    const list = dns[key];
    if (list === undefined) continue;
    if (!Array.isArray(list) || list.some((item) => typeof item !== 'string')) {
      reader.fail(`dns.${key}`, list, 'a list of strings');
    }
  }
  return zeroIsAbsent(dns, ['domain']) as Dns;
}

interface Form {
  test(text: string): boolean;
  wanted: string;
}

const ADDRESS: Form = {
  test: (text) =>
    ipaddr.IPv4.isValidFourPartDecimal(text) ||
    (text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text)),
  wanted: 'an address',
};

const CIDR: Form = {
  test(text) {
    const [address = '', length = '', ...more] = text.split('/');
    const longest = address.includes(':') ? 128 : 32;
    return (
      more.length === 0 &&
      ADDRESS.test(address) &&
      /^(0|[1-9]\d{0,2})$/.test(length) &&
      Number(length) <= longest
    );
  },
  wanted: 'an address with prefix length',
};

/** Checks the types of a result's fields; throws with the field's name. */
class Reader {
  readonly #source: ResultSource;

  constructor(source: ResultSource) {
    this.#source = source;
  }

  fail(field: string, found: unknown, wanted: string): never {
    const what = found === undefined ? 'missing' : `found ${showValue(found)}`;
    throw new CniError(this.#source.code, `${this.#source.name}.${field}: ${what}, wanted ${wanted}`);
  }

  object(value: unknown, at: string): Json {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.fail(at, value, 'an object');
    }
    return value as Json;
  }

  list<T>(value: unknown, at: string, read: (item: Json, at: string) => T): T[] {
    if (value === undefined) return [];
    if (!Array.isArray(value)) this.fail(at, value, 'a list');
    return (value as unknown[]).map((item, index) =>
      read(this.object(item, `${at}[${index}]`), `${at}[${index}]`),
    );
  }

  string(value: unknown, at: string, form?: Form): void {
    if (typeof value !== 'string' || form?.test(value) === false) {
      this.fail(at, value, form?.wanted ?? 'a string');
    }
  }

  optionalStrings(item: Json, at: string, keys: readonly string[]): void {
    for (const key of keys) if (item[key] !== undefined) this.string(item[key], `${at}.${key}`);
  }

  optionalIntegers(item: Json, at: string, keys: readonly string[], largest = 0xffffffff): void {
    for (const key of keys) {
      const value = item[key];
      if (
        value !== undefined &&
        !(Number.isInteger(value) && (value as number) >= 0 && (value as number) <= largest)
      ) {
        this.fail(`${at}.${key}`, value, `an integer from 0 to ${largest}`);
      }
    }
  }
}

/** Which family an address or a prefix belongs to, as `ips[].version` writes it. */
function family(address: string): '4' | '6' {
  return address.includes(':') ? '6' : '4';
}

function dnsIsEmpty(dns: Dns): boolean {
  return Object.values(dns).every(
    (value) => value === undefined || value === '' || (Array.isArray(value) && value.length === 0),
  );
}

function without(item: object, keys: readonly string[]): object {
  return Object.fromEntries(Object.entries(item).filter(([key]) => !keys.includes(key)));
}

/** Drops the given fields where they hold Go's zero value, which its older encoders write for "not set". */
function zeroIsAbsent(item: Json, keys: readonly string[]): Json {
  return Object.fromEntries(
    Object.entries(item).filter(([key, value]) => !((value === '' || value === 0) && keys.includes(key))),
  );
}
