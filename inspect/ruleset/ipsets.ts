/** What `ipset save` prints: the sets that rules of iptables name. */

import { NOBODY } from '../owner.ts';
import { splitWords } from './iptables-words.ts';
import type { Element, NamedSet, Value } from './model.ts';
import { protocolName } from './names.ts';

export type Ipset = NamedSet & {
  /** Some elements say what is not in it (`nomatch`): the model cannot. */
  exceptions: boolean;
};

/** Sets by name. Never throws: a line that is not understood is left out. */
export function readIpsets(printed: string): Map<string, Ipset> {
  const sets = new Map<string, Ipset & { elements: Element[] }>();
  for (const line of printed.split('\n')) {
    const [verb, name = '', what = '', ...options] = splitWords(line);
    if (verb === 'create') {
      sets.set(name, { name, kind: 'set', type: what, elements: [], exceptions: false });
    }
    const set = sets.get(name);
    if (verb !== 'add' || set === undefined) continue;
    if (options.includes('nomatch')) set.exceptions = true;
    else set.elements.push(elementOf(what, set.type, options));
  }
  for (const set of sets.values()) if (set.type === 'list:set') expand(set, sets);
  return sets;
}

function elementOf(text: string, type: string, options: readonly string[]): Element {
  const value = (name: string) => {
    const at = options.indexOf(name);
    return at < 0 ? undefined : options[at + 1];
  };
  const comment = value('comment');
  const [packets, bytes] = [Number(value('packets')), Number(value('bytes'))];
  return {
    key: keyOf(text, type),
    ...(comment === undefined ? {} : { comment }),
    ...(Number.isFinite(packets) && Number.isFinite(bytes) ? { counters: { packets, bytes } } : {}),
    owner: NOBODY,
  };
}

/** `10.0.0.5,tcp:80` of hash:ip,port has three parts: address, protocol, port. */
function keyOf(text: string, type: string): Value {
  const dimensions = type.split(':')[1]?.split(',') ?? [];
  const words = text.split(',');
  const parts = words.flatMap((word, i) => partOf(word, dimensions[i] ?? ''));
  const [only] = parts;
  return parts.length === 1 && only ? only : { parts };
}

function partOf(word: string, dimension: string): Value[] {
  if (dimension === 'ip' || dimension === 'net') {
    const [from = '', to] = word.split('-');
    return [to === undefined ? { prefix: from } : { fromAddress: from, toAddress: to }];
  }
  if (dimension === 'port') {
    const [, protocol, ports = ''] = /^(?:([a-z0-9-]+):)?(.*)$/.exec(word) ?? [];
    const [from = '', to = from] = ports.split('-');
    const port = Number.isInteger(Number(from)) ? { from: Number(from), to: Number(to) } : { text: ports };
    return [...(protocol === undefined ? [] : [{ text: protocolName(protocol) }]), port];
  }
  if (dimension === 'mark') return [{ from: Number(word), to: Number(word) }];
  return [{ text: dimension === 'mac' ? word.toLowerCase() : word }];
}

/** A set of sets has the elements of all of them, where they are of one type. */
function expand(set: Ipset & { elements: Element[] }, sets: ReadonlyMap<string, Ipset>): void {
  const members = set.elements.flatMap(({ key }) => ('text' in key ? (sets.get(key.text) ?? []) : []));
  const types = new Set(members.map(({ type }) => type));
  const [type] = types;
  if (types.size !== 1 || type === undefined || type === 'list:set') return;
  set.type = type;
  set.exceptions = members.some(({ exceptions }) => exceptions);
  set.elements = members.flatMap(({ elements }) => elements);
}
