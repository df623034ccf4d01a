/** The network layer: what is sent, what comes in, what is passed on (net/ipv4/ip_output.c, ip_input.c, ip_forward.c, route.c; net/ipv6/). */
import type { Link } from '../../netlink/link.ts';
import type { Snapshot } from '../host/snapshot.ts';
import { deliver } from './delivery.ts';
import { runHook } from './hooks.ts';
import { resolve } from './neighbours.ts';
import { type Packet, tupleWords } from './packet.ts';
import { virtualService } from './programs.ts';
import { localhost6, reverseProblem } from './reverse-path.ts';
import { isLocal, lookUp, type RouteDecision, sourceFor } from './routing.ts';
import { drop, type End, pass, placeWords, type Step, type Walk } from './world.ts';

/** In the place of the namespace where the packet is. */
export interface Here {
  walk: Walk;
  snapshot: Snapshot;
}

/** A program of this namespace sends it, or the kernel. */
export function send(walk: Walk, snapshot: Snapshot, first: Packet): Step {
  const here = { walk, snapshot };
  const decision = routeOut(here, first);
  if ('at' in decision) return decision;
  const source = first.tuple.source || sourceFor(snapshot, decision, first.tuple.destination);
  if (source === undefined) return noSource(here, first);
  let packet: Packet = { ...first, tuple: { ...first.tuple, source } };
  pass(walk, snapshot.identity, packet, `sends ${tupleWords(packet.tuple)}`, { kind: 'send' });
  let routed = decision;
  routeHop(here, packet, routed);
  const asked = runHook(walk, { snapshot, hook: 'output', packet, oif: routed.link });
  if ('end' in asked) return asked.end;
  const moved =
    asked.packet.tuple.destination !== packet.tuple.destination || asked.packet.mark !== packet.mark;
  packet = asked.packet;
  if (moved) {
    // ip_route_me_harder
    const again = routeOut(here, packet);
    if ('at' in again) return again;
    routed = again;
    routeHop(here, packet, routed);
  }
  return leave(here, packet, routed);
}

function routeOut(here: Here, packet: Packet): RouteDecision | End {
  const { tuple, mark } = packet;
  const decision = lookUp(here.snapshot, { tuple, iif: 'lo', mark });
  if (decision.kind === 'unicast' || decision.kind === 'local') return decision;
  if (decision.kind === 'broadcast' || decision.kind === 'multicast') {
    const words = `${tuple.destination} is a ${decision.kind} address`;
    return unknown(here, packet, `${words}: its ways are not predicted`);
  }
  const { reason, mend } = noRoute(decision, tuple.destination);
  const why = `${placeOf(here)} ${reason}: the sender is told at once. ${mend}`;
  return drop(here.walk, at(here, packet), reason, why, { outcome: 'rejected' });
}

function noRoute(decision: RouteDecision, destination: string): { reason: string; mend: string } {
  if (decision.kind === 'none')
    return {
      reason: `has no route to ${destination}`,
      mend: `Add one, or a default route: "ip route get ${destination}" shows what the kernel finds`,
    };
  const by = decision.route
    ? `a route of kind ${decision.kind} to ${decision.route.dst}`
    : `policy rule ${decision.rule?.priority} (${decision.kind})`;
  return {
    reason: `refuses ${destination} by ${by}`,
    mend: 'Somebody put it there on purpose: "ip route show table all", "ip rule"',
  };
}

function noSource(here: Here, packet: Packet): End {
  const { destination, family } = packet.tuple;
  const reason = `has no IPv${family} address to speak from to ${destination}`;
  return drop(here.walk, at(here, packet), reason, `${placeOf(here)} ${reason}: give its link one`, {
    outcome: 'rejected',
  });
}

/** It comes in by a link, Ethernet taken off. */
export function input(walk: Walk, snapshot: Snapshot, link: Link, first: Packet): Step {
  const here = { walk, snapshot };
  let packet = first;
  const stray = link.loopback ? undefined : localhost6(here, link, packet);
  if (stray) return stray;
  // A bridge has asked these rules already, and the host's own packets through loopback keep their conversation.
  if (packet.bridged === undefined) {
    const asked = runHook(walk, { snapshot, hook: 'prerouting', packet, iif: link });
    if ('end' in asked) return asked.end;
    packet = asked.packet;
  }
  const decision = lookUp(snapshot, { tuple: packet.tuple, iif: link.name, mark: packet.mark });
  const martian = link.loopback ? undefined : reverseProblem(here, link, packet, decision);
  if (martian) return martian;
  if (decision.kind === 'local') return inward(here, link, packet);
  if (decision.kind === 'broadcast' || decision.kind === 'multicast')
    return unknown(
      here,
      packet,
      `${packet.tuple.destination} is a ${decision.kind} address: its ways are not predicted`,
    );
  return onward(here, link, packet, decision);
}

function inward(here: Here, link: Link, packet: Packet): Step {
  const { walk, snapshot } = here;
  const asked = runHook(walk, { snapshot, hook: 'input', packet, iif: link, physin: portOf(here, packet) });
  if ('end' in asked) return asked.end;
  return virtualService(walk, snapshot.identity, asked.packet) ?? deliver(here, asked.packet);
}

function portOf({ snapshot }: Here, { bridged }: Packet): Link | undefined {
  return bridged && snapshot.links.find(({ index }) => index === bridged.port);
}

