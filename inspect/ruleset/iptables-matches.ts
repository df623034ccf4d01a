/** What the matches of iptables ask of a packet (iptables-extensions(8)), as iptables-save prints them. */
import type { Option, Part } from './iptables-words.ts';
import { optionWords } from './iptables-words.ts';
import type { Field, Match, NamedSet, Value } from './model.ts';
import { ALL_TCP_FLAGS, icmpNumber, protocolName, tcpFlagBits } from './names.ts';

export interface Surroundings {
  family: 4 | 6;
  /** The ipsets of the namespace, with the fields that one of their dimensions has. */
  sets: ReadonlyMap<string, Pick<NamedSet, 'type'> & { exceptions: boolean }>;
}

type Read = (option: Option, around: Surroundings) => Match | readonly Match[] | undefined;

const value = (option: Option): string => option.values[0] ?? '';

function of(field: Field, option: Option, values: Value[] | undefined): Match | undefined {
  return values && { fields: [field], not: option.not, values };
}

const address =
  (field: Field): Read =>
  (option) =>
    of(field, option, plainPrefix(value(option)));

/** `10.0.0.0/255.0.255.0` is no prefix. */
function plainPrefix(text: string): Value[] | undefined {
  const [base = '', length = ''] = text.split('/');
  if (length !== '' && !/^\d+$/.test(length)) return undefined;
  const whole = base.includes(':') ? '128' : '32';
  return [{ prefix: length === '' || length === whole ? base : text }];
}

const names =
  (field: Field): Read =>
  (option) =>
    of(
      field,
      option,
      value(option)
        .split(',')
        .map((name) => ({ text: name.toLowerCase() })),
    );

const link =
  (field: Field): Read =>
  (option) =>
    of(field, option, [{ text: value(option).replace(/\+$/, '*') }]);

const ports =
  (field: Field): Read =>
  (option) =>
    of(field, option, numberRanges(value(option)));

/** `80`, `1000:2000`, `80,443,1000:2000`. */
function numberRanges(text: string): Value[] | undefined {
  const ranges = text.split(',').map((one) => {
    const [from = '', to = from] = one.split(':');
    return { from: from === '' ? 0 : Number(from), to: to === '' ? 65_535 : Number(to) };
  });
  return ranges.every(({ from, to }) => Number.isInteger(from) && Number.isInteger(to)) ? ranges : undefined;
}

/** `0x4000/0x4000`, `0x1`. */
function markOf(text: string): { value: number; mask: number } | undefined {
  const [bits = '', mask = '0xffffffff'] = text.split('/');
  const read = { value: Number(bits), mask: Number(mask) };
  return bits !== '' && Number.isInteger(read.value) && Number.isInteger(read.mask) ? read : undefined;
}

const mark =
  (field: Field): Read =>
  (option) => {
    const wanted = markOf(value(option));
    return wanted && { fields: [field], not: option.not, ...wanted };
  };

const range =
  (field: Field): Read =>
  (option) => {
    const [from = '', to = from] = value(option).split('-');
    return of(field, option, [{ fromAddress: from, toAddress: to }]);
  };

const protocol: Read = (option) => {
  const name = protocolName(value(option));
  if (name === 'all' || name === '0') return [];
  return of('protocol', option, [
    /^\d+$/.test(name) ? { from: Number(name), to: Number(name) } : { text: name },
  ]);
};

const tcpFlags: Read = (option) => {
  const [mask, wanted] = option.values.map((words) =>
    words === 'NONE' ? 0 : words === 'ALL' ? ALL_TCP_FLAGS & 63 : tcpFlagBits(words.split(',')),
  );
  if (mask === undefined || wanted === undefined) return undefined;
  return { fields: ['tcpFlags'], not: option.not, mask, value: wanted };
};

const icmpType: Read = (option, { family }) => {
  const [type = '', code] = value(option).split('/');
  if (type === 'any' || type === '255') return [];
  const number = /^\d+$/.test(type) ? Number(type) : icmpNumber(type, family);
  const found = number === undefined ? undefined : of('icmpType', option, [{ from: number, to: number }]);
  if (found === undefined || code === undefined) return found;
  return option.not ? undefined : [found, { unknown: `--icmp-type ${value(option)}` }];
};

