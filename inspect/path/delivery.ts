/** The end of the way: who takes the packet in the namespace that it is for. */
import type { Listener } from '../../netlink/listeners.ts';
import type { Here } from './layer3.ts';
import { endWords, type Packet } from './packet.ts';
import { decapsulate } from './tunnel.ts';
import { drop, type End, pass, placeWords, type Step } from './world.ts';

export function deliver(here: Here, packet: Packet): Step {
  const { walk, snapshot } = here;
  const carried = decapsulate(walk, snapshot, packet);
  if (carried !== undefined) return carried;
  const namespace = snapshot.identity;
  const place = placeWords(walk.world.placeOf(namespace));
  const { target } = walk.question;
  if (packet.part === 'request' && target !== undefined && target !== namespace)
    return elsewhere(here, packet, target);
  const refusal = packet.part === 'request' ? refused(here, packet) : undefined;
  if (refusal) return refusal;
  const who = taker(snapshot.listeners, packet);
  pass(walk, namespace, packet, `delivered to ${place}${who}`, { kind: 'deliver' });
  return { at: 'end', namespace, packet, outcome: 'delivered', why: `arrives at ${place}${who}` };
}

function elsewhere({ walk, snapshot }: Here, packet: Packet, target: string): End {
  const [wrong, right] = [snapshot.identity, target].map((one) => placeWords(walk.world.placeOf(one)));
  const { destination, destinationPort } = packet.tuple;
  const end = endWords(destination, destinationPort);
  return drop(
    walk,
    { namespace: snapshot.identity, packet },
    `arrives at ${wrong} instead of ${right}`,
    `the packet ends at ${wrong}, which takes ${end} for its own, and not at ${right}: an address is there twice, or a rule for addresses leads it astray`,
    { outcome: 'lost' },
  );
}

function refused(here: Here, packet: Packet): End | undefined {
  const { walk, snapshot } = here;
  const { tuple } = packet;
  const at = { namespace: snapshot.identity, packet };
  const place = placeWords(walk.world.placeOf(snapshot.identity));
  if (tuple.protocol === 'icmp' || tuple.protocol === 'icmpv6') {
    const name = tuple.family === 4 ? 'ipv4/icmp_echo_ignore_all' : 'ipv6/icmp/echo_ignore_all';
    if (snapshot.sysctls.get(name) !== 1) return undefined;
    const key = `net.${name.replaceAll('/', '.')}`;
    return drop(
      walk,
      at,
      `${key} is 1: echo requests are not answered`,
      `the packet arrives at ${place}, which answers no ping: "sysctl -w ${key}=0"`,
    );
  }
  if (tuple.destinationPort === undefined || (tuple.protocol !== 'tcp' && tuple.protocol !== 'udp'))
    return undefined;
  if (snapshot.listeners === undefined || listens(snapshot.listeners, packet)) return undefined;
  const end = endWords(tuple.destination, tuple.destinationPort);
  const answer = tuple.protocol === 'tcp' ? 'a reset (connection refused)' : 'ICMP port unreachable';
  return drop(
    walk,
    at,
    `nobody listens on ${tuple.protocol} ${end} in ${place}`,
    `the packet arrives at ${place}, but nobody listens on ${tuple.protocol} ${end} there: the kernel answers with ${answer}. Does the program run, and listen on this address ("ss -ln" there)?`,
    { outcome: 'rejected' },
  );
}

function listens(listeners: readonly Listener[], { tuple }: Packet): boolean {
  return listeners.some(
    ({ protocol, port, any, address, family }) =>
      protocol === tuple.protocol &&
      port === tuple.destinationPort &&
      (any ? family === tuple.family || family === 6 : address === tuple.destination),
  );
}

function taker(listeners: readonly Listener[] | undefined, { tuple, part }: Packet): string {
  const port = part === 'request' ? tuple.destinationPort : undefined;
  return listeners === undefined || port === undefined || typeof tuple.protocol === 'number'
    ? ''
    : `, where somebody listens on ${tuple.protocol} ${port}`;
}
