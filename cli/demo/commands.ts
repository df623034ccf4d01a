/** `weft demo container` and `weft demo two-hosts`: how they are called. */
import { buildCommand } from '@stricli/core';
import type { WeftContext } from '../context.ts';
import { UsageError } from '../context.ts';
import type { TwoHostsFlags } from './two-hosts/command.ts';

const MOST_HOSTS = 20;

function parseHosts(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 2 && count <= MOST_HOSTS) return count;
  throw new UsageError(`wanted a number of hosts from 2 to ${MOST_HOSTS}`);
}

export const twoHosts = buildCommand<TwoHostsFlags, [string?], WeftContext>({
  loader: async () => (await import('./two-hosts/command.ts')).demoTwoHosts,
  parameters: {
    flags: {
      backend: {
        kind: 'enum',
        values: ['vxlan', 'vxlan-l2', 'routed', 'bgp'],
        brief: 'How packets travel',
        default: 'vxlan',
      },
      hosts: { kind: 'parsed', parse: parseHosts, brief: 'How many hosts', placeholder: 'N', default: '2' },
      registry: {
        kind: 'enum',
        values: ['file', 'etcd'],
        brief: 'Where the hosts find each other',
        default: 'file',
      },
      keep: {
        kind: 'boolean',
        brief: 'Leave the hosts standing and say how to look around',
        optional: true,
        withNegated: false,
      },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          brief: "Configuration to use instead of the backend's example",
          placeholder: 'CONFLIST',
          parse: String,
          optional: true,
        },
      ],
    },
  },
  docs: {
    brief: 'Containers on several hosts reach each other: by tunnel, routes or BGP, all simulated',
    fullDescription: `Makes hosts on a wire, an agent and two containers on each, and a host outside, from network namespaces: the network of
this machine is not touched. Shows subnets, pings and TCP from everybody to everybody, the routes, FDB and neighbours
that make it work, a captured packet with its headers inside and outside the tunnel, and how fast it is; takes all away
again, and proves that nothing is left. Needs root, ip, bridge, nsenter, ping, tcpdump and iperf3; bird for the backend
bgp, etcd for that registry.

EXAMPLES
  weft demo two-hosts
  weft demo two-hosts --backend bgp --hosts 4
  weft demo two-hosts --backend vxlan-l2 --registry etcd --keep`,
  },
});

export const demoContainer = buildCommand<object, [], WeftContext>({
  loader: async () => (await import('./container/command.ts')).demoContainer,
  parameters: { flags: {} },
  docs: {
    brief: 'What a container is: namespaces, control groups, files, users, signals',
    fullDescription:
      'Runs a web server and some smaller containers on a simulated host, each step with the command and what it shows: one\n' +
      'process with two numbers, a link with two ends, limits as files, a loop held to a fifth of a CPU, memory and processes\n' +
      'over their limits, copy on write, root that is nobody, a signal that process 1 ignores. Takes everything away again.',
  },
});
