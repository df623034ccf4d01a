/** ipset (linux/netfilter/ipset/ip_set.h): sets of hash:ip, hash:net and hash:ip,port, their elements and headers. */
import { Attributes, attribute, listOf, nested, type Values } from './attributes.ts';
import {
  AF_INET,
  AF_INET6,
  familyOf,
  formatIp,
  NLA_F_NET_BYTEORDER,
  parseIp,
  text,
  u8,
  u16net,
  u32net,
} from './codec.ts';
import type { Op, RawMessage } from './door.ts';
import { Message, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, nothing, operation } from './message.ts';
import { nfgenmsg } from './nftables-attributes.ts';

const SUBSYSTEM = 6;
const PROTOCOL = 7;
const IPSET_CMD_PROTOCOL = 1;
const IPSET_CMD_CREATE = 2;
const IPSET_CMD_DESTROY = 3;
const IPSET_CMD_FLUSH = 4;
const IPSET_CMD_LIST = 7;
const IPSET_CMD_ADD = 9;
const IPSET_CMD_DEL = 10;
const IPSET_CMD_TEST = 11;
const IPSET_CMD_TYPE = 13;
const IPSET_FLAG_LIST_HEADER = 4;
const IPSET_FLAG_WITH_COMMENT = 16;
const IPSET_ATTR_DATA = 7;

const ipset = (command: number) => (SUBSYSTEM << 8) | command;

const rawAddress = {
  flags: NLA_F_NET_BYTEORDER,
  write: (to: Parameters<typeof u8.write>[0], value: string) => to.append(parseIp(value)),
  read: formatIp,
};

const address = new Attributes({
  v4: attribute(1, 'IPSET_ATTR_IPADDR_IPV4', rawAddress),
  v6: attribute(2, 'IPSET_ATTR_IPADDR_IPV6', rawAddress),
});

/** What an element holds. */
const element = new Attributes({
  ip: attribute(1, 'IPSET_ATTR_IP', nested(address)),
  /** Bits. */
  prefixLength: attribute(3, 'IPSET_ATTR_CIDR', u8),
  port: attribute(4, 'IPSET_ATTR_PORT', u16net),
  /** Seconds. */
  timeout: attribute(6, 'IPSET_ATTR_TIMEOUT', u32net),
  protocol: attribute(7, 'IPSET_ATTR_PROTO', u8),
  /** Of a file that is restored; `ipset` always sends one. */
  line: attribute(9, 'IPSET_ATTR_LINENO', u32net),
  comment: attribute(26, 'IPSET_ATTR_COMMENT', text(256)),
});

/** What a set's header holds; the numbers from 17 on mean something else in an element. */
const creation = new Attributes({
  timeout: attribute(6, 'IPSET_ATTR_TIMEOUT', u32net),
  flags: attribute(8, 'IPSET_ATTR_CADT_FLAGS', u32net),
  hashSize: attribute(18, 'IPSET_ATTR_HASHSIZE', u32net),
  maxElements: attribute(19, 'IPSET_ATTR_MAXELEM', u32net),
  elements: attribute(24, 'IPSET_ATTR_ELEMENTS', u32net),
  references: attribute(25, 'IPSET_ATTR_REFERENCES', u32net),
  memory: attribute(26, 'IPSET_ATTR_MEMSIZE', u32net),
});

const common = {
  protocol: attribute(1, 'IPSET_ATTR_PROTOCOL', u8),
  /** IPSET_MAXNAMELEN. */
  set: attribute(2, 'IPSET_ATTR_SETNAME', text(32)),
  type: attribute(3, 'IPSET_ATTR_TYPENAME', text(32)),
  revision: attribute(4, 'IPSET_ATTR_REVISION', u8),
  family: attribute(5, 'IPSET_ATTR_FAMILY', u8),
  flags: attribute(6, 'IPSET_ATTR_FLAGS', u32net),
  protocolMin: attribute(10, 'IPSET_ATTR_PROTOCOL_MIN', u8),
};

