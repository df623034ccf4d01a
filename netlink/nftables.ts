/**
 * nf_tables: elements of sets and maps, and what is there (net/netfilter/nf_tables_api.c). Changes are collected in a batch,
 * which the kernel takes as a whole or not at all; base rules are written by `nft -f`.
 */
import { Attributes, type Values } from './attributes.ts';
import type { Op, RawMessage } from './door.ts';
import {
  concat,
  Message,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLMSG_HEADER,
  nothing,
  operation,
} from './message.ts';
import {
  chainMessage,
  type elementAttributes,
  elementsMessage,
  nfgenmsg,
  ruleMessage,
  setMessage,
  tableMessage,
} from './nftables-attributes.ts';
import { commentData, commentOf, prefixRange } from './nftables-keys.ts';

const SUBSYSTEM = 10;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
/** enum nf_tables_msg_types, with the subsystem in the upper byte. */
export function message(type: number): number {
  return (SUBSYSTEM << 8) | type;
}

const NFT_MSG_DELTABLE = 2;
const NFT_MSG_DELCHAIN = 5;
const NFT_MSG_DELRULE = 8;
const NFT_MSG_DELSET = 11;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;
const NFT_MSG_DELSETELEM = 14;
const NFT_SET_ELEM_INTERVAL_END = 1;
const NFT_SET_ELEM_CATCHALL = 2;
/** Elements travel in one attribute, which ends at 64 KiB. */
const ELEMENTS_BYTES = 60_000;

export const FAMILIES = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 } as const;
export type NftFamily = keyof typeof FAMILIES;

export interface TableRef {
  family: NftFamily;
  table: string;
}
export interface SetRef extends TableRef {
  set: string;
}
export interface ChainRef extends TableRef {
  chain: string;
}

/** What a verdict map answers. */
export type Verdict =
  | { kind: 'accept' | 'drop' | 'return' | 'continue' | 'break' }
  | { kind: 'jump' | 'goto'; chain: string };

const VERDICTS = { drop: 0, accept: 1, continue: -1, break: -2, jump: -3, goto: -4, return: -5 } as const;

/** An element of a set or a map. Keys and values are bytes: netlink/nftables-keys.ts makes them. */
export interface Element {
  /** Absent only for the catch-all element (`*`). */
  key?: Uint8Array | undefined;
  /** Last key of a range in a concatenated interval set. */
  keyEnd?: Uint8Array | undefined;
  /** In a plain interval set a range is two elements: its first key, and the key after its last, so marked. */
  intervalEnd?: boolean | undefined;
  /** Map: the value. */
  value?: Uint8Array | undefined;
  /** Verdict map: the verdict. */
  verdict?: Verdict | undefined;
  /** Printed by nft; at most 128 bytes. */
  comment?: string | undefined;
  /** Milliseconds. */
  timeout?: number | undefined;
  /** Milliseconds that are left; only read. */
  expires?: number | undefined;
}

/** A part of a batch. */
export interface Change {
  readonly messages: readonly Uint8Array[];
  readonly what: string;
  nameAt(payload: Uint8Array, offset: number): string | undefined;
}

function writeElement(element: Element): Values<typeof elementAttributes.table> {
  const { key, keyEnd, intervalEnd, value, verdict, comment, timeout } = element;
  const flags =
    (intervalEnd ? NFT_SET_ELEM_INTERVAL_END : 0) | (key === undefined ? NFT_SET_ELEM_CATCHALL : 0);
  const data =
    verdict === undefined
      ? value && { value }
      : { verdict: { code: VERDICTS[verdict.kind], chain: 'chain' in verdict ? verdict.chain : undefined } };
  return {
    key: key && { value: key },
    data,
    flags: flags || undefined,
    timeout,
    userdata: comment === undefined ? undefined : commentData(comment),
    keyEnd: keyEnd && { value: keyEnd },
  };
}

