/** Filters on what a link receives or sends (net/sched/cls_api.c, cls_u32.c, act_mirred.c; linux/pkt_cls.h; tc-u32(8)). */
import { Attributes, attribute, nested } from './attributes.ts';
import { type Codec, i32, maskBytes, parsePrefix, text, u8, u16, u16be, u32 } from './codec.ts';
import type { Op, RawMessage } from './door.ts';
import { Message, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, nothing, operation, Struct } from './message.ts';
import { structure, tcmsg } from './qdisc.ts';
import { LITTLE_ENDIAN } from './writer.ts';

const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;
const RTM_NEWACTION = 48;

/** Where a packet is looked at: TC_H_MIN_INGRESS, TC_H_MIN_EGRESS of clsact. */
const HOOKS = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
export type FilterHook = keyof typeof HOOKS;

const ETH_P_ALL = 3;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;

const TC_U32_TERMINAL = 1;
const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;

const selector = new Struct({
  flags: u8,
  offsetShift: u8,
  keys: u8,
  pad: u8,
  offsetMask: u16be,
  offset: u16,
  offsetOffset: u16,
  hashOffset: u16,
  hashMask: u32,
});

/** 32 bits of a packet: `at` bytes into the network header, what is left by the mask is the value. */
interface Key {
  mask: Uint8Array;
  value: Uint8Array;
  at: number;
}

const KEY_SIZE = 16;

const selectorCodec: Codec<{ flags: number; keys: Key[] }> = {
  write(to, { flags, keys }) {
    selector.write(to, { flags, keys: keys.length });
    for (const { mask, value, at } of keys) {
      to.append(mask);
      to.append(value);
      i32.write(to, at);
      i32.write(to, 0);
    }
  },
  read(found) {
    const { flags, keys } = selector.read(found);
    const one = (i: number): Key => {
      const key = found.subarray(selector.size + i * KEY_SIZE);
      return { mask: key.subarray(0, 4), value: key.subarray(4, 8), at: i32.read(key.subarray(8)) };
    };
    return { flags, keys: Array.from({ length: keys }, (_, i) => one(i)) };
  },
};

const mirredParameters = new Struct({
  index: u32,
  capabilities: u32,
  action: i32,
  references: i32,
  bindings: i32,
  eaction: i32,
  ifindex: u32,
});

const mirred = new Attributes({ parameters: attribute(2, 'TCA_MIRRED_PARMS', structure(mirredParameters)) });

const action = new Attributes({
  kind: attribute(1, 'TCA_ACT_KIND', text(16)),
  mirred: attribute(2, 'TCA_ACT_OPTIONS', nested(mirred), ['kind', 'mirred']),
});

const u32Options = new Attributes({
  classId: attribute(1, 'TCA_U32_CLASSID', u32),
  selector: attribute(5, 'TCA_U32_SEL', selectorCodec),
  /** Only the first of the actions. */
  actions: attribute(
    7,
    'TCA_U32_ACT',
    nested(new Attributes({ first: attribute(1, '1', nested(action, 0)) }), 0),
  ),
});

/** A program; only read. */
const bpfOptions = new Attributes({
  name: attribute(7, 'TCA_BPF_NAME', text(256)),
  program: attribute(11, 'TCA_BPF_ID', u32),
});

export const filterMessage = new Message(
  tcmsg,
  new Attributes({
    kind: attribute(1, 'TCA_KIND', text(16)),
    u32: attribute(2, 'TCA_OPTIONS', nested(u32Options, 0), ['kind', 'u32']),
    bpf: attribute(2, 'TCA_OPTIONS', nested(bpfOptions, 0), ['kind', 'bpf']),
  }),
);

