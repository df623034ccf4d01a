/** `weft nat`: how its commands are called. */
import { buildCommand, buildRouteMap } from '@stricli/core';
import type { WeftContext } from '../context.ts';
import { jsonFlag } from '../net/flags.ts';
import { filterFlags } from './flags.ts';
import type { GraphFlags } from './graph.ts';
import type { ListFlags } from './list.ts';

const list = buildCommand<ListFlags, [], WeftContext>({
  loader: async () => (await import('./list.ts')).list,
  parameters: { flags: { json: jsonFlag, ...filterFlags } },
  docs: {
    brief: 'List everything that rewrites addresses on this host, and what looks wrong',
    fullDescription:
      'One line for each rule, or for each element of a set or map where a rule asks one: masquerades and published ports\n' +
      'of weft, of the reference plugins, of Docker, kube-proxy and everybody else, read from nf_tables and both iptables.\n' +
      'WHO is told from names and comments in the kernel. Rules of NAT see the first packet of each connection: that is what\n' +
      'PACKETS and BYTES count, with a * where one counter is of several lines. LIVE: connections that are rewritten so now;\n' +
      'what they carried stands with a ~ where no rule counts, and the kernel does (net.netfilter.nf_conntrack_acct).\n' +
      'Exit status 1 where something found is an error: packets are lost now.',
  },
});

const show = buildCommand<{ json?: boolean }, [string], WeftContext>({
  loader: async () => (await import('./show.ts')).show,
  parameters: {
    flags: { json: jsonFlag },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          brief: 'Id (or its beginning) or name of a container, an address, or a port: 8080, tcp/8080',
          placeholder: 'CONTAINER|PORT',
          parse: String,
          async proposeCompletions(partial) {
            const { look } = await import('./look.ts');
            const { entries } = await look(this);
            const names = entries.flatMap(({ container, owner, ports }) => [
              ...[container?.name ?? container?.id ?? owner.containerId ?? []].flat(),
              ...ports,
            ]);
            return [...new Set(names)].filter((name) => name.startsWith(partial));
          },
        },
      ],
    },
  },
  docs: {
    brief: 'Show all about one: elements, rules, live connections as they come and as they are answered',
  },
});

const graph = buildCommand<GraphFlags, [], WeftContext>({
  loader: async () => (await import('./graph.ts')).graph,
  parameters: {
    flags: {
      output: {
        kind: 'parsed',
        parse: String,
        brief: 'Write to FILE instead of standard output',
        placeholder: 'FILE.svg',
        optional: true,
      },
    },
  },
  docs: {
    brief: 'Draw hooks, chains, jumps, sets and counters of all packet rules as SVG',
    fullDescription:
      'Hooks stand on the left in the order of a packet, with their chains by priority; what they lead to stands right of\n' +
      "them. Colours are owners: weft's, Docker's, ...; a set or map is one box with the number of its elements. Of very many\n" +
      'rules, or chains that differ in a hash alone, a few are drawn and the rest counted. Empty chains are left out.',
  },
});

export const nat = buildRouteMap({
  routes: { list, show, graph },
  defaultCommand: 'list',
  docs: {
    brief: 'What rewrites addresses on this host: whose it is, what it carries, what looks wrong',
    fullDescription: `Reads the kernel, never configuration: nf_tables, iptables-nft and legacy iptables, ipset, tracked connections. Changes
nothing. Needs root.

EXAMPLES
  weft nat                            everything, as "weft nat list"
  weft nat --network podnet           of one network
  weft nat --who docker --json
  weft nat show 8080                  who has the port, and who uses it now
  weft nat show c1
  weft nat graph --output rules.svg   a picture of all rules`,
  },
});