/** Fields of an ipset's type, one for each dimension: `hash:ip,port` with `dst,dst`. */
const matchSet: Read = (option, { sets }) => {
  const [name = '', directions = ''] = option.values;
  const set = sets.get(name);
  const fields = set && setFields(set.type, directions.split(','));
  return fields && !set.exceptions ? { fields, not: option.not, set: name } : undefined;
};

/** As the elements of such a set are written in the model; undefined for a type that is not known. */
export function setFields(type: string, directions: readonly string[]): Field[] | undefined {
  const dimensions = type.split(':')[1]?.split(',') ?? [];
  const bitmap = type.startsWith('bitmap:');
  const fields = dimensions.flatMap((dimension, i): (Field | undefined)[] => {
    const source = directions[i] === 'src';
    if (directions[i] === undefined) return [undefined];
    switch (dimension) {
      case 'ip':
      case 'net':
        return [source ? 'saddr' : 'daddr'];
      case 'port':
        return [...(bitmap ? [] : (['protocol'] as const)), source ? 'sport' : 'dport'];
      case 'iface':
        return [source ? 'iifname' : 'oifname'];
      case 'mac':
        return [source ? 'etherSource' : 'etherDestination'];
      case 'mark':
        return ['mark'];
      default:
        return [undefined];
    }
  });
  return fields.length > 0 && fields.every((field) => field !== undefined) ? (fields as Field[]) : undefined;
}

/** Told from all that the state may be: `dnat` and `snat` stand among them. */
const READERS: Readonly<Record<string, Readonly<Record<string, Read>>>> = {
  '': {
    '-s': address('saddr'),
    '-d': address('daddr'),
    '-i': link('iifname'),
    '-o': link('oifname'),
    '-p': protocol,
  },
  tcp: { '--sport': ports('sport'), '--dport': ports('dport'), '--tcp-flags': tcpFlags },
  udp: { '--sport': ports('sport'), '--dport': ports('dport') },
  sctp: { '--sport': ports('sport'), '--dport': ports('dport') },
  dccp: { '--sport': ports('sport'), '--dport': ports('dport') },
  udplite: { '--sport': ports('sport'), '--dport': ports('dport') },
  multiport: { '--sports': ports('sport'), '--dports': ports('dport') },
  conntrack: {
    '--ctstate': names('ctState'),
    '--ctstatus': names('ctStatus'),
    '--ctdir': names('ctDirection'),
    '--ctorigsrc': address('ctOriginalSource'),
    '--ctorigdst': address('ctOriginalDestination'),
    '--ctorigdstport': ports('ctOriginalDport'),
  },
  state: { '--state': names('ctState') },
  addrtype: { '--src-type': names('sourceType'), '--dst-type': names('destinationType') },
  mark: { '--mark': mark('mark') },
  connmark: { '--mark': mark('ctMark') },
  physdev: { '--physdev-in': link('physin'), '--physdev-out': link('physout') },
  mac: { '--mac-source': names('etherSource') },
  iprange: { '--src-range': range('saddr'), '--dst-range': range('daddr') },
  icmp: { '--icmp-type': icmpType },
  icmp6: { '--icmpv6-type': icmpType },
  length: { '--length': ports('length') },
  set: { '--match-set': matchSet },
};

/** Extensions that match always. */
const ALWAYS = ['comment'];

/** All that one part of a rule asks; what is not known stays in words. */
export function matchesOf({ of: part, options }: Part, around: Surroundings): Match[] {
  const name = part.replace(/^match /, '');
  if (ALWAYS.includes(name)) return [];
  const unknown = { unknown: [...(part ? [`-m ${name}`] : []), ...options.map(optionWords)].join(' ') };
  if (name === 'rpfilter') return reversePath(options) ?? [unknown];
  const readers = Object.hasOwn(READERS, name) ? READERS[name] : undefined;
  if (readers === undefined) return [unknown];
  const found = options.map((option) => {
    const read = Object.hasOwn(readers, option.name) ? readers[option.name] : undefined;
    return read?.(option, around) ?? { unknown: optionWords(option) };
  });
  return found.flat();
}

/** The way back to the source is by the link that it came by; `--invert`: it is not. */
function reversePath(options: readonly Option[]): Match[] | undefined {
  const invert = options.some(({ name }) => name === '--invert');
  const others = options.filter(({ name }) => !['--invert', '--validmark'].includes(name));
  if (others.length > 0) return undefined;
  return [{ fields: ['sourceLink'], not: !invert, values: [{ text: '0' }] }];
}
