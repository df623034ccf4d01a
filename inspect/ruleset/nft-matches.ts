/** What a rule of nft's JSON asks of a packet. */
import { type Json, list, member, sole, text } from './json.ts';
import type { Field, Match, TableFamily, Value } from './model.ts';
import { ALL_TCP_FLAGS, tcpFlagBits } from './names.ts';
import { fieldOf, kindOf, kindsOf, readValues, statementWords, words } from './nft-values.ts';

const NEGATIONS = ['!=', '!', 'notin'];
/** Beyond any number that a rule may compare with. */
const HIGHEST = 0xffffffff;

/** One `match` expression. */
export function matchOf(match: Json, family: TableFamily): Match {
  const left = member(match, 'left') ?? null;
  const right = member(match, 'right') ?? null;
  const op = text(member(match, 'op')) ?? '==';
  const unknown = { unknown: `${words(left)} ${op === 'in' ? '' : `${op} `}${words(right)}`.trim() };
  const masked = list(member(left, '&'));
  if (masked.length === 2) return maskedMatch(masked, right, op, family) ?? unknown;
  const kinds = kindsOf(left, family);
  if (kinds === undefined) return unknown;
  const fields = kinds.map(fieldOf);
  if (fields[0] === 'tcpFlags' && fields.length === 1) return flagMatch(right, op) ?? unknown;
  const not = NEGATIONS.includes(op);
  const set = text(right);
  if (set?.startsWith('@')) return { fields, not, set: set.slice(1) };
  if (/^[<>]=?$/.test(op)) return comparison(fields, op, right) ?? unknown;
  const values = readValues(right, kinds);
  return values === undefined ? unknown : { fields, not, values };
}

/** `meta mark & 0xff00 == 0x100` */
function maskedMatch(
  [expression, mask]: readonly Json[],
  right: Json,
  op: string,
  family: TableFamily,
): Match | undefined {
  const kind = expression === undefined ? undefined : kindOf(expression, family);
  if (kind === undefined || !/^(==|!=)$/.test(op)) return undefined;
  const bits = kind === 'tcpFlags' ? flags : (json: Json | undefined) => (isCount(json) ? json : undefined);
  const [maskBits, value] = [bits(mask), bits(right)];
  if (maskBits === undefined || value === undefined) return undefined;
  return { fields: [fieldOf(kind)], not: op === '!=', mask: maskBits, value };
}

function isCount(json: Json | undefined): json is number {
  return typeof json === 'number';
}

/** `syn`, `["syn", "ack"]`, `{ "|": ["syn", "ack"] }`, 2 */
function flags(json: Json | undefined): number | undefined {
  if (typeof json === 'number') return json;
  const names = typeof json === 'string' ? [json] : (member(json, '|') ?? json);
  return Array.isArray(names) ? tcpFlagBits(names.map(String)) : undefined;
}

/** `tcp flags syn` wants the bit, `tcp flags == syn` that and no other. */
function flagMatch(right: Json, op: string): Match | undefined {
  const bits = flags(right);
  if (bits === undefined) return undefined;
  const fields = ['tcpFlags'] as const;
  if (op === 'in') return { fields, not: true, mask: bits, value: 0 };
  if (op === '!') return { fields, not: false, mask: bits, value: 0 };
  return { fields, not: op === '!=', mask: ALL_TCP_FLAGS, value: bits };
}

function comparison(fields: readonly Field[], op: string, right: Json): Match | undefined {
  if (typeof right !== 'number') return undefined;
  const range = {
    '<': { from: 0, to: right - 1 },
    '<=': { from: 0, to: right },
    '>': { from: right + 1, to: HIGHEST },
    '>=': { from: right, to: HIGHEST },
  }[op];
  return range && { fields, not: false, values: [range] };
}

const TRANSPORT = ['tcp', 'udp', 'sctp', 'dccp', 'udplite', 'icmp', 'icmpv6'];

/**
 * What expressions imply without saying so: nft puts these comparisons before the rule's own and leaves them out when it lists it
 * (payload dependencies).
 */
export function implied(expressions: readonly Json[], family: TableFamily): Match[] {
  const protocols = new Set<string>();
  collect(expressions, protocols);
  const matches: Match[] = [];
  const want = (field: Field, values: Value[]) =>
    void (values.length === 1 && matches.push({ fields: [field], not: false, values }));
  const names = [...protocols];
  if (family !== 'ip' && family !== 'ip6' && family !== 'arp') {
    const families = new Set(
      names.flatMap((name) => {
        if (name === 'ip' || name === 'icmp') return ['ipv4'];
        return name === 'ip6' || name === 'icmpv6' ? ['ipv6'] : [];
      }),
    );
    want(
      'family',
      [...families].map((one) => ({ text: one })),
    );
  }
  want(
    'protocol',
    names.filter((name) => TRANSPORT.includes(name)).map((one) => ({ text: one })),
  );
  return matches;
}

/** Protocols of all payloads that are read anywhere in the expressions. */
function collect(json: Json | undefined, found: Set<string>): void {
  if (Array.isArray(json)) {
    for (const one of json as readonly Json[]) collect(one, found);
    return;
  }
  const protocol = text(member(member(json, 'payload'), 'protocol'));
  if (protocol !== undefined) found.add(protocol);
  if (typeof json === 'object' && json !== null) collect(Object.values(json), found);
}

/** Expressions that decide whether the rest is done, and nobody can say without the packet. */
const LIMITS = ['limit', 'quota', 'ct count', 'connlimit', 'meter'];

export function limitOf(expression: Json): Match | undefined {
  const [name = '', body] = sole(expression) ?? [];
  // `update @asked { ip saddr limit rate 1/second }`
  const within = name === 'set' ? list(member(body, 'stmt')) : [];
  const limits = LIMITS.includes(name) || within.some((one) => LIMITS.includes(sole(one)?.[0] ?? ''));
  return limits ? { unknown: statementWords(expression) } : undefined;
}
