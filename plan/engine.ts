/** What can be done with a plan. The engine knows no plugin, and of each kind of step only its file in plan/steps/. */
import type { AttachmentId } from '../cni/types.ts';
import type { Difference } from './difference.ts';
import { explainError, withDetails } from './failure.ts';
import { kindOf } from './kinds.ts';
import { Look, lookForLink } from './look.ts';
import type { RenderNames } from './render.ts';
import { type KnownLink, Run, Vanished } from './run.ts';
import type { MasqueradeBackend, Plan, Where } from './step.ts';
import { collectHostLinks } from './steps/veth.ts';
import type { Surroundings } from './surroundings.ts';

/** What was learnt about links, by `host/<name>` and `container/<name>`. */
export type Facts = Readonly<Record<string, KnownLink>>;

export interface Applied {
  facts: Facts;
  /** Takes everything back; returns what could not be taken back. */
  undo(): Promise<string[]>;
}

/** How often a plan is begun again because something shared (a bridge) vanished between two looks. */
const ATTEMPTS = 3;

/**
 * Makes everything of the plan, in order. On failure everything that was done is undone, in reverse, and the error is thrown
 * (CniError; what could not be undone stands in its details). Shared things stay: addresses of a bridge that has other ports,
 * settings of the host.
 */
export async function apply(plan: Plan, surroundings: Surroundings, known: Facts = {}): Promise<Applied> {
  for (let attempt = 1; ; attempt += 1) {
    const run = new Run(plan, surroundings, known);
    try {
      for (const step of plan) await kindOf(step).apply(step, run);
      await run.finish();
      return { facts: run.facts(), undo: () => run.undo() };
    } catch (error) {
      const failures = await run.undo();
      if (error instanceof Vanished && attempt < ATTEMPTS) continue;
      throw withDetails(explainError(error instanceof Vanished ? error.error : error), failures);
    }
  }
}

/** Compares the plan with the kernel; returns what differs, in the plan's order. What is there besides is tolerated. */
export async function verify(plan: Plan, surroundings: Surroundings): Promise<Difference[]> {
  const look = new Look(surroundings);
  const differences: Difference[] = [];
  for (const step of plan) {
    try {
      differences.push(...(await kindOf(step).verify(step, look)));
    } catch (error) {
      throw explainError(error);
    }
  }
  return differences;
}

/**
 * Removes what belongs to one attachment, in the plan's order; goes on after an error, and throws the first at the end.
 * Repeatable; needs neither the container's namespace nor anything that ADD returned. Shared things stay.
 */
export async function remove(plan: Plan, surroundings: Surroundings): Promise<void> {
  const errors: unknown[] = [];
  for (const step of plan) {
    try {
      await kindOf(step).remove?.(step, surroundings);
    } catch (error) {
      errors.push(explainError(error));
    }
  }
  const [first, ...more] = errors;
  if (first)
    throw withDetails(
      first,
      more.map((error) => (error instanceof Error ? error.message : String(error))),
    );
}

/** What GC did. */
export interface Collected {
  /** Readable. */
  removed: string[];
  errors: unknown[];
}

/** What GC is about. */
export interface CollectScope {
  network: string;
  /** Everything else of the network is stale. */
  valid: readonly AttachmentId[];
  /** Backends to look in; undefined stands for the one that fits this host. None: a host without any packet filter is fine. */
  masquerade: readonly (MasqueradeBackend | undefined)[];
  macFilter: boolean;
}

/** Removes what a network left on the host and belongs to none of the valid attachments. Never throws. */
export async function collect(
  { network, valid, masquerade, macFilter }: CollectScope,
  surroundings: Surroundings,
): Promise<Collected> {
  const collected: Collected = { removed: [], errors: [] };
  const parts = [
    () => collectHostLinks(network, valid, surroundings),
    ...masquerade.map((name) => async () => {
      const backend = await surroundings.firewall(name);
      return await backend.collectMasquerade(network, valid);
    }),
    ...(macFilter ? [async () => (await surroundings.macFilter()).collect(network, valid)] : []),
  ];
  for (const part of parts) {
    try {
      collected.removed.push(...(await part()));
    } catch (error) {
      collected.errors.push(explainError(error));
    }
  }
  return collected;
}

/** The plan as the lines that a person would type, in order. Pure. */
export function render(plan: Plan, names: RenderNames): string[] {
  return plan.flatMap((step) => kindOf(step).render(step, names));
}

export async function linkExists(surroundings: Surroundings, where: Where, name: string): Promise<boolean> {
  try {
    return (await lookForLink(surroundings, where, name)) !== undefined;
  } catch (error) {
    throw explainError(error);
  }
}
