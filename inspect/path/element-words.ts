/** Elements of sets and maps as a person would type them. */
import type { Element, Verdict } from '../ruleset/model.ts';
import { valueWords } from '../ruleset/words.ts';

/** `tcp . 8080 : 10.88.0.5 . 80` */
export function elementWords({ key, data, verdict }: Element): string {
  const value = data !== undefined ? valueWords(data) : verdict && verdictWords(verdict);
  return value === undefined ? valueWords(key) : `${valueWords(key)} : ${value}`;
}

function verdictWords(verdict: Verdict): string {
  return verdict.kind === 'jump' || verdict.kind === 'goto'
    ? `${verdict.kind} ${verdict.chain}`
    : verdict.kind;
}
