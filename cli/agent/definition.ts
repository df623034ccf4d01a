/** `weft agent`: how it is called. */
import { buildCommand } from '@stricli/core';
import type { WeftContext } from '../context.ts';
import type { AgentFlags } from './command.ts';
import { parseAddresses, parseMetricsAddress, parseNode, parseRegistry } from './flags.ts';
import { parseSeconds } from './seconds.ts';

export const agent = buildCommand<AgentFlags, [], WeftContext>({
  loader: async () => (await import('../agent/command.ts')).runAgent,
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
