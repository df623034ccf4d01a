/** The commands for containers: how they are called. */
import { buildCommand } from '@stricli/core';
import type { WeftContext } from '../context.ts';
import {
  parseBytes,
  parseCpus,
  parseCpuset,
  parseName,
  parseNamespaces,
  parsePids,
  parsePublish,
  parseServer,
  parseSysctl,
  parseVariable,
  parseVolume,
  type RunFlags,
} from './flags.ts';

const toggle = (brief: string) => ({ kind: 'boolean', brief, optional: true, withNegated: false }) as const;
const one = <T>(parse: (text: string) => T, placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse, brief, placeholder, optional: true }) as const;
const many = <T>(parse: (text: string) => T, placeholder: string, brief: string) =>
  ({ kind: 'parsed', parse, brief, placeholder, optional: true, variadic: true }) as const;

const run = buildCommand<RunFlags, string[], WeftContext>({
  loader: async () => (await import('./run.ts')).run,
  parameters: {
    flags: {
      name: one(parseName, 'NAME', 'NAME of the container [from its id]'),
      net: many(String, 'NETWORK', 'NETWORK or file to attach to; "demo" is always there'),
      publish: many(parsePublish, 'HOST:CONTAINER', 'Publish a port of the container on the host'),
      cpus: one(parseCpus, 'N', "CPUs' worth of time"),
      memory: one(parseBytes, 'BYTES', 'Memory, such as 64m'),
      pids: one(parsePids, 'N', 'Most processes and threads'),
      cpuset: one(parseCpuset, 'LIST', 'CPUs to run on, such as 0-1'),
      rootfs: one(String, 'DIR', 'DIR is the root file system; it is not changed'),
      image: one(String, 'LAYOUT[:TAG]', 'OCI image layout with the root file system'),
      ns: one(parseNamespaces, 'LIST', 'Namespaces of its own [net,pid,mnt,uts,ipc,cgroup]; also user, time'),
      volume: many(parseVolume, 'SRC:DST[:ro]', 'Show a file or folder of the host inside'),
      env: many(parseVariable, 'K=V', 'Variable of the environment'),
      hostname: one(parseName, 'NAME', 'Host name inside [the name]'),
      dns: many(parseServer, 'IP', 'Name server in resolv.conf'),
      sysctl: many(parseSysctl, 'K=V', 'Kernel parameter inside'),
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
--image it sees the host's files, read-only below a layer of its own. Its exit status is that of the command; 125 when the
container could not be made, 126 when the command is not executable, 127 when it is not there.

EXAMPLES
  weft run --rm -it sh
  weft run --rm --net demo ping -c 1 10.248.0.1
  weft run -d --name web --net demo -p 8080:80 --memory 64m --cpus 0.5 busybox httpd -f`,
  },
});

export const containerCommands = { run } as const;
