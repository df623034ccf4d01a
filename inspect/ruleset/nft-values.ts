/** What nft's JSON says about fields and values (libnftables-json(5)). */
import { parseAddress } from '../../cni/prefix.ts';
import { isObject, type Json, list, member, sole, text } from './json.ts';
import type { Field, TableFamily, Value } from './model.ts';
import { icmpNumber, protocolName } from './names.ts';

/** How the values of a field are written: some need to know more than the field. */
export type Kind = Field | 'icmpv6Type';

const PAYLOAD: Readonly<Record<string, Kind>> = {
  'ip saddr': 'saddr',
  'ip daddr': 'daddr',
  'ip6 saddr': 'saddr',
  'ip6 daddr': 'daddr',
  'ip protocol': 'protocol',
  'ip6 nexthdr': 'protocol',
  'icmp type': 'icmpType',
  'icmpv6 type': 'icmpv6Type',
  'tcp flags': 'tcpFlags',
  'ether saddr': 'etherSource',
  'ether daddr': 'etherDestination',
  'ether type': 'etherType',
};

const META: Readonly<Record<string, Kind>> = {
  iif: 'iifname',
  iifname: 'iifname',
  oif: 'oifname',
  oifname: 'oifname',
  iiftype: 'iiftype',
  oiftype: 'oiftype',
  mark: 'mark',
  l4proto: 'protocol',
  nfproto: 'family',
  protocol: 'etherType',
  length: 'length',
};

const CT: Readonly<Record<string, Kind>> = {
  state: 'ctState',
  status: 'ctStatus',
  mark: 'ctMark',
  direction: 'ctDirection',
};

const CT_ORIGINAL: Readonly<Record<string, Kind>> = {
  'ip saddr': 'ctOriginalSource',
  'ip daddr': 'ctOriginalDestination',
  'ip6 saddr': 'ctOriginalSource',
  'ip6 daddr': 'ctOriginalDestination',
  saddr: 'ctOriginalSource',
  daddr: 'ctOriginalDestination',
  'proto-dst': 'ctOriginalDport',
};

/** Protocols with ports; `th` is any of them. */
const WITH_PORTS = ['tcp', 'udp', 'sctp', 'dccp', 'udplite', 'th'];

/** The field that an expression reads; undefined for what the model does not know. */
export function kindOf(expression: Json, family: TableFamily): Kind | undefined {
  const [name, body] = sole(expression) ?? [];
  const key = text(member(body, 'key')) ?? '';
  switch (name) {
    case 'payload':
      return payloadKind(text(member(body, 'protocol')) ?? '', text(member(body, 'field')) ?? '');
    case 'meta':
      // On a bridge, links are its ports.
      if (family === 'bridge' && /^iif(name)?$/.test(key)) return 'physin';
      if (family === 'bridge' && /^oif(name)?$/.test(key)) return 'physout';
      return META[key];
    case 'ct':
      return member(body, 'dir') === 'original' ? CT_ORIGINAL[key] : CT[key];
    case 'fib':
      return fibKind(text(member(body, 'result')) ?? '', list(member(body, 'flags')).map(String));
    default:
      return undefined;
  }
}

function payloadKind(protocol: string, field: string): Kind | undefined {
  if (WITH_PORTS.includes(protocol) && (field === 'sport' || field === 'dport')) return field;
  return PAYLOAD[`${protocol} ${field}`];
}

function fibKind(result: string, flags: readonly string[]): Kind | undefined {
  if (result === 'type') {
    // `fib daddr . iif type` asks about one link only, which is more than the model says.
    if (flags.length !== 1) return undefined;
    return flags[0] === 'daddr' ? 'destinationType' : flags[0] === 'saddr' ? 'sourceType' : undefined;
  }
  return flags.includes('saddr') && (result === 'oif' || result === 'oifname') ? 'sourceLink' : undefined;
}

/** The kinds of a field or a concatenation; undefined where one of them is unknown. */
export function kindsOf(expression: Json, family: TableFamily): Kind[] | undefined {
  const parts = member(expression, 'concat');
  const kinds = (parts === undefined ? [expression] : list(parts)).map((part) => kindOf(part, family));
  return kinds.length > 0 && kinds.every((kind) => kind !== undefined) ? (kinds as Kind[]) : undefined;
}

export function fieldOf(kind: Kind): Field {
  return kind === 'icmpv6Type' ? 'icmpType' : kind;
}

/** The kinds that a set's type stands for (`ipv4_addr . inet_service`). */
const TYPES: Readonly<Record<string, Kind>> = {
  ipv4_addr: 'daddr',
  ipv6_addr: 'daddr',
  inet_service: 'dport',
  inet_proto: 'protocol',
  ifname: 'iifname',
  mark: 'mark',
  ether_addr: 'etherSource',
  icmp_type: 'icmpType',
  icmpv6_type: 'icmpv6Type',
};

