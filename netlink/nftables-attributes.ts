/** Tables of nf_tables messages (linux/netfilter/nf_tables.h). Numbers are big endian there. */
import { Attributes, attribute, listOf, nested } from './attributes.ts';
import { bytes, i32be, text, u8, u16be, u32be, u64be } from './codec.ts';
import { Message, Struct } from './message.ts';

/** struct nfgenmsg (linux/netfilter/nfnetlink.h). */
export const nfgenmsg = new Struct({ family: u8, version: u8, resourceId: u16be });

/** NFT_NAME_MAXLEN. */
const name = text(256);
const NFTA_LIST_ELEM = 1;

const verdict = new Attributes({
  code: attribute(1, 'NFTA_VERDICT_CODE', i32be),
  chain: attribute(2, 'NFTA_VERDICT_CHAIN', name),
});

const data = new Attributes({
  value: attribute(1, 'NFTA_DATA_VALUE', bytes),
  verdict: attribute(2, 'NFTA_DATA_VERDICT', nested(verdict)),
});

export const elementAttributes = new Attributes({
  key: attribute(1, 'NFTA_SET_ELEM_KEY', nested(data)),
  data: attribute(2, 'NFTA_SET_ELEM_DATA', nested(data)),
  flags: attribute(3, 'NFTA_SET_ELEM_FLAGS', u32be),
  /** Milliseconds. */
  timeout: attribute(4, 'NFTA_SET_ELEM_TIMEOUT', u64be),
  /** Milliseconds. */
  expiration: attribute(5, 'NFTA_SET_ELEM_EXPIRATION', u64be),
  userdata: attribute(6, 'NFTA_SET_ELEM_USERDATA', bytes),
  keyEnd: attribute(10, 'NFTA_SET_ELEM_KEY_END', nested(data)),
});

export const elementsMessage = new Message(
  nfgenmsg,
  new Attributes({
    table: attribute(1, 'NFTA_SET_ELEM_LIST_TABLE', name),
    set: attribute(2, 'NFTA_SET_ELEM_LIST_SET', name),
    elements: attribute(3, 'NFTA_SET_ELEM_LIST_ELEMENTS', listOf(NFTA_LIST_ELEM, nested(elementAttributes))),
    setId: attribute(4, 'NFTA_SET_ELEM_LIST_SET_ID', u32be),
  }),
);

export const tableMessage = new Message(
  nfgenmsg,
  new Attributes({
    name: attribute(1, 'NFTA_TABLE_NAME', name),
    flags: attribute(2, 'NFTA_TABLE_FLAGS', u32be),
    /** How many chains, sets and so on it has. */
    use: attribute(3, 'NFTA_TABLE_USE', u32be),
    handle: attribute(4, 'NFTA_TABLE_HANDLE', u64be),
    userdata: attribute(6, 'NFTA_TABLE_USERDATA', bytes),
  }),
);

const hook = new Attributes({
  number: attribute(1, 'NFTA_HOOK_HOOKNUM', u32be),
  priority: attribute(2, 'NFTA_HOOK_PRIORITY', i32be),
  /** Of family netdev: a link's name. */
  link: attribute(3, 'NFTA_HOOK_DEV', text(16)),
});

export const chainMessage = new Message(
  nfgenmsg,
  new Attributes({
    table: attribute(1, 'NFTA_CHAIN_TABLE', name),
    handle: attribute(2, 'NFTA_CHAIN_HANDLE', u64be),
    name: attribute(3, 'NFTA_CHAIN_NAME', name),
    hook: attribute(4, 'NFTA_CHAIN_HOOK', nested(hook)),
    policy: attribute(5, 'NFTA_CHAIN_POLICY', u32be),
    /** How many rules and jumps use it. */
    use: attribute(6, 'NFTA_CHAIN_USE', u32be),
    type: attribute(7, 'NFTA_CHAIN_TYPE', name),
    userdata: attribute(12, 'NFTA_CHAIN_USERDATA', bytes),
  }),
);

export const setMessage = new Message(
  nfgenmsg,
  new Attributes({
    table: attribute(1, 'NFTA_SET_TABLE', name),
    name: attribute(2, 'NFTA_SET_NAME', name),
    flags: attribute(3, 'NFTA_SET_FLAGS', u32be),
    keyType: attribute(4, 'NFTA_SET_KEY_TYPE', u32be),
    /** Bytes. */
    keyLength: attribute(5, 'NFTA_SET_KEY_LEN', u32be),
    dataType: attribute(6, 'NFTA_SET_DATA_TYPE', u32be),
    /** Bytes. */
    dataLength: attribute(7, 'NFTA_SET_DATA_LEN', u32be),
    /** Milliseconds. */
    timeout: attribute(11, 'NFTA_SET_TIMEOUT', u64be),
    userdata: attribute(13, 'NFTA_SET_USERDATA', bytes),
    handle: attribute(16, 'NFTA_SET_HANDLE', u64be),
  }),
);

const expression = new Attributes({
  name: attribute(1, 'NFTA_EXPR_NAME', name),
  data: attribute(2, 'NFTA_EXPR_DATA', bytes),
});

export const ruleMessage = new Message(
  nfgenmsg,
  new Attributes({
    table: attribute(1, 'NFTA_RULE_TABLE', name),
    chain: attribute(2, 'NFTA_RULE_CHAIN', name),
    handle: attribute(3, 'NFTA_RULE_HANDLE', u64be),
    expressions: attribute(4, 'NFTA_RULE_EXPRESSIONS', listOf(NFTA_LIST_ELEM, nested(expression))),
    position: attribute(6, 'NFTA_RULE_POSITION', u64be),
    userdata: attribute(7, 'NFTA_RULE_USERDATA', bytes),
  }),
);
