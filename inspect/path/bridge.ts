/** A bridge: which port a frame leaves by (net/bridge/br_input.c, br_forward.c), and what netfilter makes of it (br_netfilter_hooks.c). */
import type { Link } from '../../netlink/link.ts';
import type { Snapshot } from '../host/snapshot.ts';
import { tooLarge } from './fit.ts';
import { runHook } from './hooks.ts';
import { resolve } from './neighbours.ts';
import type { Packet } from './packet.ts';
import { atLink } from './programs.ts';
import { lookUp } from './routing.ts';
import { segmentBehind, whoseMac } from './segment.ts';
import { drop, type End, linkByIndex, pass, placeWords, type Step, type Walk } from './world.ts';

/** BR_STATE_FORWARDING (linux/if_bridge.h). */
const FORWARDING = 3;

interface At {
  walk: Walk;
  snapshot: Snapshot;
  bridge: Link;
  /** Absent for what the host itself sends. */
  port?: Link;
}

function snapshotOf(walk: Walk, namespace: string): Snapshot {
  const snapshot = walk.world.snapshots.get(namespace);
  if (snapshot === undefined) throw new Error(`want a snapshot of ${namespace}, found none`);
  return snapshot;
}

/** A frame comes in by a port. */
export function frameEnters(walk: Walk, namespace: string, port: Link, bridge: Link, first: Packet): Step {
  const at = { walk, snapshot: snapshotOf(walk, namespace), bridge, port };
  const blocked =
    portProblem(at, port, first) ??
    (bridge.up
      ? undefined
      : problem(at, first, `bridge ${bridge.name} is down`, `"ip link set ${bridge.name} up"`));
  if (blocked) return blocked;
  if (bridge.bridge?.vlanFiltering) walk.assumptions.add(`VLANs of bridge ${bridge.name} let it through`);
  const asked = runHook(
    walk,
    { snapshot: at.snapshot, hook: 'prerouting', packet: first, physin: port, iif: port },
    'bridge',
  );
  if ('end' in asked) return asked.end;
  if (!callsRules(at.snapshot, bridge, first)) return forward(at, asked.packet);
  const routed = runHook(walk, {
    snapshot: at.snapshot,
    hook: 'prerouting',
    packet: asked.packet,
    iif: bridge,
    physin: port,
  });
  if ('end' in routed) return routed.end;
  const packet = { ...routed.packet, bridged: { port: port.index } };
  return packet.tuple.destination === first.tuple.destination ? forward(at, packet) : readdressed(at, packet);
}

/** Bridged traffic that a rule gave another destination is bridged on where that is behind the same bridge, else routed. */
function readdressed(at: At, packet: Packet): Step {
  const { walk, snapshot, bridge } = at;
  const { link, kind, route } = lookUp(snapshot, {
    tuple: packet.tuple,
    iif: bridge.name,
    mark: packet.mark,
  });
  if (kind !== 'unicast' || link?.index !== bridge.index) {
    return forward(at, { ...packet, frame: { ...packet.frame, destination: bridge.mac } });
  }
  const found = resolve(walk, snapshot, bridge, route?.gateway ?? packet.tuple.destination, packet);
  return 'end' in found ? found.end : forward(at, found.packet);
}

/** A frame that the host sends out through its bridge. */
export function frameFromHost(walk: Walk, namespace: string, bridge: Link, packet: Packet): Step {
  const at = { walk, snapshot: snapshotOf(walk, namespace), bridge };
  const asked = runHook(walk, { snapshot: at.snapshot, hook: 'output', packet, oif: bridge }, 'bridge');
  return 'end' in asked ? asked.end : forward(at, asked.packet);
}

function callsRules({ sysctls }: Snapshot, { bridge }: Link, { tuple }: Packet): boolean {
  const [setting, own] =
    tuple.family === 4
      ? (['bridge/bridge-nf-call-iptables', bridge?.callIptables] as const)
      : (['bridge/bridge-nf-call-ip6tables', bridge?.callIp6tables] as const);
  return sysctls.get(setting) === 1 || own === true;
}

function forward(at: At, packet: Packet): Step {
  const found = portFor(at, packet);
  if ('at' in found) return found;
  return found.port === 'host' ? toHost(at, packet) : toPort(at, found.port, found.how, packet);
}

function toHost({ walk, snapshot, bridge, port }: At, packet: Packet): Step {
  const asked = runHook(walk, { snapshot, hook: 'input', packet, iif: port, physin: port }, 'bridge');
  if ('end' in asked) return asked.end;
  pass(walk, snapshot.identity, packet, `bridge ${bridge.name}: to the host itself`, {
    kind: 'bridge',
    ...{ bridge: bridge.name, in: port?.name ?? '', out: bridge.name },
  });
  const handed = atLink(walk, snapshot.identity, bridge, asked.packet, 'ingress');
  if ('end' in handed) return handed.end;
  return { at: 'input', namespace: snapshot.identity, link: bridge, packet: handed.packet };
}