export const setHeaderMessage = new Message(
  nfgenmsg,
  new Attributes({
    ...common,
    data: attribute(IPSET_ATTR_DATA, 'IPSET_ATTR_DATA', nested(creation)),
    elements: attribute(8, 'IPSET_ATTR_ADT', listOf(IPSET_ATTR_DATA, nested(element))),
  }),
);

export const setElementMessage = new Message(
  nfgenmsg,
  new Attributes({ ...common, data: attribute(IPSET_ATTR_DATA, 'IPSET_ATTR_DATA', nested(element)) }),
);

export interface SetElement {
  /** Address; in a hash:net set with its prefix length: `10.1.0.0/16`. */
  address: string;
  port?: number | undefined;
  /** IP protocol number of the port: 6 TCP, 17 UDP, 132 SCTP. */
  protocol?: number | undefined;
  /** At most 255 bytes; only where the set was made with comments. */
  comment?: string | undefined;
  /** Seconds; when read, what is left. */
  timeout?: number | undefined;
}

export interface SetHeader {
  name: string;
  /** `hash:ip`. */
  type: string;
  revision: number;
  /** AF_INET or AF_INET6. */
  family: number;
  /** Number of rules and sets that use it. */
  references: number;
  elements: number;
  maxElements: number | undefined;
  hashSize: number | undefined;
  /** Bytes. */
  memory: number;
  comments: boolean;
}

function writeElement({
  address: cidr,
  port,
  protocol,
  comment,
  timeout,
}: SetElement): Values<typeof element.table> {
  const [address = '', length] = cidr.split('/');
  return {
    ip: familyOf(address) === AF_INET6 ? { v6: address } : { v4: address },
    prefixLength: length === undefined ? undefined : Number(length),
    port,
    timeout,
    protocol,
    comment,
  };
}

function readElement(found: Values<typeof element.table>): SetElement {
  const address = found.ip?.v4 ?? found.ip?.v6 ?? '';
  return {
    address: found.prefixLength === undefined ? address : `${address}/${found.prefixLength}`,
    port: found.port,
    protocol: found.protocol,
    comment: found.comment,
    timeout: found.timeout,
  };
}

function adt(command: number, flags: number, verb: string, set: string, wanted: SetElement): Op<void> {
  const bytes = setElementMessage.encode(
    ipset(command),
    flags,
    // As ipset does: the set's own family counts.
    { family: AF_INET },
    { protocol: PROTOCOL, set, data: writeElement(wanted) },
  );
  return operation('netfilter', setElementMessage, [bytes], {
    what: `${verb} ${wanted.address} in ipset ${set}`,
    decode: nothing,
  });
}

/** Adds an element, or with `exclusive` refuses one that is there (IPSET_ERR_EXIST); without, its comment is set anew. */
export function addSetElement(set: string, wanted: SetElement, exclusive = false): Op<void> {
  return adt(IPSET_CMD_ADD, exclusive ? NLM_F_EXCL : 0, 'add', set, wanted);
}

/** Deletes an element; nothing happens where it is missing. ENOENT when the set is. */
export function deleteSetElement(set: string, wanted: SetElement): Op<void> {
  return adt(IPSET_CMD_DEL, 0, 'delete', set, { ...wanted, comment: undefined, timeout: undefined });
}

/** Is the element there? An answer with `ok: false` (IPSET_ERR_EXIST, tolerated) says no. ENOENT when the set is missing. */
export function testSetElement(set: string, wanted: SetElement): Op<void> {
  const op = adt(IPSET_CMD_TEST, 0, 'find', set, { ...wanted, comment: undefined, timeout: undefined });
  return { ...op, tolerate: ['IPSET_ERR_EXIST'] };
}

/** The kernel's protocol version, and the oldest it speaks. Fails where the kernel has no ipset. */
export function ipsetProtocol(): Op<{ version: number; oldest: number }> {
  const bytes = setHeaderMessage.encode(ipset(IPSET_CMD_PROTOCOL), 0, {}, { protocol: PROTOCOL });
  return operation('netfilter', setHeaderMessage, [bytes], {
    what: 'ask for the ipset protocol',
    decode([message]) {
      const { protocol = 0, protocolMin } = message ? setHeaderMessage.read(message.payload).attributes : {};
      return { version: protocol, oldest: protocolMin ?? protocol };
    },
  });
}

