/** Where packets stop to fit: the narrowest place of a way, for those who learn of it by connections that hang. */
import type { Link } from '../../netlink/link.ts';
import type { Packet } from './packet.ts';
import { drop, type End, placeWords, type Walk } from './world.ts';

/** A VLAN's tag, which every link takes besides. */
const TAG = 4;

/** Where frames are not routed, nobody tells the sender that they are too large: veth pairs, ports of bridges (is_skb_forwardable, net/core/dev.c). */
export function tooLarge(walk: Walk, namespace: string, link: Link, packet: Packet): End | undefined {
  // What may be cut was, for the link before.
  if (!packet.dontFragment || packet.length <= link.mtu + TAG) return undefined;
  const where = `${link.name} (MTU ${link.mtu}) of ${placeWords(walk.world.placeOf(namespace))}`;
  const reason = `${packet.length} bytes do not fit through ${link.name} (MTU ${link.mtu})`;
  const why =
    `${packet.length} bytes do not fit through ${where}, and a bridge or a veth pair drops what is too large silently: the sender is not told. ` +
    'Give both ends of the pair, and all ports of a bridge, the same MTU';
  return drop(walk, { namespace, packet }, reason, why);
}

/** Says so where the first link takes packets that a later one does not. */
export function narrowPlaces({ hops }: Pick<Walk, 'hops'>): string[] {
  const links = hops.flatMap((hop) =>
    hop.kind === 'link' && hop.mtu !== undefined && hop.length !== undefined
      ? [{ hop, room: hop.mtu - hop.length }]
      : [],
  );
  const [first] = links;
  if (first?.hop.kind !== 'link' || first.hop.mtu === undefined) return [];
  const narrowest = links.reduce((least, one) => (one.room < least.room ? one : least), first);
  const { room, hop } = narrowest;
  if (room >= first.room || hop.kind !== 'link') return [];
  const most = first.hop.mtu - first.room + room;
  const where = `${hop.link} of ${placeWords(hop.place)}`;
  return [
    `packets of more than ${most} bytes do not fit through ${where} (MTU ${hop.mtu}), though ${first.hop.link} of ${placeWords(first.hop.place)} ` +
      `sends up to ${first.hop.mtu}: they are cut, refused where that is forbidden, or dropped silently where nothing routes; connections that begin well may hang then`,
  ];
}
