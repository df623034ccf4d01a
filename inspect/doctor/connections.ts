/** Tracked connections that were rewritten as rules were, and are so still: what keeps UDP going to where nobody is. */
import type { Connection } from '../../netlink/conntrack.ts';
import type { Finding } from '../finding.ts';
import { rangeOf } from '../nat/condition.ts';
import { entryWords } from '../nat/translation.ts';
import type { NatEntry } from '../nat/view.ts';
import type { DoctorView } from './view.ts';

const UDP = 17;

export function staleConnections({ nat: { host, entries } }: DoctorView): Finding[] {
  const own = new Set(host.addresses.map(({ address }) => address));
  return entries.filter(isPublishedUdp).flatMap((entry): Finding[] => {
    const stale = host.connections.filter(
      (one) =>
        isMeant(entry, one, own) && one.reply.source !== entry.to?.address && !isElsewhere(one, entries),
    );
    const [first] = stale;
    if (first === undefined) return [];
    const { destination, destinationPort } = first.original;
    return [
      {
        code: 'conntrack-stale',
        severity: 'error',
        what: `${stale.length === 1 ? 'a tracked connection' : `${stale.length} tracked connections`} to ${entryWords(entry)} (from ${first.original.source}) still ${stale.length === 1 ? 'goes' : 'go'} to ${first.reply.source}, and the port is published for ${entry.to?.address}`,
        why: 'rules see the first packet of a connection only; a client that keeps sending from one port keeps it alive, and never reaches the container',
        mend: [`conntrack -D -p udp --orig-dst ${destination} --orig-port-dst ${destinationPort}`],
        // Its next packet begins a new one, by the rules of now.
        safe: true,
        subject: entryWords(entry),
      },
    ];
  });
}

const isPublishedUdp = ({ kind, ports, protocols, chance, to, sources, in: comes, mark }: NatEntry) =>
  kind === 'dnat' &&
  to?.address !== undefined &&
  ports.length > 0 &&
  !chance &&
  protocols.includes('udp') &&
  sources.length === 0 &&
  comes.length === 0 &&
  mark === undefined;

function isMeant(
  { ports, destinations, family }: NatEntry,
  { original }: Connection,
  own: ReadonlySet<string>,
): boolean {
  const { protocol, destination, destinationPort = -1 } = original;
  const six = destination.includes(':');
  return (
    protocol === UDP &&
    (family === undefined || (family === 6) === six) &&
    (destinations.length > 0 ? destinations.includes(destination) : own.has(destination)) &&
    ports.some((port) => {
      const range = rangeOf(port);
      return range !== undefined && destinationPort >= range[0] && destinationPort <= range[1];
    })
  );
}

/** Another rule of today sends it there. */
function isElsewhere({ reply }: Connection, entries: readonly NatEntry[]): boolean {
  return entries.some(
    ({ kind, to, protocols }) => kind === 'dnat' && to?.address === reply.source && protocols.includes('udp'),
  );
}
