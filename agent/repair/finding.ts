import type { Step } from '../../plan/step.ts';
import type { Entry } from './records.ts';

/** Something that an attachment needs and that is not there. */
export interface Finding {
  entry: Entry;
  step: Step;
  /** Readable, one thing each: `rule "..." in chain ...`. */
  what: readonly string[];
}

/** One step of an attachment. */
export interface Wanted<S extends Step> {
  entry: Entry;
  step: S;
}

/** The steps of one kind, of all attachments. */
export function wanted<K extends Step['kind']>(
  entries: readonly Entry[],
  kind: K,
): Wanted<Extract<Step, { kind: K }>>[] {
  return entries.flatMap((entry) =>
    entry.record.steps.flatMap((step) =>
      step.kind === kind ? [{ entry, step: step as Extract<Step, { kind: K }> }] : [],
    ),
  );
}

/** The first of each group: for what all of them have in common. */
export function firstOfEach<T>(things: readonly T[], keyOf: (thing: T) => string): T[] {
  const first = new Map<string, T>();
  for (const thing of things) {
    const key = keyOf(thing);
    if (!first.has(key)) first.set(key, thing);
  }
  return [...first.values()];
}
