/** `weft doctor`: how it is called. */
import { buildCommand } from '@stricli/core';
import { parseRegistry } from '../agent/flags.ts';
import type { WeftContext } from '../context.ts';
import { jsonFlag } from '../net/flags.ts';
import type { DoctorFlags } from './command.ts';

export const doctor = buildCommand<DoctorFlags, [], WeftContext>({
  loader: async () => (await import('./command.ts')).doctor,
  parameters: {
    flags: {
      fix: {
        kind: 'boolean',
        brief: 'Do what hurts nobody, after showing it, and look again',
        optional: true,
        withNegated: false,
      },
      yes: { kind: 'boolean', brief: 'Do not ask before', optional: true, withNegated: false },
      registry: {
        kind: 'parsed',
        parse: parseRegistry,
        brief: "REGISTRY to ask about the other hosts [the agent's]",
        placeholder: 'REGISTRY',
        optional: true,
      },
      json: jsonFlag,
    },
  },
  docs: {
    brief: 'Find what is wrong on this host: what, why it matters, what mends it',
    fullDescription: `Holds leases, attachments and results against the kernel: namespaces, links, addresses, routes, neighbours, tunnels,
tracked connections and all packet rules, whoever made them; follows packets on the ways that containers need; and asks
about the other hosts of networks between hosts. Changes nothing without --fix; sends nothing but pings to those hosts.
Needs root.

EXIT STATUS
  0  healthy, or nothing but notes
  1  something is wrong: packets are lost
  2  the command line is wrong
  3  only warnings: something is left behind, or will go wrong

EXAMPLES
  weft doctor
  weft doctor --fix
  weft doctor --json | jq -r '.findings[] | .severity + " " + .code + " " + .what'`,
  },
});
