import type { Difference } from './difference.ts';
import type { Look } from './look.ts';
import type { RenderNames } from './render.ts';
import type { Run } from './run.ts';
import type { Step } from './step.ts';
import type { Surroundings } from './surroundings.ts';

/** What the engine can do with a step. `plan/kinds.ts` has the table. */
export interface StepKind<S extends Step = Step> {
  /** Queues operations on the run, or does the work and tells the run how to undo it. Throws CniError. */
  apply(step: S, run: Run): Promise<void>;
  /** Compares with the kernel; tolerates what is there besides. */
  verify(step: S, look: Look): Promise<Difference[]>;
  /** Removes what does not go with the attachment's link. Repeatable. Absent: nothing to do. */
  remove?(step: S, surroundings: Surroundings): Promise<void>;
  /** The lines that a person would type. */
  render(step: S, names: RenderNames): string[];
}