/** What is done with packets that match. */
export interface Filter {
  /** The lowest is asked first. One number is for one protocol: see `protocolOf`. */
  preference: number;
  /** CIDR that the source or the destination must be in; absent: every packet, of any protocol. */
  match?: { side: 'source' | 'destination'; prefix: string } | undefined;
  /** Index of the link that sends it instead; absent: it goes on, and no later filter is asked. */
  redirect?: number | undefined;
}

/** A filter as found: its text is the same for the same filter. */
export interface FoundFilter {
  preference: number;
  text: string;
}

const protocolOf = ({ match }: Pick<Filter, 'match'>) =>
  match === undefined ? ETH_P_ALL : match.prefix.includes(':') ? ETH_P_IPV6 : ETH_P_IP;

/** Where the addresses stand in the header (RFC 791, RFC 8200). */
const ADDRESS_AT = {
  [ETH_P_IP]: { source: 12, destination: 16 },
  [ETH_P_IPV6]: { source: 8, destination: 24 },
} as const;

/** All that a prefix says, in words of 32 bits; one that says nothing matches everything. */
function keysOf({ match }: Filter): Key[] {
  const everything = { mask: new Uint8Array(4), value: new Uint8Array(4), at: 0 };
  if (match === undefined) return [everything];
  const { bytes, length } = parsePrefix(match.prefix);
  const at = ADDRESS_AT[match.prefix.includes(':') ? ETH_P_IPV6 : ETH_P_IP][match.side];
  const mask = maskBytes(new Uint8Array(bytes.length).fill(0xff), length);
  const value = maskBytes(bytes, length);
  const keys: Key[] = [];
  for (let word = 0; word * 32 < length; word += 1) {
    const cut = (from: Uint8Array) => from.subarray(word * 4, word * 4 + 4);
    keys.push({ mask: cut(mask), value: cut(value), at: at + word * 4 });
  }
  return keys.length > 0 ? keys : [everything];
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

function textOf(protocol: number, keys: readonly Key[], redirect: number | undefined): string {
  const words = keys.map(({ mask, value, at }) => `${hex(value)}/${hex(mask)}@${at}`);
  return `${protocol} ${words.join(' ')} ${redirect ?? 'pass'}`;
}

/** What `listFilters` answers for it. Pure. */
export const describeFilter = (filter: Filter): FoundFilter => ({
  preference: filter.preference,
  text: textOf(protocolOf(filter), keysOf(filter), filter.redirect),
});

/** tcm_info: preference, and the Ethernet protocol in network byte order. */
function info(preference: number, protocol: number): number {
  const swapped = LITTLE_ENDIAN ? ((protocol & 0xff) << 8) | (protocol >> 8) : protocol;
  return preference * 0x10000 + swapped;
}

/** Adds a filter behind those of the same preference. ENOENT when the kernel has no u32 or mirred, EINVAL without clsact. */
export function addFilter(link: number, hook: FilterHook, filter: Filter): Op<void> {
  const { preference, redirect } = filter;
  const redirection = { action: TC_ACT_STOLEN, eaction: TCA_EGRESS_REDIR, ifindex: redirect ?? 0 };
  const bytes = filterMessage.encode(
    RTM_NEWTFILTER,
    NLM_F_CREATE | NLM_F_EXCL,
    { index: link, parent: HOOKS[hook], info: info(preference, protocolOf(filter)) },
    {
      kind: 'u32',
      u32: {
        classId: redirect === undefined ? 1 : undefined,
        selector: { flags: TC_U32_TERMINAL, keys: keysOf(filter) },
        actions:
          redirect === undefined
            ? undefined
            : { first: { kind: 'mirred', mirred: { parameters: redirection } } },
      },
    },
  );
  return operation('route', filterMessage, [bytes], {
    what: `add a filter (u32${redirect === undefined ? '' : ', mirred'}) to link ${link}`,
    decode: nothing,
  });
}

/** Deletes all filters of one preference; ENOENT or EINVAL when there are none. */
export function deleteFilters(
  link: number,
  hook: FilterHook,
  { preference, match }: Pick<Filter, 'preference' | 'match'>,
): Op<void> {
  const header = { index: link, parent: HOOKS[hook], info: info(preference, protocolOf({ match })) };
  return operation('route', filterMessage, [filterMessage.encode(RTM_DELTFILTER, 0, header, {})], {
    what: `delete filters ${preference} of link ${link}`,
    decode: nothing,
  });
}

function decodeFilters(message: RawMessage): FoundFilter[] {
  const { header, attributes: found } = filterMessage.read(message.payload);
  // Hash tables of u32 are listed as well.
  if (!found.u32?.selector) return [];
  const preference = Math.floor(header.info / 0x10000);
  const network = header.info % 0x10000;
  const protocol = LITTLE_ENDIAN ? ((network & 0xff) << 8) | (network >> 8) : network;
  const parameters = found.u32.actions?.first?.mirred?.parameters;
  return [{ preference, text: textOf(protocol, found.u32.selector.keys, parameters?.ifindex) }];
}

function list<T>(link: number, hook: FilterHook, decode: (messages: readonly RawMessage[]) => T): Op<T> {
  const request = filterMessage.encode(RTM_GETTFILTER, NLM_F_DUMP, { index: link, parent: HOOKS[hook] }, {});
  return operation('route', filterMessage, [request], { what: `list filters of link ${link}`, decode });
}

/** Filters of u32 at one hook of a link, in the order in which they are asked; none where there is no clsact. */
export const listFilters = (link: number, hook: FilterHook): Op<FoundFilter[]> =>
  list(link, hook, (messages) => messages.flatMap(decodeFilters));

/** What looks at packets at a hook of a link, of whatever kind. */
export interface Classifier {
  /** `u32`, `flower`, `bpf`, ... */
  kind: string;
  /** Of a program. */
  program?: { id: number; name: string };
  /** Index of the link that sends the packet instead. */
  redirect?: number;
}

/** One for each filter of a link's hook. */
export const listClassifiers = (link: number, hook: FilterHook): Op<Classifier[]> =>
  list(link, hook, (messages) =>
    messages.flatMap((message): Classifier[] => {
      const { kind = '', u32: plain, bpf } = filterMessage.read(message.payload).attributes;
      // Kinds are listed by themselves, too, and hash tables of u32.
      if (kind === 'u32' ? !plain?.selector : kind === 'bpf' ? !bpf : false) return [];
      const redirect = plain?.actions?.first?.mirred?.parameters?.ifindex;
      return [
        {
          kind,
          ...(bpf ? { program: { id: bpf.program ?? 0, name: bpf.name ?? '' } } : {}),
          ...(redirect ? { redirect } : {}),
        },
      ];
    }),
  );

/** Whether there is any filter, of whatever kind. */
export const hasFilters = (link: number, hook: FilterHook): Op<boolean> =>
  list(link, hook, (messages) => messages.length > 0);

/** struct tcamsg. */
const actionMessage = new Message(
  new Struct({ family: u8, pad1: u8, pad2: u16 }),
  new Attributes({
    table: attribute(
      1,
      'TCA_ACT_TAB',
      nested(new Attributes({ first: attribute(1, '1', nested(action, 0)) }), 0),
    ),
  }),
);

/**
 * Asks for an action without the options that it cannot do without; the answer is ENOENT where the kernel does not have the kind, and
 * another refusal where it has (tcf_action_init_1). Nothing is made.
 */
export function probeAction(kind: string): Op<unknown> {
  const bytes = actionMessage.encode(
    RTM_NEWACTION,
    NLM_F_CREATE | NLM_F_EXCL,
    {},
    { table: { first: { kind } } },
  );
  return operation('route', actionMessage, [bytes], {
    what: `ask for the action ${kind}`,
    tolerate: ['ENOENT', 'EINVAL', 'EOPNOTSUPP'],
    decode: nothing,
  });
}
