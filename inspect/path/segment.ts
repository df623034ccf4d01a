/** Who hears a frame: all that hangs together by bridges and veth pairs, as far as it can be seen. */
import type { Link } from '../../netlink/link.ts';
import { linkByIndex, otherEnd, type World } from './world.ts';

/** A link that hands frames to the network layer of its namespace. */
export interface Endpoint {
  namespace: string;
  link: Link;
}

export interface Segment {
  endpoints: readonly Endpoint[];
  /** Links behind which nobody can look: a network card, a tunnel, a peer in a namespace out of view. */
  open: readonly Endpoint[];
}

/** All that hears what is sent out through a link. */
export function segmentBehind(world: World, namespace: string, link: Link): Segment {
  const found = { endpoints: [] as Endpoint[], open: [] as Endpoint[] };
  const seen = new Set<string>();
  const once = (way: string, at: string, { index }: Link): boolean => {
    const key = `${way} ${at} ${index}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  };
  const goOut = (at: string, through: Link): void => {
    if (!once('out', at, through) || !through.up) return;
    if (through.kind === 'bridge') {
      for (const port of portsOf(world, at, through)) goOut(at, port);
      return;
    }
    if (through.kind === 'macvlan') {
      const lower = otherEnd(world, at, through);
      if (lower === undefined) found.open.push({ namespace: at, link: through });
      else throughLower(through, lower);
      return;
    }
    const other = through.kind === 'veth' ? otherEnd(world, at, through) : undefined;
    if (other === undefined) found.open.push({ namespace: at, link: through });
    else comeIn(other.namespace, other.link);
  };
  /** A macvlan's siblings hear it where both are of mode bridge; the lower link's own namespace never does. */
  const throughLower = (from: Link, lower: Endpoint): void => {
    if (isBridgeMode(from))
      for (const one of macvlansOn(world, lower)) if (isBridgeMode(one.link)) comeIn(one.namespace, one.link);
    goOut(lower.namespace, lower.link);
  };
  const comeIn = (at: string, through: Link): void => {
    if (!once('in', at, through) || !through.up) return;
    const bridge = masterOf(world, at, through);
    if (bridge?.kind !== 'bridge') {
      found.endpoints.push({ namespace: at, link: through });
      for (const one of macvlansOn(world, { namespace: at, link: through })) comeIn(one.namespace, one.link);
      return;
    }
    if (bridge.up) found.endpoints.push({ namespace: at, link: bridge });
    for (const port of portsOf(world, at, bridge)) {
      if (port.index !== through.index && !(port.port?.isolated && through.port?.isolated)) goOut(at, port);
    }
  };
  goOut(namespace, link);
  return found;
}

/** MACVLAN_MODE_BRIDGE. */
export function isBridgeMode({ macvlan }: Link): boolean {
  return macvlan?.mode === 4;
}

/** The macvlans that stand on a link, in whatever namespace they are. */
export function macvlansOn(world: World, lower: Endpoint): Endpoint[] {
  return [...world.sketches.values()].flatMap(({ identity, links }) =>
    links
      .filter((link) => link.kind === 'macvlan' && link.link === lower.link.index)
      .filter((link) => otherEnd(world, identity, link)?.namespace === lower.namespace)
      .map((link) => ({ namespace: identity, link })),
  );
}

export function masterOf(world: World, namespace: string, link: Link): Link | undefined {
  const sketch = world.sketches.get(namespace);
  return sketch && linkByIndex(sketch, link.master);
}

function portsOf(world: World, namespace: string, bridge: Link): readonly Link[] {
  return (world.sketches.get(namespace)?.links ?? []).filter(({ master }) => master === bridge.index);
}

/**
 * Who would answer when asked for an address: Linux answers for every address of its namespace, on whatever link it is, and for those that
 * it stands in for.
 */
export function whoHas(world: World, { endpoints }: Segment, address: string): Endpoint[] {
  return endpoints.filter(({ namespace, link }) => {
    const own = world.sketches.get(namespace)?.addresses.some((one) => one.address === address);
    return own || standsIn(world, namespace, link, address);
  });
}

function standsIn(world: World, namespace: string, link: Link, address: string): boolean {
  const snapshot = world.snapshots.get(namespace);
  if (snapshot === undefined) return false;
  const setting = address.includes(':') ? 'ipv6/conf/*/proxy_ndp' : 'ipv4/conf/*/proxy_arp';
  const on = ['all', link.name].some((name) => snapshot.sysctls.get(setting.replace('*', name)) === 1);
  if (on && !address.includes(':')) return true;
  return snapshot.proxies.some((one) => one.link === link.index && one.address === address);
}

/** Whose link has a MAC. */
export function whoseMac({ endpoints }: Segment, mac: string): Endpoint | undefined {
  return endpoints.find(({ link }) => link.mac === mac);
}
