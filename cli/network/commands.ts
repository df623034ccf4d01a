/** `weft network`: how its commands are called. */
import { buildCommand, buildRouteMap, type TypedPositionalParameter } from '@stricli/core';
import { parseNode, parseRegistry } from '../agent/flags.ts';
import type { WeftContext } from '../context.ts';
import { jsonFlag } from '../net/flags.ts';
import type { LeaveFlags } from './leave.ts';
import type { ShowFlags } from './show.ts';

const name: TypedPositionalParameter<string, WeftContext> = {
  brief: 'Network name',
  placeholder: 'NAME',
  parse: String,
  async proposeCompletions(partial) {
    const { askNetworks } = await import('./ask.ts');
    const { networks } = await askNetworks(this.ambient.paths);
    return networks.map((network) => network.name).filter((name) => name.startsWith(partial));
  },
};

const list = buildCommand<{ json?: boolean }, [], WeftContext>({
  loader: async () => (await import('./list.ts')).list,
  parameters: { flags: { json: jsonFlag } },
  docs: { brief: 'List the networks between hosts that this host is a member of, or shall be' },
});

const show = buildCommand<ShowFlags, [string], WeftContext>({
  loader: async () => (await import('./show.ts')).show,
  parameters: {
    flags: { json: jsonFlag, probe: { kind: 'boolean', brief: 'Ping the other hosts', default: true } },
    positional: { kind: 'tuple', parameters: [name] },
  },
  docs: {
    brief: 'Show a network between hosts: its hosts, what each holds, and what is wrong',
    fullDescription:
      'Hosts, addresses and subnets are those of the registry; the device, and BGP sessions where there are any, those of\n' +
      'this host. Each of the other hosts is pinged once.',
  },
});

const leave = buildCommand<LeaveFlags, [string], WeftContext>({
  loader: async () => (await import('./leave.ts')).leave,
  parameters: {
    flags: {
      force: {
        kind: 'boolean',
        brief: 'Whatever still needs it',
        optional: true,
        withNegated: false,
      },
      registry: {
        kind: 'parsed',
        parse: parseRegistry,
        brief: 'Where no agent runs',
        placeholder: 'FILE|etcd://...',
        optional: true,
      },
      node: {
        kind: 'parsed',
        parse: parseNode,
        brief: 'Strike out another host, one that is gone',
        placeholder: 'NAME',
        optional: true,
      },
    },
    positional: { kind: 'tuple', parameters: [name] },
  },
  docs: {
    brief: 'Give back what this host holds of a network, and take device and routes away',
    fullDescription:
      'Remove the conflist first, or the agent would join again. Refused while containers here hold addresses of the network;\n' +
      'with --force they lose it: no other host reaches them, and their addresses may be given to others.',
  },
});

export const network = buildRouteMap({
  routes: { list, show, leave },
  docs: {
    brief: 'Networks between hosts: who is in them, and leaving them',
    fullDescription: `Networks whose containers on different hosts reach each other: vxlan and routed (docs/networks.md). Hosts join by
"weft agent --registry ..."; containers are attached by "weft net add" or any runtime. Needs root.

EXAMPLES
  weft network list
  weft network show podnet
  rm /etc/cni/net.d/10-podnet.conflist; weft network leave podnet
  weft network leave podnet --registry etcd://10.0.0.1:2379 --node old-host --force`,
  },
});
