/** Whose tables, chains, rules and elements are, told from their names and comments. */
import type { Ruleset } from './ruleset/model.ts';

export function withOwners(ruleset: Ruleset): Ruleset {
  return ruleset;
}
