/** `weft trace`: how it is called. */
import { buildCommand, type TypedPositionalParameter } from '@stricli/core';
import { parseSeconds } from '../agent/seconds.ts';
import type { WeftContext } from '../context.ts';
import { jsonFlag } from '../net/flags.ts';
import type { TraceFlags } from './command.ts';
import { parseHost, parsePort, parseSize } from './parse.ts';

/** Containers that are written down are proposed: to look into all namespaces takes too long for a key. */
function end(
  brief: string,
  placeholder: string,
  more: readonly string[],
): TypedPositionalParameter<string, WeftContext> {
  return {
    ...{ brief, placeholder, parse: String },
    async proposeCompletions(partial) {
      const { listContainers } = await import('../../inspect/containers.ts');
      const known = listContainers(this.ambient.paths.cacheDir, new Map());
      return [...known.map(({ id, name }) => name ?? id), ...more].filter((word) => word.startsWith(partial));
    },
  };
}

export const trace = buildCommand<TraceFlags, [string, string], WeftContext>({
  loader: async () => (await import('./command.ts')).trace,
  parameters: {
    flags: {
      predictOnly: {
        kind: 'boolean',
        brief: 'Send nothing',
        optional: true,
        withNegated: false,
      },
      watch: {
        kind: 'boolean',
        brief: 'Look at real packets instead of sending one',
        optional: true,
        withNegated: false,
      },
      seconds: {
        kind: 'parsed',
        parse: parseSeconds,
        brief: 'SECONDS to wait for an answer [4], or to watch [30]',
        placeholder: 'SECONDS',
        optional: true,
      },
      ipv6: {
        kind: 'boolean',
        brief: 'IPv6 where both families would do',
        optional: true,
        withNegated: false,
      },
      sourcePort: {
        kind: 'parsed',
        parse: parsePort,
        brief: 'PORT that it is sent from',
        placeholder: 'PORT',
        optional: true,
      },
      size: {
        kind: 'parsed',
        parse: parseSize,
        brief: 'BYTES of the IP packet, which must not be cut',
        placeholder: 'BYTES',
        optional: true,
      },
      host: {
        kind: 'parsed',
        parse: parseHost,
        brief: 'Another host on this machine; repeatable',
        placeholder: 'NAME=NETNS',
        optional: true,
        variadic: true,
      },
      pcap: {
        kind: 'parsed',
        parse: String,
        brief: 'FILE for the packets that were seen (pcapng)',
        placeholder: 'FILE',
        optional: true,
      },
      svg: {
        kind: 'parsed',
        parse: String,
        brief: 'FILE for a drawing',
        placeholder: 'FILE',
        optional: true,
      },
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        end('Container (id, name, namespace, PID), address, host or outside', 'FROM', ['outside', 'host']),
        end('Address, container, or :PORT of this host', 'TO[:PORT[/PROTO]]', ['host']),
      ],
    },
  },
  docs: {
    brief: 'Follow a packet hop by hop, and say where it ends and why',
    fullDescription: `Predicts a packet's way from what the kernels say, hop by hop: namespaces, links, bridges, the rules that decide and
whose they are, rewritten addresses, routes, neighbours, tunnels, other hosts on this machine; then the answer's way
back; where it ends, why, and what to do. Then sends one such packet, and marks what was really seen of it: ✓, or
the difference.

FROM is a container by its id (or the beginning of it), name, namespace or PID; an address; "host"; or "outside":
the router of the default route. A PORT is TCP's unless /udp or /sctp says otherwise; without a port it is an echo
request (ping). The probe of TCP is a connection that is ended at once, that of UDP a datagram with "weft trace" in
it. What is put into the kernel to look at it ends with the command, however that ends. Needs root.

EXIT STATUS
  0  the packet arrives, and its answer (of UDP and of what leaves this host: as far as can be seen)
  1  it does not, or is refused; what was seen counts, or with --predict-only what was predicted
  2  the command line is wrong

EXAMPLES
  weft trace web1 web2:80
  weft trace web1 192.0.2.7:443
  weft trace outside :8080
  weft trace web1 web2 --size 1500 --predict-only
  weft trace outside web1:80 --watch --seconds 60 --pcap web1.pcapng
  weft trace host web1:53/udp --json | jq -r .there.why`,
  },
});
