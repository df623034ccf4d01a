/** From what a person asks to what a prediction is asked. */
import { existsSync } from 'node:fs';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { parseAddress } from '../../cni/prefix.ts';
import { type Container, findContainer } from '../../inspect/containers.ts';
import { identityOf } from '../../inspect/host/namespaces.ts';
import type { Snapshot } from '../../inspect/host/snapshot.ts';
import type { Gathered } from '../../inspect/path/gather.ts';
import { addressOn, lookUp } from '../../inspect/path/routing.ts';
import type { Question } from '../../inspect/path/world.ts';
import { UsageError } from '../context.ts';
import type { Destination } from './parse.ts';

export interface Wanted {
  from: string;
  to: Destination;
  /** Address family where several would do. */
  family?: 4 | 6;
  sourcePort?: number;
  /** Bytes of the IP packet. */
  size?: number;
}

/** An echo request as ping sends it, a SYN, a short datagram: bytes of the IP packet. */
const SIZES = { icmp: 84, tcp: 60, udp: 38, sctp: 68 } as const;
/** To see which link leads outside: of no network that a host or a laboratory may have (RFC 1112 section 4, RFC 4291 section 2.6.1). */
const FAR = { 4: '240.0.0.1', 6: '2000::' } as const;
/** Whoever is outside, where no router has an address. Documentation prefixes (RFC 5737, RFC 3849). */
const ANYWHERE = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;

/** Throws UsageError where something named is not there, CniError where a name is ambiguous or no way leads outside. */
export async function questionFor(gathered: Gathered, wanted: Wanted): Promise<Question> {
  const { from, to } = wanted;
  const host = await gathered.snapshot(gathered.here);
  const goal = to.host === undefined ? undefined : goalOf(gathered, host, to.host);
  const start = startOf(gathered, from);
  const family = chooseFamily(wanted, goal, start);
  const destination =
    goal === undefined ? publishedAt(host, family) : addressOfGoal(goal, family, to.host ?? '');
  const target = goal?.container?.namespace ?? holderOf(gathered, destination);
  const place =
    start.at === 'outside'
      ? await outside(gathered, host, family, start.address)
      : { namespace: start.namespace, ...(start.source && { source: start.source }) };
  const { source, ...where } = place as { namespace: string; link?: number; source?: string };
  return {
    ...where,
    tuple: {
      family,
      protocol: to.protocol === 'icmp' && family === 6 ? 'icmpv6' : to.protocol,
      ...(source === undefined ? {} : { source }),
      destination,
      ...(to.port === undefined ? {} : { sourcePort: wanted.sourcePort ?? 40_000, destinationPort: to.port }),
    },
    length: wanted.size ?? SIZES[to.protocol],
    dontFragment: true,
    ...(target === undefined ? {} : { target }),
  };
}

interface Goal {
  container?: Container;
  addresses: readonly string[];
}

function goalOf(gathered: Gathered, self: Snapshot, text: string): Goal {
  const { containers, placeOf, namespaces, here } = gathered;
  if (parseAddress(text)) return { addresses: [text] };
  if (text === 'outside')
    return { addresses: ([4, 6] as const).flatMap((family) => routerOf(self, family) ?? []) };
  if (text === 'host') return { addresses: globalAddresses(namespaces.get(here)) };
  const container = containerCalled(gathered, text);
  if (container !== undefined) return { container, addresses: container.addresses };
  const host = [...namespaces.values()].find(
    ({ identity }) => placeOf(identity).host === text && placeOf(identity).container === undefined,
  );
  if (host !== undefined) return { addresses: globalAddresses(host) };
  throw nobody(containers, text, 'TO');
}

/** Of the default route, where it has an address that can be asked for from elsewhere than its own link. */
function routerOf(host: Snapshot, family: 4 | 6): string | undefined {
  const { kind, route } = lookUp(host, { tuple: { family, destination: FAR[family] }, iif: 'lo' });
  if (kind !== 'unicast') return undefined;
  return route?.gateway === undefined || /^fe[89ab]/i.test(route.gateway) ? ANYWHERE[family] : route.gateway;
}

function globalAddresses(sketch: Pick<Snapshot, 'addresses'> | undefined): string[] {
  return (sketch?.addresses ?? []).filter(({ scope }) => scope === 0).map(({ address }) => address);
}

/** First of those that this host has to do with: simulated hosts beside it may have others of the same name. */
function containerCalled({ containers, connected }: Gathered, text: string): Container | undefined {
  const near = containers.filter(
    ({ namespace, networks }) => networks.length > 0 || (namespace !== undefined && connected.has(namespace)),
  );
  return findContainer(near, text) ?? findContainer(containers, text);
}