/** The newest revision of a set type that the kernel has; IPSET_ERR_FIND_TYPE when it has none. */
export function setTypeRevision(type: string, family: number): Op<number> {
  const bytes = setHeaderMessage.encode(ipset(IPSET_CMD_TYPE), 0, {}, { protocol: PROTOCOL, type, family });
  return operation('netfilter', setHeaderMessage, [bytes], {
    what: `look up ipset type ${type}`,
    decode: ([message]) => (message ? (setHeaderMessage.read(message.payload).attributes.revision ?? 0) : 0),
  });
}

/** A set as wanted; `revision` comes from setTypeRevision. */
export interface NewSet {
  name: string;
  type: string;
  revision: number;
  /** AF_INET or AF_INET6. */
  family: number;
  maxElements?: number | undefined;
  /** Elements may carry comments; true unless said otherwise. */
  comments?: boolean | undefined;
}

/** Makes a set; nothing happens where there is the same, IPSET_ERR_EXIST or EEXIST where there is another of that name. */
export function createSet({ name, type, revision, family, maxElements, comments = true }: NewSet): Op<void> {
  const data = { flags: comments ? IPSET_FLAG_WITH_COMMENT : undefined, maxElements };
  const bytes = setHeaderMessage.encode(
    ipset(IPSET_CMD_CREATE),
    NLM_F_CREATE,
    { family },
    { protocol: PROTOCOL, set: name, type, revision, family, data },
  );
  return operation('netfilter', setHeaderMessage, [bytes], { what: `create ipset ${name}`, decode: nothing });
}

/** Destroys a set; IPSET_ERR_BUSY while a rule uses it, ENOENT when it is missing. */
export function destroySet(set: string): Op<void> {
  return plain(IPSET_CMD_DESTROY, `destroy ipset ${set}`, set);
}

/** Deletes all elements; ENOENT when the set is missing. */
export function flushIpset(set: string): Op<void> {
  return plain(IPSET_CMD_FLUSH, `flush ipset ${set}`, set);
}

function plain(command: number, what: string, set: string): Op<void> {
  const bytes = setHeaderMessage.encode(ipset(command), 0, {}, { protocol: PROTOCOL, set });
  return operation('netfilter', setHeaderMessage, [bytes], { what, decode: nothing });
}

function dump(what: string, set: string | undefined, flags: number | undefined) {
  const bytes = setHeaderMessage.encode(
    ipset(IPSET_CMD_LIST),
    NLM_F_DUMP,
    {},
    { protocol: PROTOCOL, set, flags },
  );
  return <T>(decode: (messages: readonly RawMessage[]) => T): Op<T> =>
    operation('netfilter', setHeaderMessage, [bytes], { what, decode });
}

/** Headers of all sets, or of one; ENOENT when it is missing. */
export function listSetHeaders(set?: string): Op<SetHeader[]> {
  return dump(
    `list header of ipset ${set ?? '(all)'}`,
    set,
    IPSET_FLAG_LIST_HEADER,
  )((messages) =>
    messages.map(({ payload }) => {
      const { attributes: found } = setHeaderMessage.read(payload);
      const { flags = 0, elements = 0, references = 0, memory = 0, hashSize, maxElements } = found.data ?? {};
      return {
        name: found.set ?? '',
        type: found.type ?? '',
        revision: found.revision ?? 0,
        family: found.family ?? 0,
        references,
        elements,
        maxElements,
        hashSize,
        memory,
        comments: (flags & IPSET_FLAG_WITH_COMMENT) !== 0,
      };
    }),
  );
}

/** Elements of one set; ENOENT when it is missing. */
export function listSetElements(set: string): Op<SetElement[]> {
  return dump(
    `list ipset ${set}`,
    set,
    undefined,
  )((messages) =>
    messages.flatMap(({ payload }) =>
      (setHeaderMessage.read(payload).attributes.elements ?? []).map(readElement),
    ),
  );
}
