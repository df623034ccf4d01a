import { PROTOCOLS, type Publication, type PublishedPort } from '../../firewall/ports.ts';
import { renderPorts as renderIptables } from '../../firewall/ports-iptables-rules.ts';
import { renderPorts as renderNftables } from '../../firewall/ports-ruleset.ts';
import { AF_INET, AF_INET6 } from '../../netlink/codec.ts';
import type { Connection } from '../../netlink/conntrack.ts';
import { type Namespace, NetlinkError } from '../../netlink/door.ts';
import { setLink } from '../../netlink/link.ts';
import { tolerating } from '../../netlink/message.ts';
import type { StepKind } from '../kind.ts';
import { ipCommand } from '../render.ts';
import type { PublishStep } from '../step.ts';

export function publicationOf({
  kind: _,
  backend: _backend,
  hairpin: _hairpin,
  ...publication
}: PublishStep): Publication {
  return publication;
}

/** Deletes tracked flows of UDP, which has no end of its own. Reads all tracked connections, where a port is of UDP. */
async function forget(
  host: Namespace,
  ports: readonly PublishedPort[],
  isStale: (connection: Connection, port: PublishedPort) => boolean,
): Promise<void> {
  const udp = ports.filter(({ protocol }) => protocol === 'udp');
  if (udp.length === 0) return;
  const { deleteConnections } = await import('../../netlink/conntrack.ts');
  const families = [...new Set(udp.map(({ family }) => (family === 4 ? AF_INET : AF_INET6)))];
  const matches = (connection: Connection) =>
    connection.original.protocol === PROTOCOLS.udp && udp.some((port) => isStale(connection, port));
  try {
    await deleteConnections(host, matches, { families });
  } catch (error) {
    // A kernel that does not let connections be listed.
    if (!(error instanceof NetlinkError && ['EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT'].includes(error.errno)))
      throw error;
  }
}

export const publish: StepKind<PublishStep> = {
  async apply(step, run) {
    const backend = await run.surroundings.ports(step.backend);
    const publication = publicationOf(step);
    // Also when publishing fails in between.
    run.onUndo(`withdraw the published ports of ${step.containerId}`, () => backend.withdraw(publication));
    await backend.publish(publication);
    // A client that goes on sending keeps its entry, and with it a container that is gone, or none at all.
    await forget(run.surroundings.host, step.ports, ({ original, reply }, port) => {
      const { destinationPort, destination } = original;
      const here = port.hostAddress === undefined || port.hostAddress === destination;
      return here && destinationPort === port.hostPort && reply.source !== port.address;
    });
    if (step.hairpin === undefined) return;
    // Goes with the link. What is no port of a bridge, or is gone, needs none.
    const op = setLink(step.hairpin, { port: { hairpin: true } });
    run.push('host', tolerating(op, 'ENODEV', 'EOPNOTSUPP', 'EINVAL'));
  },

  async verify(step, look) {
    const backend = await look.surroundings.ports(step.backend);
    const missing = await backend.missing([publicationOf(step)]);
    return missing
      .flat()
      .map((what) => ({ what: `published ports: ${what}`, wanted: 'present', found: 'nothing' }));
  },

  async remove(step, surroundings) {
    const backend = await surroundings.ports(step.backend);
    await backend.withdraw(publicationOf(step));
    await forget(
      surroundings.host,
      step.ports,
      ({ reply }, port) => reply.source === port.address && reply.sourcePort === port.containerPort,
    );
  },

  render(step, { netns }) {
    const publication = publicationOf(step);
    return [
      ...(step.backend === 'iptables' ? renderIptables : renderNftables)(publication),
      ...(step.hairpin === undefined
        ? []
        : [ipCommand('host', netns, 'link', 'set', step.hairpin, 'type', 'bridge_slave', 'hairpin', 'on')]),
    ];
  },
};