function toPort(at: At, out: Link, how: string, first: Packet): Step {
  const { walk, snapshot, bridge, port } = at;
  const blocked = outProblem(at, out, first);
  if (blocked) return blocked;
  const from = port === undefined ? '' : `${port.name} → `;
  pass(walk, snapshot.identity, first, `bridge ${bridge.name}: ${from}${out.name} (${how})`, {
    kind: 'bridge',
    ...{ bridge: bridge.name, in: port?.name ?? bridge.name, out: out.name },
  });
  const ports = { physin: port, physout: out };
  let packet = first;
  for (const hook of port === undefined
    ? (['postrouting'] as const)
    : (['forward', 'postrouting'] as const)) {
    const asked = runHook(walk, { snapshot, hook, packet, iif: port, oif: out, ...ports }, 'bridge');
    if ('end' in asked) return asked.end;
    packet = asked.packet;
    if (port === undefined || !callsRules(snapshot, bridge, packet)) continue;
    const links = { ...(hook === 'forward' && { iif: bridge }), oif: bridge };
    const called = runHook(walk, { snapshot, hook, packet, ...links, ...ports });
    if ('end' in called) return called.end;
    packet = called.packet;
  }
  return { at: 'transmit', namespace: snapshot.identity, link: out, packet };
}

/** The port that leads to the frame's destination, by the forwarding database, else by flooding. */
function portFor(at: At, packet: Packet): { port: Link | 'host'; how: string } | End {
  const { walk, snapshot, bridge, port } = at;
  const mac = packet.frame.destination;
  const entry = snapshot.fdb.find((one) => one.mac === mac && one.master === bridge.index);
  if (
    mac !== undefined &&
    port !== undefined &&
    (mac === bridge.mac || entry?.link === bridge.index || entry?.permanent)
  ) {
    return { port: 'host', how: 'its own address' };
  }
  const known = entry && linkByIndex(snapshot, entry.link);
  if (known !== undefined && known.index !== bridge.index) return { port: known, how: `FDB has ${mac}` };
  const others = snapshot.links.filter(
    ({ master, index, port: settings }) =>
      master === bridge.index && (index !== port?.index || settings?.hairpin === true),
  );
  const behind = others.map((one) => ({
    port: one,
    segment: segmentBehind(walk.world, snapshot.identity, one),
  }));
  const owner =
    mac === undefined ? undefined : behind.find(({ segment }) => whoseMac(segment, mac) !== undefined);
  if (owner !== undefined) return { port: owner.port, how: 'flooded, not in the FDB yet' };
  const open = behind.find(
    ({ port: { up, kind }, segment }) => up && (segment.open.length > 0 || kind === 'vxlan'),
  );
  if (open !== undefined) {
    walk.assumptions.add(
      `${mac ?? packet.tuple.destination} is behind ${open.port.name} of bridge ${bridge.name}`,
    );
    return { port: open.port, how: 'flooded' };
  }
  const down = others.filter(({ up }) => !up).map(({ name }) => name);
  const maybe = down.length === 0 ? '' : `; down are ${down.join(', ')}`;
  return drop(
    walk,
    { namespace: snapshot.identity, packet },
    `no port of bridge ${bridge.name} leads to ${mac ?? 'the destination'}`,
    `bridge ${bridge.name} floods the frame to all ports, and nobody behind them has ${mac ?? 'its address'}: a neighbour entry is wrong ("ip neigh"), or its owner is gone${maybe}`,
    { outcome: 'lost' },
  );
}

function outProblem(at: At, out: Link, packet: Packet): End | undefined {
  const { bridge, port } = at;
  if (port !== undefined && port.index === out.index && !out.port?.hairpin) {
    return problem(
      at,
      packet,
      `bridge ${bridge.name} does not send out of the port it came in by (${out.name}, no hairpin)`,
      `"bridge link set dev ${out.name} hairpin on" (hairpinMode in the configuration)`,
    );
  }
  if (port?.port?.isolated && out.port?.isolated) {
    return problem(
      at,
      packet,
      `ports ${port.name} and ${out.name} of bridge ${bridge.name} are isolated from each other`,
      `"bridge link set dev ${out.name} isolated off", if they are meant to speak to each other`,
    );
  }
  return portProblem(at, out, packet) ?? tooLarge(at.walk, at.snapshot.identity, out, packet);
}

function portProblem(at: At, port: Link, packet: Packet): End | undefined {
  const state = port.port?.state;
  if (!port.up)
    return problem(
      at,
      packet,
      `port ${port.name} of bridge ${at.bridge.name} is down`,
      `"ip link set ${port.name} up"`,
    );
  if (state === undefined || state === FORWARDING) return undefined;
  const words = ['disabled', 'listening', 'learning', '', 'blocking'][state] ?? `${state}`;
  return problem(
    at,
    packet,
    `port ${port.name} of bridge ${at.bridge.name} is ${words}`,
    'wait for the spanning tree, or switch it off; a port without carrier has its other end down',
  );
}

function problem({ walk, snapshot }: At, packet: Packet, reason: string, mend: string): End {
  const place = placeWords(walk.world.placeOf(snapshot.identity));
  return drop(walk, { namespace: snapshot.identity, packet }, reason, `on ${place}, ${reason}: ${mend}`);
}