function readVerdict({
  code,
  chain,
}: {
  code?: number | undefined;
  chain?: string | undefined;
}): Verdict | undefined {
  const kind = Object.entries(VERDICTS).find(([, known]) => known === code)?.[0] as
    | Verdict['kind']
    | undefined;
  if (kind === undefined) return undefined;
  return kind === 'jump' || kind === 'goto' ? { kind, chain: chain ?? '' } : { kind };
}

function readElement(found: Values<typeof elementAttributes.table>): Element {
  return {
    key: found.key?.value,
    keyEnd: found.keyEnd?.value,
    intervalEnd: ((found.flags ?? 0) & NFT_SET_ELEM_INTERVAL_END) !== 0,
    value: found.data?.value,
    verdict: found.data?.verdict && readVerdict(found.data.verdict),
    comment: commentOf(found.userdata),
    timeout: found.timeout,
    expires: found.expiration,
  };
}

/** Elements in as many messages as it takes. */
function elementMessages(
  type: number,
  flags: number,
  set: SetRef,
  elements: readonly Element[],
): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < elements.length; ) {
    let room = ELEMENTS_BYTES;
    const from = at;
    do {
      const { key, keyEnd, value, comment, verdict } = elements[at] ?? {};
      const chain = verdict !== undefined && 'chain' in verdict ? verdict.chain.length : 0;
      // Generous: headers, padding, flags and timeouts of one element are less than 96 bytes.
      room -=
        96 +
        (key?.length ?? 0) +
        (keyEnd?.length ?? 0) +
        (value?.length ?? 0) +
        chain +
        4 * (comment?.length ?? 0);
      at++;
    } while (at < elements.length && room > 1024);
    parts.push(
      elementsMessage.encode(
        message(type),
        flags,
        { family: FAMILIES[set.family] },
        { table: set.table, set: set.set, elements: elements.slice(from, at).map(writeElement) },
      ),
    );
  }
  return parts;
}

/** A prefix as the elements of a plain interval set: where it begins, and where what is not in it begins again. */
export function prefixElements(cidr: string, rest: Omit<Element, 'key' | 'keyEnd'> = {}): Element[] {
  const { start, end } = prefixRange(cidr);
  return [{ ...rest, key: start }, ...(end === undefined ? [] : [{ key: end, intervalEnd: true }])];
}

function setWords({ family, table, set }: SetRef): string {
  return `${family} ${table} ${set}`;
}

function change(description: Pick<Change, 'nameAt'>, what: string, messages: Uint8Array[]): Change {
  return { messages, what, nameAt: (payload, offset) => description.nameAt(payload, offset) };
}

/**
 * Adds elements. One that is there already is left as it is, comment included, unless its value differs (EEXIST) or `exclusive` is
 * set (EEXIST).
 */
export function addElements(set: SetRef, elements: readonly Element[], exclusive = false): Change {
  const flags = NLM_F_CREATE | NLM_F_ACK | (exclusive ? NLM_F_EXCL : 0);
  const what = `add ${elements.length} elements to ${setWords(set)}`;
  return change(elementsMessage, what, elementMessages(NFT_MSG_NEWSETELEM, flags, set, elements));
}

/** Deletes elements by key (a map's value is not looked at); ENOENT when one of them, the set or the table is missing. */
export function deleteElements(set: SetRef, elements: readonly Element[]): Change {
  const keys = elements.map(({ key, keyEnd, intervalEnd }) => ({ key, keyEnd, intervalEnd }));
  const what = `delete ${elements.length} elements of ${setWords(set)}`;
  return change(elementsMessage, what, elementMessages(NFT_MSG_DELSETELEM, NLM_F_ACK, set, keys));
}

/** Deletes all elements of a set. */
export function flushSet(set: SetRef): Change {
  const header = { family: FAMILIES[set.family] };
  return change(elementsMessage, `flush ${setWords(set)}`, [
    elementsMessage.encode(message(NFT_MSG_DELSETELEM), NLM_F_ACK, header, {
      table: set.table,
      set: set.set,
    }),
  ]);
}

