import { type GuardedPort, renderFilter } from '../../firewall/mac-filter-ruleset.ts';
import type { StepKind } from '../kind.ts';
import type { MacFilterStep } from '../step.ts';

function guarded({ network, containerId, ifname, dev, mac }: MacFilterStep): GuardedPort {
  return { network, containerId, ifname, port: dev, mac };
}

/** Stands in a plan before the link it is about: the container sends no frame that is not looked at. */
export const macFilter: StepKind<MacFilterStep> = {
  async apply(step, run) {
    const filter = await run.surroundings.macFilter();
    const member = guarded(step);
    // Also when guarding fails in between.
    run.onUndo(`let go of ${step.dev}`, () => filter.release(member));
    await filter.guard(member);
  },

  async verify(step, look) {
    const filter = await look.surroundings.macFilter();
    const missing = await filter.verify(guarded(step));
    return missing.map((what) => ({ what: `MAC filter: ${what}`, wanted: 'present', found: 'nothing' }));
  },

  async remove(step, surroundings) {
    const filter = await surroundings.macFilter();
    await filter.release(guarded(step));
  },

  render: (step) => renderFilter(guarded(step)),
};
