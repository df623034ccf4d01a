/** Who listens on the ports that are published. */
import { holdersAmong, processesWith } from '../../firewall/port-holders.ts';
import { contestedPorts, type HeldPort } from '../../inspect/doctor/held-ports.ts';
import type { NatView } from '../../inspect/nat/view.ts';

/** Looks through all processes once, and not at all where nobody listens on a published port. Throws nothing. */
export function readHeldPorts(nat: NatView): HeldPort[] {
  const contested = contestedPorts(nat);
  const found = processesWith(contested.flatMap(({ sockets }) => sockets));
  return contested.map(({ sockets, ...port }) => ({ ...port, holders: holdersAmong(sockets, found) }));
}
