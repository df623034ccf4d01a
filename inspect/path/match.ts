/** Whether a rule holds of a packet: yes, no, or nobody can say without the packet. */
import { parseAddress } from '../../cni/prefix.ts';
import type { Element, Field, Match, NamedSet, Table, Value } from '../ruleset/model.ts';
import { type HookView, valuesOf } from './fields.ts';
import { within } from './routing.ts';

export type Answer = 'yes' | 'no' | 'maybe';

type Names = readonly (string | number)[];

function not(answer: Answer): Answer {
  return answer === 'maybe' ? answer : answer === 'yes' ? 'no' : 'yes';
}

/** One condition of a rule of this table. */
export function matches(view: HookView, table: Pick<Table, 'sets'>, match: Match): Answer {
  if ('unknown' in match) return 'maybe';
  const fields = match.fields.map((field) => valuesOf(view, field));
  if (fields.some((names) => names === undefined)) return 'maybe';
  const found = ask(fields as Names[], table, match);
  return match.not ? not(found) : found;
}

function ask(
  fields: readonly Names[],
  table: Pick<Table, 'sets'>,
  match: Exclude<Match, { unknown: string }>,
): Answer {
  if ('mask' in match) {
    const bits = fields[0]?.find((name) => typeof name === 'number');
    if (bits === undefined) return 'no';
    return ((Number(bits) & match.mask) ^ match.value) === 0 ? 'yes' : 'no';
  }
  if ('set' in match) {
    const set = table.sets.get(match.set);
    return set === undefined ? 'maybe' : findElement(fields, set.elements) === undefined ? 'no' : 'yes';
  }
  return match.values.some((value) => holds(value, fields)) ? 'yes' : 'no';
}

/** The element of a set or map that the packet's fields lead to; undefined: none. `maybe`: a field is unknown. */
export function lookUpElement(
  view: HookView,
  fields: readonly Field[],
  elements: readonly Element[],
): Element | undefined | 'maybe' {
  const names = fields.map((field) => valuesOf(view, field));
  if (names.some((one) => one === undefined)) return 'maybe';
  return findElement(names as Names[], elements);
}

export function elementsOf(table: Pick<Table, 'sets'>, set: string | readonly Element[]): readonly Element[] {
  return typeof set === 'string' ? ((table.sets.get(set) as NamedSet | undefined)?.elements ?? []) : set;
}

/** Of several that hold, the narrowest: the kernel's intervals do not overlap. A sole `*` is what nothing else is. */
function findElement(fields: readonly Names[], elements: readonly Element[]): Element | undefined {
  const usual = elements.find(({ key }) => !isAnything(key) && holds(key, fields));
  return usual ?? elements.find(({ key }) => isAnything(key));
}

function isAnything(value: Value): boolean {
  return 'text' in value && value.text === '*';
}

function holds(value: Value, fields: readonly Names[]): boolean {
  if ('parts' in value) {
    return (
      value.parts.length === fields.length && value.parts.every((part, i) => holdsOne(part, fields[i] ?? []))
    );
  }
  return fields.length === 1 && holdsOne(value, fields[0] ?? []);
}

function holdsOne(value: Value, names: Names): boolean {
  return names.some((name) => equals(value, name));
}

function equals(value: Value, name: string | number): boolean {
  if ('prefix' in value) return typeof name === 'string' && within(name, value.prefix);
  if ('from' in value) return typeof name === 'number' && name >= value.from && name <= value.to;
  if ('fromAddress' in value)
    return typeof name === 'string' && between(name, value.fromAddress, value.toAddress);
  if ('parts' in value) return false;
  const { text } = value;
  if (text.endsWith('*')) return String(name).startsWith(text.slice(0, -1));
  return String(name) === text || String(name).toLowerCase() === text.toLowerCase();
}

function between(address: string, from: string, to: string): boolean {
  const [found, low, high] = [parseAddress(address), parseAddress(from), parseAddress(to)];
  if (found === undefined || low === undefined || high === undefined) return false;
  return found.family === low.family && found.value >= low.value && found.value <= high.value;
}