function onward(here: Here, link: Link, first: Packet, decision: RouteDecision): Step {
  const { walk, snapshot } = here;
  const { destination, family } = first.tuple;
  const off = forwardingOff(snapshot, link, family);
  if (off !== undefined) {
    const reason = `does not forward what comes in by ${link.name} (${off} is 0)`;
    const why = `${placeOf(here)} ${reason}, and ${destination} is not its own: "sysctl -w ${off}=1"`;
    return drop(walk, at(here, first), reason, why);
  }
  if (decision.kind !== 'unicast' || decision.link === undefined) {
    const { reason, mend } = noRoute(decision, destination);
    const silent = decision.kind === 'blackhole';
    const told = silent ? '' : ', and tells the sender so (ICMP unreachable)';
    return drop(walk, at(here, first), reason, `${placeOf(here)} ${reason}${told}. ${mend}`, {
      outcome: silent ? 'dropped' : 'rejected',
    });
  }
  routeHop(here, first, decision);
  const big = tooBig(here, first, decision);
  if (big) return big;
  const asked = runHook(walk, {
    ...{ snapshot, hook: 'forward' as const, packet: first, iif: link, oif: decision.link },
    physin: portOf(here, first),
  });
  return 'end' in asked ? asked.end : leave(here, asked.packet, decision);
}

/** The sysctl that keeps a packet from being passed on; undefined where none does. */
function forwardingOff({ sysctls }: Snapshot, link: Link, family: 4 | 6): string | undefined {
  if (family === 6)
    return sysctls.get('ipv6/conf/all/forwarding') === 0 ? 'net.ipv6.conf.all.forwarding' : undefined;
  if (sysctls.get(`ipv4/conf/${link.name}/forwarding`) !== 0) return undefined;
  return sysctls.get('ipv4/ip_forward') === 0
    ? 'net.ipv4.ip_forward'
    : `net.ipv4.conf.${link.name}.forwarding`;
}

/** Out of this namespace, or through its loopback. */
function leave(here: Here, first: Packet, decision: RouteDecision): Step {
  const { walk, snapshot } = here;
  const { route } = decision;
  const loopback = snapshot.links.find((link) => link.loopback);
  const link = decision.kind === 'local' ? loopback : decision.link;
  if (link === undefined) return unknown(here, first, 'the route names no link');
  const own = tooBig(here, first, { ...decision, link });
  if (own) return own;
  const asked = runHook(walk, {
    snapshot,
    hook: 'postrouting',
    packet: first,
    oif: link,
    physin: portOf(here, first),
  });
  if ('end' in asked) return asked.end;
  const packet = { ...asked.packet, bridged: undefined };
  const out = resolve(walk, snapshot, link, route?.gateway ?? packet.tuple.destination, packet);
  return 'end' in out ? out.end : { at: 'transmit', namespace: snapshot.identity, link, packet: out.packet };
}

function tooBig(here: Here, packet: Packet, { link, route }: RouteDecision): End | undefined {
  const mtu = Math.min(link?.mtu ?? Number.POSITIVE_INFINITY, route?.mtu ?? Number.POSITIVE_INFINITY);
  if (packet.length <= mtu) return undefined;
  const size = `${packet.length} bytes do not fit through ${link?.name} (MTU ${mtu})`;
  if (!packet.dontFragment && packet.tuple.family === 4) {
    here.walk.notes.add(`${size}: ${placeOf(here)} sends it in pieces`);
    return undefined;
  }
  const own = here.walk.hops.every(({ place }) => place.namespace === here.snapshot.identity);
  const told = own
    ? 'the kernel does not send it'
    : 'the sender is told "fragmentation needed", if that ICMP gets through';
  const why =
    `${size} of ${placeOf(here)}, and the packet must not be cut: ${told}. ` +
    'Give the containers that MTU ("mtu" in the configuration), or every link on the way a larger one';
  return drop(here.walk, at(here, packet), size, why, { outcome: 'rejected' });
}

function routeHop(
  { walk, snapshot }: Here,
  packet: Packet,
  { route, link, rule, kind, choices }: RouteDecision,
): void {
  if (route === undefined) return;
  const via = route.gateway === undefined ? '' : ` via ${route.gateway}`;
  const table = tableWords(route.table);
  const name = kind === 'local' ? 'lo' : (link?.name ?? '?');
  const prefix = /\/0$/.test(route.dst) ? 'default' : route.dst;
  if (choices.length > 1)
    walk.assumptions.add(
      `of ${choices.length} routes to ${route.dst}, the one${via || ` on ${name}`} is taken`,
    );
  const policy =
    rule !== undefined && ![0, 32766, 32767].includes(rule.priority) ? `, by rule ${rule.priority}` : '';
  pass(
    walk,
    snapshot.identity,
    packet,
    `route ${kind === 'local' ? 'local ' : ''}${prefix}${via} dev ${name}${table}${policy}`,
    {
      kind: 'route',
      ...{ table: route.table, prefix: route.dst, link: name },
      ...(route.gateway === undefined ? {} : { gateway: route.gateway }),
    },
  );
}

function tableWords(table: number): string {
  return table === 254 || table === 255 ? '' : ` table ${table}`;
}

function at({ snapshot }: Here, packet: Packet): { namespace: string; packet: Packet } {
  return { namespace: snapshot.identity, packet };
}

export function placeOf({ walk, snapshot }: Here): string {
  return placeWords(walk.world.placeOf(snapshot.identity));
}

function unknown({ snapshot }: Here, packet: Packet, why: string): End {
  return { at: 'end', namespace: snapshot.identity, packet, outcome: 'unknown', why };
}

/** Whether an address is one of this namespace. */
export function own({ snapshot }: Here, address: string): boolean {
  return isLocal(snapshot, address);
}
