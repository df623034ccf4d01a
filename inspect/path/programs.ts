/** Programs on links, which nobody can read: they are assumed to let packets through as they are, and that is said. */
import type { Link } from '../../netlink/link.ts';
import type { LinkProgram } from '../host/programs.ts';
import { runHook } from './hooks.ts';
import { endWords, type Packet } from './packet.ts';
import { type End, placeWords, type Walk } from './world.ts';

/** Of what stands at some places of a link. */
function assumeLetThrough(
  walk: Walk,
  namespace: string,
  link: Link,
  places: readonly LinkProgram['at'][],
): void {
  const place = placeWords(walk.world.placeOf(namespace));
  for (const { words, at } of walk.world.snapshots
    .get(namespace)
    ?.programs?.filter((one) => one.link === link.index && places.includes(one.at)) ?? []) {
    const side = at === 'egress' ? 'what leaves by' : 'what comes in by';
    walk.assumptions.add(
      `${words}, which looks at ${side} ${link.name} of ${place}, lets it through as it is`,
    );
  }
}

/** Chains of family netdev, and programs: before anything else looks at a frame, and after everything else has. */
export function atLink(
  walk: Walk,
  namespace: string,
  link: Link,
  packet: Packet,
  hook: 'ingress' | 'egress',
): { packet: Packet } | { end: End } {
  assumeLetThrough(walk, namespace, link, hook === 'ingress' ? ['xdp', 'ingress'] : ['egress']);
  const snapshot = walk.world.snapshots.get(namespace);
  if (snapshot === undefined) return { packet };
  return runHook(
    walk,
    { snapshot, hook, packet, ...(hook === 'ingress' ? { iif: link } : { oif: link }) },
    'netdev',
  );
}

/** What is for a service of IPVS goes to a server that the kernel chooses by its own rules: there the prediction ends. */
export function virtualService(walk: Walk, namespace: string, packet: Packet): End | undefined {
  const { tuple } = packet;
  const services = walk.world.snapshots.get(namespace)?.services ?? [];
  const service = services.find(
    ({ protocol, address, port }) =>
      protocol === tuple.protocol && address === tuple.destination && port === tuple.destinationPort,
  );
  if (packet.part !== 'request' || service === undefined) return undefined;
  const { servers } = service;
  const [place, end] = [
    placeWords(walk.world.placeOf(namespace)),
    endWords(tuple.destination, tuple.destinationPort),
  ];
  const chosen =
    servers.length === 0
      ? 'and it has no server: nobody answers ("ipvsadm -Ln")'
      : `to one of ${servers.join(', ')}: ask for that one to see its way`;
  const why = `IPVS of ${place} sends what is for ${tuple.protocol} ${end} ${chosen}. The prediction ends here`;
  return { at: 'end', namespace, packet, outcome: servers.length === 0 ? 'lost' : 'unknown', why };
}
