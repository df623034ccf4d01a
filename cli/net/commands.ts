/** `weft net`: how its commands are called. */
import { buildCommand, buildRouteMap, type TypedPositionalParameter } from '@stricli/core';
import type { WeftContext } from '../context.ts';
import {
  type AttachmentFlags,
  argFlag,
  capFlag,
  cniPathFlag,
  idFlag,
  ifnameFlag,
  jsonFlag,
  parseAttachment,
} from './flags.ts';
import type { GcFlags } from './gc.ts';
import type { ListFlags } from './list.ts';

const network: TypedPositionalParameter<string, WeftContext> = {
  brief: "Network name, or file with its configuration; '-' for standard input",
  placeholder: 'NETWORK|FILE',
  parse: String,
  async proposeCompletions(partial) {
    const { networkNames } = await import('./list.ts');
    return (await networkNames(this.ambient)).filter((name) => name.startsWith(partial));
  },
};

const NETWORK_NAME = { brief: 'Name of a network [all]', placeholder: 'NETWORK' } as const;

const NETNS = 'Namespace of the container: a path, a name of "ip netns", or a process id';
const netns: TypedPositionalParameter<string, WeftContext> = {
  brief: NETNS,
  placeholder: 'NETNS',
  parse: String,
  async proposeCompletions(partial) {
    const { namespaceNames } = await import('../../runtime/sandbox-name.ts');
    return namespaceNames().filter((name) => name.startsWith(partial));
  },
};

const flags = {
  id: idFlag,
  ifname: ifnameFlag,
  cap: capFlag,
  arg: argFlag,
  cniPath: cniPathFlag,
  json: jsonFlag,
} as const;

const add = buildCommand<AttachmentFlags, [string, string], WeftContext>({
  loader: async () => (await import('./attachment.ts')).add,
  parameters: { flags, positional: { kind: 'tuple', parameters: [network, netns] } },
  docs: {
    brief: 'Attach a container to a network',
    fullDescription:
      'Runs ADD through the plugins of the network and prints addresses, routes and interfaces.\n' +
      'When it fails, DEL is run, so that nothing is left.',
  },
});

const check = buildCommand<AttachmentFlags, [string, string], WeftContext>({
  loader: async () => (await import('./attachment.ts')).check,
  parameters: { flags, positional: { kind: 'tuple', parameters: [network, netns] } },
  docs: {
    brief: 'Compare an attachment with what ADD made',
    fullDescription: 'Runs CHECK through the plugins with the cached result; fails with what differs.',
  },
});

const del = buildCommand<AttachmentFlags, [string, string?], WeftContext>({
  loader: async () => (await import('./attachment.ts')).del,
  parameters: {
    flags,
    positional: { kind: 'tuple', parameters: [network, { ...netns, optional: true }] },
  },
  docs: {
    brief: 'Detach a container; may be repeated',
    fullDescription:
      'Runs DEL through the plugins, last one first, with the configuration and the result that ADD cached.\n' +
      'The namespace may be gone; without NETNS, --id says which container is meant. Says so when nothing was attached.',
  },
});

const gc = buildCommand<GcFlags, [string], WeftContext>({
  loader: async () => (await import('./gc.ts')).gc,
  parameters: {
    flags: {
      valid: {
        kind: 'parsed',
        parse: parseAttachment,
        brief: 'ID/IFNAME of an attachment that stays; repeatable',
        placeholder: 'ID/IFNAME',
        optional: true,
        variadic: true,
      },
      all: { kind: 'boolean', brief: 'None stays', optional: true, withNegated: false },
      cniPath: cniPathFlag,
      json: jsonFlag,
    },
    positional: { kind: 'tuple', parameters: [network] },
  },
  docs: {
    brief: 'Remove what belongs to no valid attachment of a network',
    fullDescription:
      'Runs DEL for cached attachments that are not named with --valid, then GC (from cniVersion 1.1.0)\n' +
      'through all plugins.',
  },
});

const status = buildCommand<ListFlags, [string], WeftContext>({
  loader: async () => (await import('./status.ts')).status,
  parameters: {
    flags: { cniPath: cniPathFlag, json: jsonFlag },
    positional: { kind: 'tuple', parameters: [network] },
  },
  docs: { brief: 'Ask the plugins of a network whether ADD would work' },
});

const version = buildCommand<ListFlags, [string], WeftContext>({
  loader: async () => (await import('./status.ts')).version,
  parameters: {
    flags: { cniPath: cniPathFlag, json: jsonFlag },
    positional: { kind: 'tuple', parameters: [network] },
  },
  docs: { brief: 'Ask the plugins of a network which versions of the specification they support' },
});

const list = buildCommand<{ json?: boolean }, [], WeftContext>({
  loader: async () => (await import('./list.ts')).list,
  parameters: { flags: { json: jsonFlag } },
  docs: { brief: 'List the networks of the configuration folder' },
});

const attachments = buildCommand<{ json?: boolean }, [string?], WeftContext>({
  loader: async () => (await import('./attachments.ts')).attachments,
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: 'tuple', parameters: [{ ...network, ...NETWORK_NAME, optional: true }] },
  },
  docs: {
    brief: 'List what is attached, as far as results and records tell',
    fullDescription:
      "Reads what runtimes that use libcni's cache keep of their attachments, and what weft's plugins write down of theirs.\n" +
      'A namespace that is "gone" still holds its addresses: weft net del, weft net gc or the agent take them back.',
  },
});

export const net = buildRouteMap({
  routes: { list, attachments, add, check, del, gc, status, version },
  docs: {
    brief: "Networks: the runtime's side of CNI",
    fullDescription: `Attaches containers to networks as a container runtime would: reads the configuration, runs its plugins, keeps the
result where libcni's users look for it. Needs root, as the plugins do.

EXAMPLES
  weft net add podnet blue                          the namespace that "ip netns add blue" made
  weft net add podnet 4711 --ifname net1            the namespace of process 4711, as a second interface
  weft net attachments                              what is attached, to which network, with which addresses
  weft net add podnet blue --arg IP=10.1.0.7 --cap 'mac="02:00:00:00:00:07"'
  weft net check podnet blue
  weft net del podnet blue
  weft net del podnet --id blue                     when the namespace is gone
  weft net gc podnet --valid blue/eth0              removes all others`,
  },
});
