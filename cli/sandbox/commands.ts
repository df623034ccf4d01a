/** `weft sandbox`: how its commands are called. */
import { buildCommand, buildRouteMap, type TypedPositionalParameter } from '@stricli/core';
import type { NamespaceKind } from '../../runtime/container/spec.ts';
import { parseName, parseNamespaces } from '../container/flags.ts';
import type { WeftContext } from '../context.ts';
import { jsonFlag } from '../net/flags.ts';

const existing: TypedPositionalParameter<string, WeftContext> = {
  brief: 'Name of a sandbox',
  placeholder: 'NAME',
  parse: parseName,
  async proposeCompletions(partial) {
    const { listSandboxes } = await import('../../runtime/sandbox/sandbox.ts');
    return listSandboxes(this.ambient)
      .map(({ name }) => name)
      .filter((name) => name.startsWith(partial));
  },
};

const create = buildCommand<{ ns: NamespaceKind[]; json?: boolean }, [string], WeftContext>({
  loader: async () => (await import('./sandbox.ts')).create,
  parameters: {
    flags: {
      ns: {
        kind: 'parsed',
        parse: parseNamespaces,
        brief: 'Which namespaces',
        placeholder: 'LIST',
        default: 'net',
      },
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [{ brief: 'Name of the new sandbox', placeholder: 'NAME', parse: parseName }],
    },
  },
  docs: {
    brief: 'Make namespaces and pin them',
    fullDescription: `A network namespace can be entered by its name: "ip netns exec NAME ...", "weft net add NETWORK NAME". A PID namespace
keeps a tiny init, since it ends with its first process.

EXAMPLES
  weft sandbox create blue
  weft net add podnet blue && ip netns exec blue ip address
  weft sandbox create lab --ns net,uts,ipc,pid`,
  },
});

const list = buildCommand<{ json?: boolean }, [], WeftContext>({
  loader: async () => (await import('./sandbox.ts')).list,
  parameters: { flags: { json: jsonFlag } },
  docs: { brief: 'List sandboxes with their namespaces' },
});

const remove = buildCommand<object, string[], WeftContext>({
  loader: async () => (await import('./sandbox.ts')).remove,
  parameters: { flags: {}, positional: { kind: 'array', parameter: existing, minimum: 1 } },
  docs: { brief: 'Unpin the namespaces; they end with the last process in them' },
});

export const sandbox = buildRouteMap({
  routes: { create, list, remove },
  docs: { brief: 'Namespaces without a container, to be wired and looked at' },
});
