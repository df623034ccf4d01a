/** What the rules on the way to a translation want, together. */
import { contains, parseEither } from '../../cni/prefix.ts';
import type { Field, Match, Table, Value } from '../ruleset/model.ts';
import { valueWords } from '../ruleset/words.ts';
import type { Condition } from './translation.ts';

type Lists = 'protocols' | 'sources' | 'destinations' | 'ports' | 'in' | 'out';

const LISTS: Partial<Record<Field, Lists>> = {
  protocol: 'protocols',
  saddr: 'sources',
  daddr: 'destinations',
  dport: 'ports',
  iifname: 'in',
  oifname: 'out',
};

/** Wants nothing yet. */
export function anyPacket(family: Table['family']): Condition {
  const lists = { protocols: [], sources: [], destinations: [], ports: [], in: [], out: [] };
  if (family === 'ip' || family === 'ip6')
    return { family: family === 'ip' ? 4 : 6, ...lists, published: false, local: false };
  return { ...lists, published: false, local: false };
}

/** The condition and what a rule wants besides; undefined where both cannot hold. */
export function narrowed(condition: Condition, matches: readonly Match[]): Condition | undefined {
  let found: Condition | undefined = condition;
  for (const match of matches) found &&= oneMore(found, match);
  return found;
}

function oneMore(condition: Condition, match: Match): Condition | undefined {
  if ('unknown' in match) return condition;
  if ('mask' in match) {
    const { mask, value, fields } = match;
    // One bit that is not off is on.
    const bit = match.not && value === 0 && (mask & (mask - 1)) === 0;
    if (fields[0] !== 'mark' || (match.not && !bit)) return condition;
    return { ...condition, mark: markWords(bit ? mask : value, mask) };
  }
  if (match.not) return condition;
  if ('set' in match) {
    // Nothing but the set's name is said where its elements are not looked at one by one.
    const [field] = match.fields;
    const list = field && LISTS[field];
    return list === undefined || match.fields.length > 1
      ? condition
      : narrow(condition, list, [`@${match.set}`]);
  }
  if (match.fields.length > 1) {
    const [value] = match.values;
    return match.values.length === 1 && value ? withKey(condition, match.fields, value) : condition;
  }
  const [field] = match.fields;
  return field === undefined ? condition : withValues(condition, field, match.values);
}

const hex = (value: number) => `0x${value.toString(16)}`;
const markWords = (value: number, mask: number) =>
  mask === 0xffffffff ? hex(value) : `${hex(value)}/${hex(mask)}`;

/** The same with the key of an element: one value for each field. */
export function withKey(condition: Condition, fields: readonly Field[], key: Value): Condition | undefined {
  const parts = 'parts' in key ? key.parts : [key];
  let found: Condition | undefined = condition;
  fields.forEach((field, i) => {
    const part = parts[i];
    if (found && part) found = withValues(found, field, [part]);
  });
  return found;
}

function withValues(condition: Condition, field: Field, values: readonly Value[]): Condition | undefined {
  if (values.some((value) => 'text' in value && value.text === '*')) return condition;
  if (field === 'family') {
    const families = values.map((value) => ('text' in value && value.text === 'ipv6' ? 6 : 4));
    const [only = 4] = families;
    if (families.length !== 1) return condition;
    return condition.family === undefined || condition.family === only
      ? { ...condition, family: only }
      : undefined;
  }
  if (field === 'ctStatus' || field === 'ctState') {
    const published = values.length === 1 && values.some((value) => 'text' in value && value.text === 'dnat');
    return published ? { ...condition, published } : condition;
  }
  if (field === 'destinationType') {
    const local = values.length === 1 && values.some((value) => 'text' in value && value.text === 'local');
    return local ? { ...condition, local } : condition;
  }
  if (field === 'mark') {
    return {
      ...condition,
      mark: values.map((value) => ('from' in value ? hex(value.from) : valueWords(value))).join(' '),
    };
  }
  const list = LISTS[field];
  return list === undefined ? condition : narrow(condition, list, values.map(valueWords));
}

function narrow(condition: Condition, list: Lists, wanted: readonly string[]): Condition | undefined {
  const before = condition[list];
  const both =
    before.length === 0
      ? wanted
      : unique(before.flatMap((one) => wanted.flatMap((other) => common(one, other))));
  return both.length === 0 ? undefined : { ...condition, [list]: both };
}

const unique = (words: readonly string[]): string[] => [...new Set(words)];

/** What both say: the narrower of two prefixes; nothing where they differ; both where only a packet could tell. */
function common(one: string, other: string): string[] {
  if (one === other) return [one];
  if (one.startsWith('@') || other.startsWith('@') || one.includes('*') || other.includes('*'))
    return [one, other];
  const [a, b] = [parseEither(one), parseEither(other)];
  if (a && b) {
    if (a.bits >= b.bits) return contains(b, a.address) ? [one] : [];
    return contains(a, b.address) ? [other] : [];
  }
  const [left, right] = [rangeOf(one), rangeOf(other)];
  if (left === undefined || right === undefined) return [];
  const [from, to] = [Math.max(left[0], right[0]), Math.min(left[1], right[1])];
  return from > to ? [] : [from === to ? String(from) : `${from}-${to}`];
}

/** `80`, `80-90` */
export function rangeOf(text: string): [number, number] | undefined {
  const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  return from === undefined ? undefined : [Number(from), Number(to)];
}
