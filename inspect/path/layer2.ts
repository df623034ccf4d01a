/** Frames: out of a link, through what it is made of, and in at the other end. */
import type { Link } from '../../netlink/link.ts';
import { frameEnters, frameFromHost } from './bridge.ts';
import { tooLarge } from './fit.ts';
import type { Packet } from './packet.ts';
import { atLink } from './programs.ts';
import { type Endpoint, isBridgeMode, macvlansOn, masterOf } from './segment.ts';
import { encapsulate } from './tunnel.ts';
import { drop, type End, otherEnd, pass, placeWords, type Step, type Walk } from './world.ts';

type At<K extends Step['at']> = Extract<Step, { at: K }>;

export function transmit(walk: Walk, { namespace, link, packet: first }: At<'transmit'>): Step {
  if (!link.up) return down(walk, namespace, link, first);
  if (link.loopback) return { at: 'input', namespace, link, packet: first };
  const asked = atLink(walk, namespace, link, first, 'egress');
  if ('end' in asked) return asked.end;
  const { packet } = asked;
  pass(walk, namespace, packet, `out through ${link.name}${link.kind === 'veth' ? '' : kindWords(link)}`, {
    kind: 'link',
    ...{ link: link.name, direction: 'out', mtu: link.mtu, length: packet.length },
  });
  const { question } = walk;
  // Who is said to ask from outside is somewhere behind this link, whatever is seen there.
  if (packet.part === 'answer' && question.link === link.index && question.namespace === namespace)
    return leaves(walk, namespace, link, packet);
  if (link.kind === 'bridge') return frameFromHost(walk, namespace, link, packet);
  if (link.kind === 'vxlan') return encapsulate(walk, namespace, link, packet);
  if (link.kind === 'macvlan') return throughMacvlan(walk, namespace, link, packet);
  if (link.kind !== 'veth') return leaves(walk, namespace, link, packet);
  const other = otherEnd(walk.world, namespace, link);
  if (other === undefined) return leaves(walk, namespace, link, packet);
  // Not the carrier: the kernel tells of it up to a second late (link_watch.c).
  if (!other.link.up) return down(walk, other.namespace, other.link, packet);
  return (
    tooLarge(walk, other.namespace, other.link, packet) ?? {
      at: 'receive',
      ...other,
      packet: crossing(packet, namespace, other.namespace),
    }
  );
}

/** What a packet forgets on its way through a veth pair (skb_scrub_packet): its conversation, and into another namespace its mark. */
function crossing(packet: Packet, from: string, to: string): Packet {
  return {
    ...packet,
    tracked: undefined,
    untracked: undefined,
    bridged: undefined,
    mark: from === to ? packet.mark : 0,
  };
}

function kindWords({ kind }: Link): string {
  return kind === undefined ? '' : ` (${kind})`;
}

function down(walk: Walk, namespace: string, link: Link, packet: Packet): End {
  const place = placeWords(walk.world.placeOf(namespace));
  const why = `link ${link.name} of ${place} is down: "ip link set ${link.name} up" there`;
  return drop(walk, { namespace, packet }, `link ${link.name} is down`, why);
}

/** Out of what can be seen. */
function leaves(walk: Walk, namespace: string, link: Link, packet: Packet): End {
  const { carried, tuple } = packet;
  const last = walk.hops.findLast((hop) => hop.kind === 'neighbour');
  const nextHop = last?.kind === 'neighbour' ? last.address : tuple.destination;
  const place = placeWords(walk.world.placeOf(namespace));
  const tunnel = carried === undefined ? '' : `, in a tunnel to ${tuple.destination}`;
  const why = `leaves ${place} through ${link.name} towards ${nextHop}${tunnel}; what happens there cannot be seen from here`;
  return { at: 'end', namespace, packet, outcome: 'left', why, left: { link, nextHop } };
}

/** To a sibling on the same lower link, else out through that. */
function throughMacvlan(walk: Walk, namespace: string, link: Link, packet: Packet): Step {
  const lower = otherEnd(walk.world, namespace, link);
  if (lower === undefined) return leaves(walk, namespace, link, packet);
  const found = isBridgeMode(link) ? macvlanOn(walk, lower, packet.frame.destination) : undefined;
  const sibling = found && isBridgeMode(found.link) ? found : undefined;
  const moved = crossing(packet, namespace, lower.namespace);
  if (sibling !== undefined) return { at: 'receive', ...sibling, packet: moved };
  if (packet.frame.destination !== undefined && packet.frame.destination === lower.link.mac) {
    return drop(
      walk,
      { namespace, packet },
      `macvlan ${link.name} does not reach its own lower link ${lower.link.name}`,
      `a macvlan and the host that it stands on cannot speak to each other: give the host a macvlan of its own on ${lower.link.name}`,
    );
  }
  return { at: 'transmit', ...lower, packet: moved };
}

function macvlanOn({ world }: Walk, lower: Endpoint, mac: string | undefined): Endpoint | undefined {
  return mac === undefined ? undefined : macvlansOn(world, lower).find(({ link }) => link.mac === mac);
}

export function receive(walk: Walk, { namespace, link, packet: first }: At<'receive'>): Step {
  if (!link.up) return down(walk, namespace, link, first);
  pass(walk, namespace, first, `in by ${link.name}`, {
    kind: 'link',
    ...{ link: link.name, direction: 'in', mtu: link.mtu, length: first.length },
  });
  const asked = atLink(walk, namespace, link, first, 'ingress');
  if ('end' in asked) return asked.end;
  const { packet } = asked;
  const master = masterOf(walk.world, namespace, link);
  if (master?.kind === 'bridge') return frameEnters(walk, namespace, link, master, packet);
  const { destination } = packet.frame;
  if (
    destination !== undefined &&
    link.mac !== undefined &&
    destination !== link.mac &&
    !isGroup(destination)
  ) {
    const upper = macvlanOn(walk, { namespace, link }, destination);
    if (upper !== undefined)
      return { at: 'receive', ...upper, packet: crossing(packet, namespace, upper.namespace) };
    return misaddressed(walk, namespace, link, packet, destination);
  }
  return { at: 'input', namespace, link, packet };
}

function isGroup(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

function misaddressed(walk: Walk, namespace: string, link: Link, packet: Packet, mac: string): End {
  const place = placeWords(walk.world.placeOf(namespace));
  return drop(
    walk,
    { namespace, packet },
    `frame for ${mac}, but ${link.name} is ${link.mac}`,
    `the frame is addressed to ${mac}, and comes to ${link.name} of ${place}, which has ${link.mac} and ignores it: ` +
      'the sender has a wrong neighbour entry ("ip neigh"), or a bridge a wrong FDB entry ("bridge fdb")',
    { outcome: 'lost' },
  );
}
