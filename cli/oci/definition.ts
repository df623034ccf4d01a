/** `weft oci`: how it is called. */
import { buildCommand } from '@stricli/core';
import type { WeftContext } from '../context.ts';

/** All its words are those of runc's command line: see withCommandApart. */
export const oci = buildCommand<object, string[], WeftContext>({
  async func(_flags, ...words) {
    const { runOci } = await import('./main.ts');
    this.endWith(await runOci(words, this.home, this.terminal));
  },
  parameters: {
    flags: {},
    positional: {
      kind: 'array',
      parameter: { brief: 'As runc has them', placeholder: 'WORD', parse: String },
    },
  },
  docs: { brief: "Run bundles of containerd and Podman, by runc's command line; the same as weft-oci" },
});
