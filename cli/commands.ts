/** The commands besides `weft net`: how they are called. */
import { buildCommand, buildRouteMap } from '@stricli/core';
import type { AgentFlags } from './agent/command.ts';
import {
  parseAddresses,
  parseCount,
  parseInterval,
  parseMetricsAddress,
  parseNode,
  parseRegistry,
} from './agent/flags.ts';
import { parseSeconds } from './agent/seconds.ts';
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

export const agent = buildCommand<AgentFlags, [], WeftContext>({
  loader: async () => (await import('./agent/command.ts')).runAgent,
  parameters: {
    flags: {
      logLevel: {
        kind: 'enum',
        values: ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
        brief: 'Least important lines to log',
        default: 'info',
      },
      metrics: {
        kind: 'parsed',
        parse: parseMetricsAddress,
        brief: 'HOST:PORT on loopback for metrics',
        placeholder: 'HOST:PORT',
        optional: true,
      },
      repair: { kind: 'boolean', brief: 'Put back what others remove', default: true },
      collect: {
        kind: 'boolean',
        brief: 'Take away what attachments leaked',
        default: true,
      },
      collectAfter: {
        kind: 'parsed',
        parse: parseSeconds,
        brief: 'SECONDS until leaks are taken',
        placeholder: 'SECONDS',
        default: '600',
      },
      registry: {
        kind: 'parsed',
        parse: parseRegistry,
        brief: 'FILE or etcd://... of the networks',
        placeholder: 'FILE|etcd://...',
        optional: true,
      },
      node: {
        kind: 'parsed',
        parse: parseNode,
        brief: 'NAME of this host in the registry',
        placeholder: 'NAME',
        optional: true,
      },
      address: {
        kind: 'parsed',
        parse: parseAddresses,
        brief: 'IP[,IP6] of this host, or links',
        placeholder: 'IP[,IP6]',
        optional: true,
      },
    },
  },
  docs: {
    brief: 'Serve the plugins of this host from one process that stays',
    fullDescription:
      'A plugin then starts no Node: it asks the agent, and does without where there is none (WEFT_AGENT=off: always).\n' +
      'Runs in the foreground until TERM or INT, and logs JSON lines on standard output. The plugins find it by\n' +
      'WEFT_RUN_DIR/agent.sock: one agent for each such folder. Needs root.\n\n' +
      'What others remove of ours is put back. Leaked is what belongs to attachments that have provably ended: it is taken\n' +
      'away after --collect-after seconds.\n\n' +
      'With --registry it joins the networks of the conflists that span hosts (docs/networks.md), and keeps tunnels and routes\n' +
      'to the other hosts. Stopping it leaves them as they are: "weft network leave" takes them away. The host\'s name there is\n' +
      'that of the machine unless --node says another; its addresses are those that it reaches the outside with.\n\n' +
      'Metrics for Prometheus are at WEFT_RUN_DIR/metrics.sock, for root alone; on a port only if asked for:\n' +
      '  weft agent --metrics 127.0.0.1:9464\n' +
      '  curl --unix-socket /run/weft/metrics.sock http://agent/metrics',
  },
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
      interval: {
        kind: 'parsed',
        parse: parseInterval,
        brief: 'SECONDS between two looks',
        placeholder: 'SECONDS',
        default: '1',
      },
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
