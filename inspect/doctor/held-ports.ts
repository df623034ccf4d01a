/** Ports that are published, and that programs of the host listen on: who asks for the program reaches the container. */
import { type HostPort, holderWords, type PortHolders, waitsAt } from '../../firewall/port-holders.ts';
import type { Listener } from '../../netlink/listeners.ts';
import type { Finding } from '../finding.ts';
import { entryWords } from '../nat/translation.ts';
import { containerWords, type NatEntry, type NatView } from '../nat/view.ts';
import type { DoctorView } from './view.ts';

/** One published port, and the sockets of the host that wait there, too. */
export interface ContestedPort {
  /** `tcp 8080` */
  port: string;
  container: string;
  /** Words that the command line of whoever holds it for the container has: its id, its address. */
  own: readonly string[];
  sockets: readonly Listener[];
}

/** One that somebody holds. */
export interface HeldPort extends Pick<ContestedPort, 'port' | 'container' | 'own'> {
  holders: PortHolders;
}

/** Programs that hold published ports for others. */
const PROXIES = [
  'docker-proxy',
  'conmon',
  'crio',
  'kube-proxy',
  'rootlesskit',
  'rootlessport',
  'slirp4netns',
  'pasta',
];

/** Published ports with sockets of the host; those that may be a client's of UDP are left out. */
export function contestedPorts({ host, entries }: Pick<NatView, 'host' | 'entries'>): ContestedPort[] {
  const found = new Map<string, ContestedPort>();
  for (const entry of entries) {
    const container = containerWords(entry);
    const address = entry.to?.address;
    if (entry.kind !== 'dnat' || container === undefined || address === undefined) continue;
    const sockets = (host.listeners ?? []).filter((one) => portsOf(entry).some((port) => waitsAt(one, port)));
    if (sockets.length === 0) continue;
    const own = [entry.container?.id ?? entry.owner.containerId, address].filter(
      (word) => word !== undefined,
    );
    const port = entryWords(entry);
    found.set(`${port} ${container}`, { port, container, own, sockets });
  }
  return [...found.values()];
}

/** The ports of an entry that are one number each. */
function portsOf({ protocols, ports, destinations, family, to }: NatEntry): HostPort[] {
  const families = family === undefined ? ([to?.address?.includes(':') ? 6 : 4] as const) : [family];
  const addresses =
    destinations.length === 0 ? [undefined] : destinations.filter((one) => !/[/@-]/.test(one));
  return (['tcp', 'udp'] as const)
    .filter((protocol) => protocols.includes(protocol))
    .flatMap((protocol) =>
      ports
        .filter((port) => /^\d+$/.test(port) && !(protocol === 'udp' && Number(port) >= EPHEMERAL))
        .flatMap((port) =>
          addresses.flatMap((hostAddress) =>
            families.map((one) => ({
              ...{ protocol, family: one, hostPort: Number(port) },
              ...(hostAddress === undefined ? {} : { hostAddress }),
            })),
          ),
        ),
    );
}

/** From here on the kernel chooses ports for clients (net.ipv4.ip_local_port_range, where nobody has set it). */
const EPHEMERAL = 32_768;

export function heldPorts({ heldPorts }: Pick<DoctorView, 'heldPorts'>): Finding[] {
  return heldPorts.flatMap(({ port, container, own, holders }): Finding[] => {
    const isFor = holders.processes.some(
      ({ name, command }) =>
        PROXIES.includes(name) || command.some((word) => own.some((one) => word.includes(one))),
    );
    const [first] = holders.processes;
    if (isFor || (first === undefined && !holders.kernel)) return [];
    return [
      {
        code: 'port-listened-to',
        severity: 'warning',
        what: `${port} is published for container ${container}, and ${holderWords(holders)} listens on it`,
        why: `connections to it go to the container: nobody who asks for ${first?.name ?? 'the kernel'} there reaches it`,
        mend: [],
        safe: false,
        subject: port,
      },
    ];
  });
}