/** Deletes one rule by its handle; ENOENT when it is missing. */
export function deleteRule({ family, table, chain }: ChainRef, handle: number): Change {
  return change(ruleMessage, `delete rule ${handle} of ${family} ${table} ${chain}`, [
    ruleMessage.encode(
      message(NFT_MSG_DELRULE),
      NLM_F_ACK,
      { family: FAMILIES[family] },
      { table, chain, handle },
    ),
  ]);
}

/** Deletes a chain without rules; EBUSY while something jumps to it. */
export function deleteChain({ family, table, chain }: ChainRef): Change {
  return change(chainMessage, `delete chain ${family} ${table} ${chain}`, [
    chainMessage.encode(
      message(NFT_MSG_DELCHAIN),
      NLM_F_ACK,
      { family: FAMILIES[family] },
      { table, name: chain },
    ),
  ]);
}

/** Deletes a set; EBUSY while a rule uses it. */
export function deleteSet({ family, table, set }: SetRef): Change {
  return change(setMessage, `delete set ${family} ${table} ${set}`, [
    setMessage.encode(message(NFT_MSG_DELSET), NLM_F_ACK, { family: FAMILIES[family] }, { table, name: set }),
  ]);
}

/** Deletes a table with all that is in it. */
export function deleteTable({ family, table }: TableRef): Change {
  return change(tableMessage, `delete table ${family} ${table}`, [
    tableMessage.encode(message(NFT_MSG_DELTABLE), NLM_F_ACK, { family: FAMILIES[family] }, { name: table }),
  ]);
}

const boundary = new Message(nfgenmsg, new Attributes({}));

/** All changes together, or none. The first error is the batch's. */
export function batch(changes: readonly Change[]): Op<void> {
  const begin = boundary.encode(NFNL_MSG_BATCH_BEGIN, 0, { resourceId: SUBSYSTEM }, {});
  const end = boundary.encode(NFNL_MSG_BATCH_END, 0, { resourceId: SUBSYSTEM }, {});
  const inner = changes.flatMap((each) => each.messages.map((bytes) => ({ bytes, each })));
  return {
    family: 'netfilter',
    bytes: concat([begin, ...inner.map(({ bytes }) => bytes), end]),
    what: changes.map((each) => each.what).join(', ') || 'change nothing',
    decode: nothing,
    nameAt(number, offset) {
      const found = inner[number - 1];
      if (found === undefined || offset < NLMSG_HEADER) return undefined;
      return found.each.nameAt(found.bytes.subarray(NLMSG_HEADER), offset - NLMSG_HEADER);
    },
  };
}

function readElements(messages: readonly RawMessage[]): Element[] {
  return messages.flatMap(({ payload }) =>
    (elementsMessage.read(payload).attributes.elements ?? []).map(readElement),
  );
}

/**
 * All elements of a set or map; ENOENT when the set or the table is missing. While the kernel grows the hash table of a set
 * without a `size` (right after many additions), one may come twice and another not at all: ask getElements to be certain.
 */
export function listElements(set: SetRef): Op<Element[]> {
  const header = { family: FAMILIES[set.family] };
  const bytes = elementsMessage.encode(message(NFT_MSG_GETSETELEM), NLM_F_DUMP, header, {
    table: set.table,
    set: set.set,
  });
  return operation('netfilter', elementsMessage, [bytes], {
    what: `list elements of ${setWords(set)}`,
    decode: readElements,
  });
}

/** The elements that have these keys; ENOENT when one of them is missing. */
export function getElements(set: SetRef, keys: readonly Uint8Array[]): Op<Element[]> {
  const requests = elementMessages(
    NFT_MSG_GETSETELEM,
    0,
    set,
    keys.map((key) => ({ key })),
  );
  return operation('netfilter', elementsMessage, requests, {
    what: `look up ${keys.length} elements of ${setWords(set)}`,
    decode: readElements,
  });
}
