/** Where packets stop to fit: the narrowest place of a way, for those who learn of it by connections that hang. */
import { placeWords, type Walk } from './world.ts';

/** Says so where the first link takes packets that a later one does not. */
export function narrowPlaces({ hops }: Pick<Walk, 'hops'>): string[] {
  const links = hops.flatMap((hop) =>
    hop.kind === 'link' && hop.direction === 'out' && hop.mtu !== undefined && hop.length !== undefined
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
      `sends up to ${first.hop.mtu}: they are cut, or refused where that is forbidden; connections that begin well may hang then`,
  ];
}
