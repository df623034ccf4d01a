/** What a rule of nft's JSON does. */
import { NOBODY } from '../owner.ts';
import { type Json, list, member, sole, text } from './json.ts';
import type { Element, MapLookup, Statement, TableFamily, Verdict } from './model.ts';
import { fieldOf, kindsOf, readValue, statementWords, words } from './nft-values.ts';

const PLAIN = ['accept', 'drop', 'return', 'continue', 'queue'] as const;

/** Statements that leave alone what is modelled. */
const HARMLESS = [
  'counter',
  'log',
  'set',
  'map',
  'last',
  'flow',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'comment',
  'secmark',
];

/** A verdict such as `{ "jump": { "target": "x" } }`; undefined for what is none. */
export function verdictOf(json: Json | undefined): Verdict | undefined {
  const [name, body] = sole(json) ?? [];
  const plain = PLAIN.find((one) => one === name);
  if (plain) return { kind: plain };
  const chain = text(member(body, 'target'));
  if ((name === 'jump' || name === 'goto') && chain !== undefined) return { kind: name, chain };
  if (name !== 'reject') return undefined;
  const how = [member(body, 'type'), member(body, 'expr')].map((one) => words(one)).filter(Boolean);
  return how.length > 0 ? { kind: 'reject', with: how.join(' ') } : { kind: 'reject' };
}

/** One expression that is no comparison. */
export function statementOf(expression: Json, family: TableFamily): Statement {
  const verdict = verdictOf(expression);
  if (verdict) return { kind: 'verdict', verdict };
  const [name = '', body = null] = sole(expression) ?? [];
  const unknown: Statement = { kind: 'unknown', text: words(expression) };
  switch (name) {
    case 'vmap':
      return vmap(body, family) ?? unknown;
    case 'dnat':
    case 'snat':
      return { kind: name, ...target(body, family) };
    case 'masquerade':
    case 'redirect': {
      const port = portOf(member(body, 'port'));
      return port === undefined ? { kind: name } : { kind: name, port };
    }
    case 'mangle':
      return mangle(body) ?? unknown;
    case 'notrack':
      return { kind: 'notrack' };
    default:
      return HARMLESS.includes(name) ? { kind: 'other', text: statementWords(expression) } : unknown;
  }
}

/** Where the key is a number by chance or by hash. */
const CHANCE = ['numgen', 'jhash', 'symhash'];

function keyKinds(key: Json, family: TableFamily) {
  return CHANCE.includes(sole(key)?.[0] ?? '') ? [] : kindsOf(key, family);
}

function vmap(body: Json, family: TableFamily): Statement | undefined {
  const kinds = keyKinds(member(body, 'key') ?? null, family);
  if (kinds === undefined) return undefined;
  const fields = kinds.map(fieldOf);
  const data = member(body, 'data');
  if (typeof data === 'string') return { kind: 'vmap', fields, set: data.replace(/^@/, '') };
  return { kind: 'vmap', fields, elements: elementsOf(member(data, 'set'), kinds, []) };
}

function target(body: Json, family: TableFamily): { address?: string; port?: string; map?: MapLookup } {
  const address = member(body, 'addr');
  const lookup = member(address, 'map');
  const port = portOf(member(body, 'port'));
  const withPort = port === undefined ? {} : { port };
  if (lookup === undefined) {
    return address === undefined ? withPort : { address: words(address), ...withPort };
  }
  const kinds = keyKinds(member(lookup, 'key') ?? null, family);
  if (kinds === undefined) return { address: words(address), ...withPort };
  const data = member(lookup, 'data');
  const set =
    typeof data === 'string' ? data.replace(/^@/, '') : elementsOf(member(data, 'set'), kinds, ['daddr']);
  return { map: { fields: kinds.map(fieldOf), set }, ...withPort };
}

function portOf(port: Json | undefined): string | undefined {
  return port === undefined ? undefined : words(port);
}

const ALL = 0xffffffff;

/** What is done to a mark: `(mark & a | b) ^ c`, in any depth, is one mask and one value. */
function mangle(body: Json): Statement | undefined {
  const on = markOf(member(body, 'key'));
  if (on === undefined) return undefined;
  const value = member(body, 'value') ?? null;
  const source = markOf(value) ?? masked(value)?.source;
  if (source !== undefined && source !== on)
    return { kind: 'copyMark', mask: masked(value)?.mask ?? ALL, to: on };
  const change = changeOf(value, on);
  return change && { kind: 'setMark', on, mask: change.mask, value: change.value };
}

function markOf(json: Json | undefined): 'packet' | 'connection' | undefined {
  if (member(member(json, 'meta'), 'key') === 'mark') return 'packet';
  return member(member(json, 'ct'), 'key') === 'mark' ? 'connection' : undefined;
}

function masked(value: Json): { source: 'packet' | 'connection'; mask: number } | undefined {
  const [left, mask] = list(member(value, '&'));
  const source = markOf(left);
  return source !== undefined && typeof mask === 'number' ? { source, mask } : undefined;
}

function changeOf(value: Json, on: 'packet' | 'connection'): { mask: number; value: number } | undefined {
  if (typeof value === 'number') return { mask: ALL, value };
  if (markOf(value) === on) return { mask: 0, value: 0 };
  const [op = '', operands] = sole(value) ?? [];
  const [left, by] = list(operands);
  const before = left === undefined ? undefined : changeOf(left, on);
  if (before === undefined || typeof by !== 'number') return undefined;
  const { mask, value: bits } = before;
  // `>>> 0`: the bits of a mark are an unsigned number.
  if (op === '&') return { mask: (mask | ~by) >>> 0, value: (bits & by) >>> 0 };
  if (op === '|') return { mask: (mask | by) >>> 0, value: (bits | by) >>> 0 };
  return op === '^' ? { mask, value: (bits ^ by) >>> 0 } : undefined;
}

type Kinds = Parameters<typeof readValue>[1];

/** Elements of a set or map, anonymous or not: plain keys, or pairs of key and data. */
export function elementsOf(json: Json | undefined, keys: Kinds, data: Kinds): Element[] {
  return list(json).flatMap((one) => {
    const [key, value] = Array.isArray(one) ? (one as readonly Json[]) : [one];
    const read = readValue(key, keys);
    if (read === undefined) return [];
    const details = member(key, 'elem');
    const comment = text(member(details, 'comment'));
    const counters = countersOf(member(details, 'counter'));
    const verdict = verdictOf(value);
    const mapped = verdict || value === undefined ? undefined : readValue(value, data);
    return [
      {
        key: read,
        ...(verdict ? { verdict } : {}),
        ...(mapped ? { data: mapped } : {}),
        ...(comment === undefined ? {} : { comment }),
        ...(counters ? { counters } : {}),
        owner: NOBODY,
      },
    ];
  });
}

export function countersOf(json: Json | undefined): { packets: number; bytes: number } | undefined {
  const [packets, bytes] = [member(json, 'packets'), member(json, 'bytes')];
  return typeof packets === 'number' && typeof bytes === 'number' ? { packets, bytes } : undefined;
}
