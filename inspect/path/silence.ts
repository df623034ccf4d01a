/** Why nobody answers who is asked for an address: what can be seen of the links that the question has to take. */
import type { Link } from '../../netlink/link.ts';
import { masterOf } from './segment.ts';
import { otherEnd, placeWords, type World } from './world.ts';

/** One sentence about a veth whose other end leads nowhere; undefined where nothing is wrong with it. */
export function whySilent(world: World, namespace: string, link: Link, address: string): string | undefined {
  const bridge = link.kind === 'bridge' ? holderBehind(world, namespace, link, address) : undefined;
  if (bridge !== undefined) return bridge;
  const other = link.kind === 'veth' ? otherEnd(world, namespace, link) : undefined;
  if (other === undefined) return undefined;
  const name = `${other.link.name} of ${placeWords(world.placeOf(other.namespace))}, the other end,`;
  if (!other.link.up) return `${name} is down: "ip link set ${other.link.name} up" there`;
  const sketch = world.sketches.get(other.namespace);
  const master = masterOf(world, other.namespace, other.link);
  if (
    master === undefined &&
    !sketch?.addresses.some(({ link: at, scope }) => at === other.link.index && scope === 0)
  ) {
    return `${name} is in no bridge, and has no address: "ip link set ${other.link.name} master BRIDGE" there`;
  }
  if (master?.kind === 'bridge' && !master.up)
    return `bridge ${master.name} of that port is down: "ip link set ${master.name} up" there`;
  return other.link.port?.isolated
    ? `${name} is an isolated port of ${master?.name}: isolated ports do not reach each other`
    : undefined;
}

/** Asked for by a host on its bridge, and held by a container whose link is out of it. */
function holderBehind(world: World, namespace: string, bridge: Link, address: string): string | undefined {
  for (const sketch of world.sketches.values()) {
    const held = sketch.addresses.find((one) => one.address === address);
    const link = held && sketch.links.find(({ index }) => index === held.link);
    const end = link && otherEnd(world, sketch.identity, link);
    if (end?.namespace !== namespace) continue;
    const there = `${end.link.name}, which leads to ${placeWords(world.placeOf(sketch.identity))},`;
    if (!end.link.up) return `${there} is down: "ip link set ${end.link.name} up"`;
    if (end.link.master !== bridge.index)
      return `${there} is not in ${bridge.name}: "ip link set ${end.link.name} master ${bridge.name}"`;
  }
  return undefined;
}
