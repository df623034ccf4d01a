/** The commands for containers: how they are called. */
import { buildCommand, type TypedPositionalParameter } from '@stricli/core';
import { intervalFlag, parseCount } from '../agent/flags.ts';
import { parseSeconds } from '../agent/seconds.ts';
import type { WeftContext } from '../context.ts';
import { jsonFlag } from '../net/flags.ts';
import type { ExecFlags } from './exec.ts';
import {
  parseBytes,
  parseCapability,
  parseCpus,
  parseCpuset,
  parseDropped,
  parseIo,
  parseName,
  parseNamespaces,
  parsePids,
  parsePublish,
  parseServer,
  parseSignal,
  parseSysctl,
  parseVariable,
  parseVolume,
  type RunFlags,
} from './flags.ts';
import type { LogFlags } from './logs.ts';
import type { StatsFlags } from './stats.ts';

const toggle = (brief: string) => ({ kind: 'boolean', brief, optional: true, withNegated: false }) as const;
const one = <T>(parse: (text: string) => T, placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse, brief, placeholder, optional: true }) as const;
const many = <T>(parse: (text: string) => T, placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse, brief, placeholder, optional: true, variadic: true }) as const;

async function proposeNetworks(this: WeftContext, partial: string): Promise<string[]> {
  const { networkNames } = await import('../net/list.ts');
  const { DEMO_NETWORK } = await import('../../runtime/container/demo-network.ts');
  const { USERSPACE_NETWORKS } = await import('../../runtime/container/userspace-network.ts');
  const names = new Set([DEMO_NETWORK, ...(await networkNames(this.ambient)), ...USERSPACE_NETWORKS]);
  return [...names].filter((name) => name.startsWith(partial));
}

/** TERM and the like; with SIG before them where that is how one began. */
async function proposeSignals(this: WeftContext, partial: string): Promise<string[]> {
  const { constants } = await import('node:os');
  return Object.keys(constants.signals)
    .map((name) => (partial.startsWith('SI') ? name : name.slice('SIG'.length)))
    .filter((name) => name.startsWith(partial));
}

const run = buildCommand<RunFlags, string[], WeftContext>({
  loader: async () => (await import('./run.ts')).run,
  parameters: {
    flags: {
      name: one(parseName, 'NAME', 'NAME of the container [from its id]'),
      net: {
        ...many(String, 'NETWORK', 'NETWORK or file to attach to; "demo" is always there'),
        proposeCompletions: proposeNetworks,
      },
      publish: many(parsePublish, 'HOST:CONTAINER', 'Publish a port of the container on the host'),
      cpus: one(parseCpus, 'N', "CPUs' worth of time"),
      memory: one(parseBytes, 'BYTES', 'Memory, such as 64m'),
      pids: one(parsePids, 'N', 'Most processes and threads'),
      cpuset: one(parseCpuset, 'LIST', 'CPUs to run on, such as 0-1'),
      io: many(parseIo, 'DEVICE:READ[:WRITE]', 'Bytes a second of a disk, such as /dev/sda:10m:5m'),
      rootfs: one(String, 'DIR', 'DIR is the root file system; it is not changed'),
      image: one(String, 'LAYOUT[:TAG]', 'OCI image layout with the root file system'),
      ns: one(parseNamespaces, 'LIST', 'Namespaces of its own [net,pid,mnt,uts,ipc,cgroup]; also user, time'),
      volume: many(parseVolume, 'SRC:DST[:ro]', 'Show a file or folder of the host inside'),
      env: many(parseVariable, 'K[=V]', 'Variable of the environment; without a value, that of this shell'),
      hostname: one(parseName, 'NAME', 'Host name inside [the name]'),
      dns: many(parseServer, 'IP', 'Name server in resolv.conf'),
      capAdd: many(parseCapability, 'NAME', 'Capability that root inside has beside the usual ones'),
      capDrop: many(parseDropped, 'NAME', 'Capability that it has not; ALL for all but those added'),
      sysctl: many(parseSysctl, 'K=V', 'Kernel parameter inside'),
      entrypoint: one(String, 'COMMAND', "COMMAND in place of the image's own entry point"),
      user: one(String, 'USER[:GROUP]', 'User of the command [root, or what the image says]'),
      workdir: one(String, 'DIR', 'Working folder of the command'),
      detach: toggle('Print the id and go; the container runs on'),
      interactive: toggle('Pass standard input on'),
      tty: toggle('Give it a terminal'),
      rm: toggle('Remove the container when it ends'),
      init: toggle('PID 1 is an init that forwards signals and reaps, instead of the command'),
      readOnly: toggle('Nothing can be written in its file system'),
      dryRun: toggle('Print the steps of its start; needs no root and touches nothing'),
    },
    aliases: {
      d: 'detach',
      e: 'env',
      i: 'interactive',
      m: 'memory',
      p: 'publish',
      t: 'tty',
      u: 'user',
      v: 'volume',
      w: 'workdir',
    },
    positional: {
      kind: 'array',
      parameter: { brief: 'Command and its arguments', placeholder: 'COMMAND', parse: String },
    },
  },
  docs: {
    brief: 'Run a command in a container',
    fullDescription: `Makes namespaces, cgroups, a root file system and networks, and runs a command there. Without --rootfs and
--image it sees the host's files, read-only below a layer of its own. Its exit status is that of the command; 125
when the container could not be made, 126 when the command is not executable, 127 when it is not there.

EXAMPLES
  weft run --rm -it sh
  weft run --rm --net demo ping -c 1 10.248.0.1
  weft run -d --name web --net demo -p 8080:80 --memory 64m --cpus 0.5 busybox httpd -f`,
  },
});

