import { addressOf } from '../../cni/prefix.ts';
import type { Membership } from '../../firewall/firewall.ts';
import type { StepKind } from '../kind.ts';
import type { MasqueradeStep } from '../step.ts';

function membership({ network, containerId, ifname, sources, except }: MasqueradeStep): Membership {
  return { network, containerId, ifname, sources: sources.map(addressOf), except };
}

export const masquerade: StepKind<MasqueradeStep> = {
  async apply(step, run) {
    const backend = await run.surroundings.firewall(step.backend);
    const member = membership(step);
    // Also when adding fails in between.
    run.onUndo(`take ${step.containerId} out of the masquerade of ${step.network}`, () =>
      backend.removeMasquerade(member),
    );
    await backend.addMasquerade(member);
  },

  async verify(step, look) {
    const backend = await look.surroundings.firewall(step.backend);
    const missing = await backend.verifyMasquerade(membership(step));
    return missing.map((what) => ({ what: `masquerade: ${what}`, wanted: 'present', found: 'nothing' }));
  },

  async remove(step, surroundings) {
    const backend = await surroundings.firewall(step.backend);
    await backend.removeMasquerade(membership(step));
  },

  render: (step, names) => names.masquerade(membership(step), step.backend),
};
