/** What nf_tables holds: tables, chains, sets and rules, looked up and listed. Lookups answer ENOENT for what is missing. */
import { pieces } from './attributes.ts';
import type { Op, RawMessage } from './door.ts';
import { NLM_F_DUMP, operation } from './message.ts';
import { type ChainRef, FAMILIES, message, type NftFamily, type SetRef, type TableRef } from './nftables.ts';
import { chainMessage, ruleMessage, setMessage, tableMessage } from './nftables-attributes.ts';
import { commentOf } from './nftables-keys.ts';

const NFT_MSG_GETTABLE = 1;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_GETSET = 10;
/** Length of struct nfgenmsg, which attributes follow. */
const NFGENMSG = 4;
const NFTA_RULE_USERDATA = 7;

export interface Table extends TableRef {
  handle: number | undefined;
}

export interface Chain extends ChainRef {
  handle: number | undefined;
  /** Of base chains: filter, nat, route. */
  type: string | undefined;
  hook: number | undefined;
  priority: number | undefined;
  /** 0 drop, 1 accept. */
  policy: number | undefined;
  /** How many rules it has, and jumps lead to it. */
  use: number | undefined;
}

export interface SetObject extends SetRef {
  handle: number | undefined;
  /** NFT_SET_*: 4 interval, 8 map, 16 timeout. */
  flags: number;
  /** Bytes. */
  keyLength: number | undefined;
  /** Bytes. */
  valueLength: number | undefined;
}

export interface Rule extends ChainRef {
  handle: number;
  /** Handle of the rule before it. */
  position: number | undefined;
  comment: string | undefined;
  /** As the kernel has them: name, and attributes undecoded. */
  expressions: { name: string; data: Uint8Array }[];
}

function familyName(number: number): NftFamily {
  const found = Object.entries(FAMILIES).find(([, known]) => known === number)?.[0];
  return (found as NftFamily | undefined) ?? 'inet';
}

function readTable({ payload }: RawMessage): Table {
  const { header, attributes } = tableMessage.read(payload);
  return { family: familyName(header.family), table: attributes.name ?? '', handle: attributes.handle };
}

function readChain({ payload }: RawMessage): Chain {
  const { header, attributes: found } = chainMessage.read(payload);
  return {
    family: familyName(header.family),
    table: found.table ?? '',
    chain: found.name ?? '',
    handle: found.handle,
    type: found.type,
    hook: found.hook?.number,
    priority: found.hook?.priority,
    policy: found.policy,
    use: found.use,
  };
}

function readSet({ payload }: RawMessage): SetObject {
  const { header, attributes: found } = setMessage.read(payload);
  return {
    family: familyName(header.family),
    table: found.table ?? '',
    set: found.name ?? '',
    handle: found.handle,
    flags: found.flags ?? 0,
    keyLength: found.keyLength,
    valueLength: found.dataLength,
  };
}

function readRule({ payload }: RawMessage): Rule {
  const { header, attributes: found } = ruleMessage.read(payload);
  return {
    family: familyName(header.family),
    table: found.table ?? '',
    chain: found.chain ?? '',
    handle: found.handle ?? 0,
    position: found.position,
    comment: commentOf(found.userdata),
    expressions: (found.expressions ?? []).map(({ name = '', data = new Uint8Array() }) => ({ name, data })),
  };
}

/** Skips what a rule does, which is most of it. */
function readComment({ payload }: RawMessage): string | undefined {
  for (const { number, payload: userdata } of pieces(payload.subarray(NFGENMSG))) {
    if (number === NFTA_RULE_USERDATA) return commentOf(userdata);
  }
  return undefined;
}

function first<T>(read: (message: RawMessage) => T): (messages: readonly RawMessage[]) => T {
  return ([found]) => {
    if (found === undefined) throw new Error('the kernel acknowledged an nf_tables lookup without an answer');
    return read(found);
  };
}

export function getTable({ family, table }: TableRef): Op<Table> {
  const bytes = tableMessage.encode(
    message(NFT_MSG_GETTABLE),
    0,
    { family: FAMILIES[family] },
    { name: table },
  );
  const what = `look up table ${family} ${table}`;
  return operation('netfilter', tableMessage, [bytes], { what, decode: first(readTable) });
}

export function getChain({ family, table, chain }: ChainRef): Op<Chain> {
  const header = { family: FAMILIES[family] };
  const bytes = chainMessage.encode(message(NFT_MSG_GETCHAIN), 0, header, { table, name: chain });
  const what = `look up chain ${family} ${table} ${chain}`;
  return operation('netfilter', chainMessage, [bytes], { what, decode: first(readChain) });
}

export function getSet({ family, table, set }: SetRef): Op<SetObject> {
  const header = { family: FAMILIES[family] };
  const bytes = setMessage.encode(message(NFT_MSG_GETSET), 0, header, { table, name: set });
  const what = `look up set ${family} ${table} ${set}`;
  return operation('netfilter', setMessage, [bytes], { what, decode: first(readSet) });
}

/** Tables of all families, or of one. */
export function listTables(family?: NftFamily): Op<Table[]> {
  const header = { family: family === undefined ? 0 : FAMILIES[family] };
  const bytes = tableMessage.encode(message(NFT_MSG_GETTABLE), NLM_F_DUMP, header, {});
  const decode = (messages: readonly RawMessage[]) => messages.map(readTable);
  return operation('netfilter', tableMessage, [bytes], { what: 'list tables', decode });
}

/** Chains of a table; none where the table is missing. */
export function listChains({ family, table }: TableRef): Op<Chain[]> {
  const header = { family: FAMILIES[family] };
  const bytes = chainMessage.encode(message(NFT_MSG_GETCHAIN), NLM_F_DUMP, header, {});
  return operation('netfilter', chainMessage, [bytes], {
    what: `list chains of ${family} ${table}`,
    // The kernel takes no filter here.
    decode: (messages) => messages.map(readChain).filter((chain) => chain.table === table),
  });
}

/** Sets and maps of a table, anonymous ones included (`__set0`); ENOENT where the table is missing. */
export function listSets({ family, table }: TableRef): Op<SetObject[]> {
  const header = { family: FAMILIES[family] };
  const bytes = setMessage.encode(message(NFT_MSG_GETSET), NLM_F_DUMP, header, { table });
  const what = `list sets of ${family} ${table}`;
  const decode = (messages: readonly RawMessage[]) => messages.map(readSet);
  return operation('netfilter', setMessage, [bytes], { what, decode });
}

/** Rules of one chain in their order; none where it is missing. */
export function listRules({ family, table, chain }: ChainRef): Op<Rule[]> {
  const header = { family: FAMILIES[family] };
  const bytes = ruleMessage.encode(message(NFT_MSG_GETRULE), NLM_F_DUMP, header, { table, chain });
  const what = `list rules of ${family} ${table} ${chain}`;
  const decode = (messages: readonly RawMessage[]) => messages.map(readRule);
  return operation('netfilter', ruleMessage, [bytes], { what, decode });
}

/** The comments of a chain's rules, and nothing else of them; ENOENT when there is no such chain. */
export function listComments(chain: ChainRef): Op<(string | undefined)[]> {
  return { ...listRules(chain), decode: (messages) => messages.map(readComment) };
}