function nobody(containers: readonly Container[], text: string, what: string): Error {
  const some = containers.filter(({ networks }) => networks.length > 0).slice(0, 5);
  const names = some.map(({ id, name }) => name ?? id).join(', ');
  const known = names === '' ? 'no container is known here' : `some that are known: ${names}`;
  return new UsageError(
    `${what} ${JSON.stringify(text)} is no address, and no container is called so: ${known}`,
  );
}

type Start =
  | { at: 'inside'; namespace: string; source?: string; addresses: readonly string[] }
  | { at: 'outside'; address?: string };

function startOf(gathered: Gathered, text: string): Start {
  const { containers, connected, namespaces, here, placeOf } = gathered;
  if (text === 'outside') return { at: 'outside' };
  if (text === 'host') return inside(gathered, here);
  if (parseAddress(text)) {
    const owners = [...namespaces.values()].filter(
      ({ identity, addresses }) =>
        connected.has(identity) && addresses.some(({ address }) => address === text),
    );
    const owner = owners.find(({ identity }) => identity === here) ?? owners[0];
    return owner === undefined
      ? { at: 'outside', address: text }
      : { ...inside(gathered, owner.identity), source: text };
  }
  const container = containerCalled(gathered, text);
  if (container?.namespace !== undefined) return inside(gathered, container.namespace);
  if (container !== undefined)
    throw new UsageError(`container ${text} does not run: its network namespace is gone`);
  const named = [...namespaces.values()].find(({ identity }) => placeOf(identity).host === text);
  const path = text.includes('/') && existsSync(text) ? identityOf(text) : named?.identity;
  if (path !== undefined && namespaces.has(path)) return inside(gathered, path);
  throw nobody(containers, text, 'FROM');
}

function inside({ namespaces }: Gathered, namespace: string): Extract<Start, { at: 'inside' }> {
  return { at: 'inside', namespace, addresses: globalAddresses(namespaces.get(namespace)) };
}

function chooseFamily({ family, to }: Wanted, goal: Goal | undefined, start: Start): 4 | 6 {
  const given = to.host === undefined ? undefined : parseAddress(to.host)?.family;
  if (given !== undefined) return given;
  const source = start.at === 'outside' ? start.address : start.source;
  if (source !== undefined) return source.includes(':') ? 6 : 4;
  if (family !== undefined) return family;
  const has = (all: readonly string[], version: 4 | 6) =>
    all.some((one) => one.includes(':') === (version === 6));
  const four =
    (goal === undefined || has(goal.addresses, 4)) && (start.at === 'outside' || has(start.addresses, 4));
  return four || goal === undefined || !has(goal.addresses, 6) ? 4 : 6;
}

function addressOfGoal({ addresses }: Goal, family: 4 | 6, text: string): string {
  const found = addresses.find((one) => one.includes(':') === (family === 6));
  if (found !== undefined) return found;
  throw new UsageError(`${text} has no IPv${family} address`);
}

/** A published port is asked for at the address that the host has towards outside. */
function publishedAt(host: Snapshot, family: 4 | 6): string {
  const { link, route } = lookUp(host, { tuple: { family, destination: FAR[family] }, iif: 'lo' });
  const address =
    addressOn(host, link?.index, route?.gateway ?? ANYWHERE[family]) ??
    addressOn(host, undefined, ANYWHERE[family]);
  if (address !== undefined) return address;
  throw new CniError(
    ErrorCode.notAvailable,
    `this host has no IPv${family} address to ask for a published port at: give ADDRESS:PORT`,
  );
}

/** The only container that has the address. Of a host's own address nobody knows: it may be meant for a published port. */
function holderOf({ containers }: Gathered, address: string): string | undefined {
  const known = containers.filter(
    ({ addresses, networks }) => addresses.includes(address) && networks.length > 0,
  );
  return known.length === 1 ? known[0]?.namespace : undefined;
}

/**
 * From somewhere else: from the namespace that has the address, where there is one on this machine (simulated hosts); else in by the link that
 * leads there. Nobody named: the router of the default route.
 */
async function outside(
  { namespaces, connected }: Gathered,
  host: Snapshot,
  family: 4 | 6,
  address: string | undefined,
): Promise<{ namespace: string; link?: number; source: string }> {
  const { link, route } = lookUp(host, {
    tuple: { family, destination: address ?? FAR[family] },
    iif: 'lo',
  });
  if (link === undefined) {
    throw new CniError(
      ErrorCode.notAvailable,
      `no route of this host leads outside (IPv${family}): give an address as FROM that it has a route to`,
    );
  }
  const source = address ?? route?.gateway ?? ANYWHERE[family];
  const holders = [...namespaces.values()].filter(
    ({ identity, addresses }) =>
      identity !== host.identity &&
      connected.has(identity) &&
      addresses.some((one) => one.address === source),
  );
  const [holder] = holders;
  if (holder !== undefined && holders.length === 1) return { namespace: holder.identity, source };
  return { namespace: host.identity, link: link.index, source };
}
