/** Which connections that live now were rewritten by which translation. */
import { contains, parseAddress, parseEither } from '../../cni/prefix.ts';
import type { Connection } from '../../netlink/conntrack.ts';
import { protocolNumber } from '../ruleset/names.ts';
import { rangeOf } from './condition.ts';
import type { Translation } from './translation.ts';

/** linux/netfilter/nf_conntrack_common.h */
const IPS_SRC_NAT = 16;
const IPS_DST_NAT = 32;

/**
 * Connections of each translation, in the order of `translations`. A connection may be rewritten at both ends, by one of each kind. Where
 * rules tell packets apart by what a connection does not keep (a mark, a link), the first that may have done it counts.
 */
export function liveConnections(
  translations: readonly Translation[],
  connections: readonly Connection[],
): Connection[][] {
  const found: Connection[][] = translations.map(() => []);
  const destinations = index(
    translations,
    ({ kind }) => kind === 'dnat' || kind === 'redirect',
    ({ to }) => to?.address,
  );
  const sources = index(
    translations,
    ({ kind }) => kind === 'masquerade' || kind === 'snat',
    (one) =>
      one.sources.length === 1
        ? one.sources[0]
        : one.destinations.length === 1
          ? one.destinations[0]
          : undefined,
  );
  for (const connection of connections) {
    const { status, original, reply } = connection;
    const note = (candidates: readonly number[], matches: (one: Translation, it: Connection) => boolean) => {
      const first = candidates.find((i) => translations[i] && matches(translations[i], connection));
      if (first !== undefined) found[first]?.push(connection);
    };
    if ((status & IPS_DST_NAT) !== 0) note(destinations([reply.source]), rewroteDestination);
    if ((status & IPS_SRC_NAT) !== 0) note(sources([original.source, reply.source]), rewroteSource);
  }
  return found;
}

/** Numbers of translations that may be about one of some addresses, those with a mark last; found without looking at all of them. */
function index(
  translations: readonly Translation[],
  wanted: (one: Translation) => boolean,
  address: (one: Translation) => string | undefined,
): (addresses: readonly string[]) => number[] {
  const exact = new Map<string, number[]>();
  const others: number[] = [];
  translations.forEach((one, i) => {
    if (!wanted(one)) return;
    const named = address(one);
    if (named === undefined || parseAddress(named) === undefined) others.push(i);
    else exact.set(named, [...(exact.get(named) ?? []), i]);
  });
  const rank = (i: number) => (translations[i]?.mark === undefined ? i : i + translations.length);
  return (addresses) =>
    [...new Set([...others, ...addresses.flatMap((one) => exact.get(one) ?? [])])].sort(
      (a, b) => rank(a) - rank(b),
    );
}

function rewroteDestination(one: Translation, { original, reply }: Connection): boolean {
  return (
    isOf(one.protocols, original.protocol) &&
    inPorts(one.ports, original.destinationPort) &&
    inAddresses(one.destinations, original.destination) &&
    inAddresses(one.sources, original.source) &&
    (one.to?.address === undefined || inAddresses([one.to.address], reply.source)) &&
    (one.to?.port === undefined || inPorts([one.to.port], reply.sourcePort))
  );
}

function rewroteSource(one: Translation, { original, reply, status }: Connection): boolean {
  return (
    isOf(one.protocols, original.protocol) &&
    inAddresses(one.sources, original.source) &&
    inAddresses(one.destinations, reply.source) &&
    inPorts(one.ports, reply.sourcePort) &&
    (!one.published || (status & IPS_DST_NAT) !== 0) &&
    (one.to?.address === undefined || inAddresses([one.to.address], reply.destination))
  );
}

function isOf(protocols: readonly string[], protocol: number): boolean {
  return protocols.length === 0 || protocols.some((name) => protocolNumber(name) === protocol);
}

function inPorts(ports: readonly string[], port: number | undefined): boolean {
  if (ports.length === 0) return true;
  return ports.some((one) => {
    const range = rangeOf(one);
    return range !== undefined && port !== undefined && port >= range[0] && port <= range[1];
  });
}

/** Whether an address is one of these; sets are not looked into. */
export function inAddresses(among: readonly string[], address: string): boolean {
  if (among.length === 0) return true;
  const found = parseAddress(address);
  return among.some((one) => {
    if (one === address || one.startsWith('@')) return true;
    const prefix = parseEither(one);
    if (prefix)
      return found !== undefined && prefix.address.family === found.family && contains(prefix, found);
    const [from, to] = one.split('-').map(parseAddress);
    if (!from || !to || !found || from.family !== found.family) return false;
    return found.value >= from.value && found.value <= to.value;
  });
}