export function kindsOfType(type: Json | undefined): (Kind | undefined)[] {
  // Newer nft says `{ "typeof": ... }` where the set was made so.
  const names = typeof type === 'string' ? [type] : list(type).map(String);
  return names.map((name) => TYPES[name]);
}

/** A value of one field or of a concatenation; undefined for what is no value. */
export function readValue(json: Json | undefined, kinds: readonly (Kind | undefined)[]): Value | undefined {
  const concat = member(json, 'concat');
  if (concat !== undefined) {
    const parts = list(concat).map((part, i) => readValue(part, [kinds[i]]));
    return parts.every((part) => part !== undefined) ? { parts: parts as Value[] } : undefined;
  }
  const wrapped = member(json, 'elem');
  if (wrapped !== undefined) return readValue(member(wrapped, 'val'), kinds);
  return single(json, kinds[0]);
}

function single(json: Json | undefined, kind: Kind | undefined): Value | undefined {
  if (isObject(json)) return compound(json);
  // `fib ... oif missing`
  if (json === false) return { text: '0' };
  if (typeof json === 'number') {
    return kind === 'protocol' ? protocolValue(json) : { from: json, to: json };
  }
  if (typeof json !== 'string') return undefined;
  if (kind === 'protocol') return protocolValue(json);
  if (kind === 'icmpType' || kind === 'icmpv6Type') {
    const type = icmpNumber(json, kind === 'icmpType' ? 4 : 6);
    return type === undefined ? { text: json } : { from: type, to: type };
  }
  return parseAddress(json) ? { prefix: json } : { text: json };
}

function protocolValue(protocol: string | number): Value {
  const name = protocolName(protocol);
  return /^\d+$/.test(name) ? { from: Number(name), to: Number(name) } : { text: name };
}

function compound(json: Json): Value | undefined {
  const prefix = member(json, 'prefix');
  if (prefix !== undefined) return { prefix: `${member(prefix, 'addr')}/${member(prefix, 'len')}` };
  const [from, to] = list(member(json, 'range'));
  if (typeof from === 'number' && typeof to === 'number') return { from, to };
  if (typeof from === 'string' && typeof to === 'string') {
    return parseAddress(from) ? { fromAddress: from, toAddress: to } : undefined;
  }
  return undefined;
}

/** All values on the right of a comparison; undefined where one is unknown. */
export function readValues(json: Json, kinds: readonly Kind[]): Value[] | undefined {
  const set = member(json, 'set');
  const all = set !== undefined ? list(set) : Array.isArray(json) ? json : [json];
  const values = all.map((one) => readValue(one, kinds));
  return values.every((value) => value !== undefined) ? (values as Value[]) : undefined;
}

/** An expression as a person would type it, roughly: for what the model does not know. */
export function words(json: Json | undefined): string {
  if (json === undefined || json === null) return '';
  if (Array.isArray(json)) return json.map(words).join(',');
  if (!isObject(json)) return String(json);
  const [name = '', body = null] = sole(json) ?? [];
  if (name === 'payload') {
    const field = [member(body, 'protocol'), member(body, 'field')].map(words).join(' ').trim();
    return (
      field ||
      `@${words(member(body, 'base'))},${words(member(body, 'offset'))},${words(member(body, 'len'))}`
    );
  }
  if (name === 'meta' || name === 'ct' || name === 'socket' || name === 'rt') {
    const direction = text(member(body, 'dir'));
    return [name, direction, words(member(body, 'key'))].filter(Boolean).join(' ');
  }
  if (name === 'set') return `{ ${list(body).map(words).join(', ')} }`;
  if (name === 'concat') return list(body).map(words).join(' . ');
  if (/^[&|^]|<<|>>$/.test(name)) return list(body).map(words).join(` ${name} `);
  if (name === 'range') return list(body).map(words).join('-');
  if (name === 'prefix') return `${words(member(body, 'addr'))}/${words(member(body, 'len'))}`;
  const inside = isObject(body)
    ? Object.entries(body)
        .map(([key, value]) => `${key} ${words(value)}`)
        .join(' ')
    : words(body);
  return `${name} ${inside}`.trim();
}

/** The same of a statement: `add @asked { ip saddr }` is no set. */
export function statementWords(json: Json): string {
  const body = member(json, 'set');
  if (body === undefined) return words(json);
  const within = list(member(body, 'stmt')).map(words);
  return [member(body, 'op'), member(body, 'set'), '{', member(body, 'elem'), ...within, '}']
    .map(words)
    .join(' ');
}
