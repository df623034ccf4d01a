/** Elements of sets and maps as a person would type them. */
import type { Element, Value, Verdict } from '../ruleset/model.ts';

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

export function valueWords(value: Value): string {
  if ('parts' in value) return value.parts.map(valueWords).join(' . ');
  if ('prefix' in value) return value.prefix;
  if ('text' in value) return value.text;
  if ('from' in value) return value.from === value.to ? `${value.from}` : `${value.from}-${value.to}`;
  return `${value.fromAddress}-${value.toAddress}`;
}