const container = (brief: string): TypedPositionalParameter<string, WeftContext> => ({
  brief,
  placeholder: 'CONTAINER',
  parse: String,
  async proposeCompletions(partial) {
    const { listContainers } = await import('../../runtime/container/store.ts');
    return listContainers(this.ambient)
      .map(({ spec }) => spec.name)
      .filter((name) => name.startsWith(partial));
  },
});
const oneContainer = {
  kind: 'tuple',
  parameters: [container('Name, id or the beginning of an id')],
} as const;
const someContainers = {
  kind: 'array',
  parameter: container('Names, ids or beginnings of ids'),
  minimum: 1,
} as const;

const exec = buildCommand<ExecFlags, string[], WeftContext>({
  loader: async () => (await import('./exec.ts')).exec,
  parameters: {
    flags: {
      env: many(parseVariable, 'K[=V]', 'Variable of the environment; without a value, that of this shell'),
      user: one(String, 'USER[:GROUP]', 'User of the command [that of the container]'),
      workdir: one(String, 'DIR', 'Working folder [that of the container]'),
      interactive: toggle('Pass standard input on'),
      tty: toggle('Give it a terminal'),
    },
    aliases: { e: 'env', i: 'interactive', t: 'tty', u: 'user', w: 'workdir' },
    positional: {
      kind: 'array',
      parameter: {
        ...container('Container, then the command and its arguments'),
        placeholder: 'CONTAINER COMMAND',
      },
      minimum: 2,
    },
  },
  docs: {
    brief: 'Run another command in a container that runs',
    fullDescription:
      'Its exit status is that of the command; 126 when it is not executable, 127 when it is not there.\n\nEXAMPLES\n  weft exec web ip -brief address\n  weft exec -it web sh',
  },
});

const ps = buildCommand<{ all?: boolean; json?: boolean; quiet?: boolean }, [], WeftContext>({
  loader: async () => (await import('./list.ts')).ps,
  parameters: {
    flags: { all: toggle('Those that have ended, too'), quiet: toggle('Ids alone'), json: jsonFlag },
    aliases: { a: 'all', q: 'quiet' },
  },
  docs: { brief: 'List containers' },
});

const inspect = buildCommand<object, [string], WeftContext>({
  loader: async () => (await import('./list.ts')).inspect,
  parameters: { flags: {}, positional: oneContainer },
  docs: { brief: 'Print everything that is known of a container, as JSON' },
});

const logs = buildCommand<LogFlags, [string], WeftContext>({
  loader: async () => (await import('./logs.ts')).logs,
  parameters: {
    flags: {
      follow: toggle('Go on until the container ends'),
      timestamps: toggle('Say when each line was written'),
      tail: one(parseCount, 'N', 'The last N lines alone, as they are now'),
    },
    aliases: { f: 'follow', n: 'tail', t: 'timestamps' },
    positional: oneContainer,
  },
  docs: { brief: 'Print what a container wrote, each stream to its own' },
});

const stop = buildCommand<{ time: number }, string[], WeftContext>({
  loader: async () => (await import('./end.ts')).stop,
  parameters: {
    flags: {
      time: {
        kind: 'parsed',
        parse: parseSeconds,
        brief: 'SECONDS between TERM and KILL',
        placeholder: 'SECONDS',
        default: '10',
      },
    },
    aliases: { t: 'time' },
    positional: someContainers,
  },
  docs: {
    brief: 'End containers: TERM to the first process, KILL after a while',
    fullDescription:
      'A first process without a handler for TERM ignores it, since it is PID 1: then KILL ends it. "weft run --init" puts\nan init there that passes TERM on.',
  },
});

const kill = buildCommand<{ signal: number }, string[], WeftContext>({
  loader: async () => (await import('./end.ts')).kill,
  parameters: {
    flags: {
      signal: {
        kind: 'parsed',
        parse: parseSignal,
        brief: 'Name or number of the signal',
        placeholder: 'SIGNAL',
        default: 'KILL',
        proposeCompletions: proposeSignals,
      },
    },
    aliases: { s: 'signal' },
    positional: someContainers,
  },
  docs: { brief: 'Send a signal to the first process of containers' },
});

const rm = buildCommand<{ force?: boolean }, string[], WeftContext>({
  loader: async () => (await import('./end.ts')).rm,
  parameters: {
    flags: { force: toggle('End those that run') },
    aliases: { f: 'force' },
    positional: someContainers,
  },
  docs: { brief: 'Remove containers: their files, output and exit status' },
});

const gc = buildCommand<{ json?: boolean }, [], WeftContext>({
  loader: async () => (await import('./end.ts')).gc,
  parameters: { flags: { json: jsonFlag } },
  docs: { brief: 'Remove what is left of containers and demonstrations whose maker or monitor was killed' },
});

const stats = buildCommand<StatsFlags, string[], WeftContext>({
  loader: async () => (await import('./stats.ts')).stats,
  parameters: {
    flags: {
      interval: intervalFlag,
      count: one(parseCount, 'N', 'N looks, then end [without end on a terminal, else 1]'),
      json: jsonFlag,
    },
    aliases: { n: 'count' },
    positional: { kind: 'array', parameter: container('Containers [all that run]') },
  },
  docs: {
    brief: 'Show what containers use: CPU, memory, processes, network, devices',
    fullDescription: 'Live on a terminal; q ends it. CPU is in percent of one CPU.',
  },
});

export const containerCommands = { run, exec, ps, logs, stop, kill, rm, stats, inspect, gc } as const;
