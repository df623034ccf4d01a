/** The commands besides `weft net`: how they are called. */
import { buildCommand, buildRouteMap } from '@stricli/core';
import { intervalFlag, parseCount } from './agent/flags.ts';
import type { TopFlags } from './agent/top.ts';
import type { WeftContext } from './context.ts';
import type { DemoFlags } from './demo/bridge.ts';
import { demoContainer, twoHosts } from './demo/commands.ts';
import { argFlag, capFlag, ifnameFlag, jsonFlag } from './net/flags.ts';
import type { PlanFlags } from './plan/command.ts';

export const plan = buildCommand<PlanFlags, [string], WeftContext>({
  loader: async () => (await import('./plan/command.ts')).planCommand,
  parameters: {
    flags: {
      id: {
        kind: 'parsed',
        parse: String,
        brief: 'ID of the container to plan for',
        placeholder: 'ID',
        default: 'example',
      },
      ifname: ifnameFlag,
      netns: {
        kind: 'parsed',
        parse: String,
        brief: 'PATH of the namespace in the lines; need not exist',
        placeholder: 'PATH',
        default: '/run/netns/example',
      },
      cap: capFlag,
      arg: argFlag,
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          brief: "Configuration or list of plugins, JSON or YAML; '-' for standard input",
          placeholder: 'FILE',
          parse: String,
        },
      ],
    },
  },
  docs: {
    brief: 'Print what a configuration would do; needs no root and touches nothing',
    fullDescription:
      'Prints, for each plugin of the chain, the ip, nft and sysctl lines that ADD amounts to.\n' +
      'Addresses are the first ones of the ranges: no lease is read.',
  },
});

const bridge = buildCommand<DemoFlags, [string?], WeftContext>({
  loader: async () => (await import('./demo/bridge.ts')).demoBridge,
  parameters: {
    flags: {
      backend: {
        kind: 'enum',
        values: ['nftables', 'iptables'],
        brief: 'NAT backend [what fits this machine]',
        optional: true,
      },
      keep: {
        kind: 'boolean',
        brief: 'Leave the simulated hosts standing and say how to enter them',
        optional: true,
        withNegated: false,
      },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        {
          brief: 'Configuration to use instead of the example',
          placeholder: 'CONFLIST',
          parse: String,
          optional: true,
        },
      ],
    },
  },
  docs: {
    brief: 'Two containers on a bridge, with NAT to an outside host, all simulated',
    fullDescription:
      'Makes a host, two containers and an outside host from network namespaces of its own: the network of this\n' +
      'machine is not touched. Attaches the containers with the real executables, and shows plans, addresses, pings,\n' +
      'NAT, CHECK, DEL, and that nothing is left. Needs root, ip, nsenter and ping.',
  },
});

export const demo = buildRouteMap({
  routes: { bridge, container: demoContainer, 'two-hosts': twoHosts },
  docs: { brief: 'Demonstrations in simulated hosts' },
});

export const status = buildCommand<{ json?: boolean }, [], WeftContext>({
  loader: async () => (await import('./agent/status.ts')).status,
  parameters: { flags: { json: jsonFlag } },
  docs: {
    brief: 'Say whether this host is well',
    fullDescription: `Agent, networks, leases, links, masquerade and last errors on one screen; changes nothing. Exit status 0 where the
host is well, 1 where something is wrong: a configuration that cannot be read, an agent that has died, rules that
somebody removed, a network without a free address. A host without an agent is well. Needs root to see all.

EXAMPLES
  weft status
  weft status --json | jq -r '.problems[]'
  weft status >/dev/null || echo "look after $(hostname)"`,
  },
});

export const top = buildCommand<TopFlags, [], WeftContext>({
  loader: async () => (await import('./agent/top.ts')).top,
  parameters: {
    flags: {
      interval: intervalFlag,
      count: {
        kind: 'parsed',
        parse: parseCount,
        brief: 'End after N samples',
        placeholder: 'N',
        optional: true,
      },
      json: { ...jsonFlag, brief: 'Print one sample a line as JSON, until interrupted' },
    },
  },
  docs: {
    brief: "Show the agent's requests, live",
    fullDescription: `Requests per second by plugin and verb, the median and 99th percentile of the last interval in milliseconds, the
kernel's part, errors, leases and memory. On a terminal it is redrawn until q or Ctrl-C; elsewhere one sample is
printed. Needs root, and an agent.

EXAMPLES
  weft top
  weft top --interval 5
  weft top --json | jq -c '[.perSecond, .errorsPerSecond]'
  weft top --json --count 1 --interval 10`,
  },
});

export const version = buildCommand<{ json?: boolean }, [], WeftContext>({
  loader: async () => (await import('./version.ts')).printVersion,
  parameters: { flags: { json: jsonFlag } },
  docs: { brief: 'Print the versions of weft, of the specification and of Node, and the plugins' },
});

export const completion = buildCommand<Record<never, never>, ['bash' | 'zsh' | 'fish'], WeftContext>({
  loader: async () => (await import('./completion.ts')).printCompletion,
  parameters: {
    positional: {
      kind: 'tuple',
      parameters: [
        {
          brief: 'bash, zsh or fish',
          placeholder: 'SHELL',
          parse: parseShell,
          proposeCompletions: (partial) =>
            ['bash', 'zsh', 'fish'].filter((shell) => shell.startsWith(partial)),
        },
      ],
    },
  },
  docs: { brief: 'Print a completion script for a shell' },
});

function parseShell(text: string): 'bash' | 'zsh' | 'fish' {
  if (text === 'bash' || text === 'zsh' || text === 'fish') return text;
  throw new Error(`there is no completion for ${JSON.stringify(text)}: wanted bash, zsh or fish`);
}
