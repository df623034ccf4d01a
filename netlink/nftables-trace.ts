/**
 * Tracing by nf_tables (net/netfilter/nf_tables_trace.c): a table that marks packets, and the events that the kernel then tells of
 * each rule that such a packet meets, whoever made it. The table belongs to the socket that made it (NFT_TABLE_F_OWNER): the kernel removes
 * it when that is closed, however the process ends.
 */
import { Attributes, attribute, nested } from './attributes.ts';
import { bytes, i32be, text, u16be, u32be, u64be } from './codec.ts';
import type { Namespace, RawMessage } from './door.ts';
import { Message, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL } from './message.ts';
import { type Monitor, monitor } from './monitor.ts';
import { type Change, FAMILIES, message, type NftFamily } from './nftables.ts';
import { chainMessage, nfgenmsg, ruleMessage, tableMessage } from './nftables-attributes.ts';
import { Writer } from './writer.ts';

const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_TRACE = 17;
const NFT_TABLE_F_OWNER = 2;
const NF_ACCEPT = 1;
const NFT_REG_1 = 1;
const NFT_META_NFTRACE = 12;
const NFT_META_L4PROTO = 16;

/** Bytes of a packet that a traced one has: at an offset from its network or transport header. */
export interface Bytes {
  base: 'network' | 'transport';
  offset: number;
  is: Uint8Array;
}

/** What marks a packet: its layer 4 protocol, and all of these. */
export interface TraceRule {
  protocol: number;
  bytes: readonly Bytes[];
}

const dataValue = new Attributes({ value: attribute(1, 'NFTA_DATA_VALUE', bytes) });
const meta = new Attributes({
  target: attribute(1, 'NFTA_META_DREG', u32be),
  key: attribute(2, 'NFTA_META_KEY', u32be),
  source: attribute(3, 'NFTA_META_SREG', u32be),
});
const compare = new Attributes({
  source: attribute(1, 'NFTA_CMP_SREG', u32be),
  operation: attribute(2, 'NFTA_CMP_OP', u32be),
  data: attribute(3, 'NFTA_CMP_DATA', nested(dataValue)),
});
const payload = new Attributes({
  target: attribute(1, 'NFTA_PAYLOAD_DREG', u32be),
  base: attribute(2, 'NFTA_PAYLOAD_BASE', u32be),
  offset: attribute(3, 'NFTA_PAYLOAD_OFFSET', u32be),
  length: attribute(4, 'NFTA_PAYLOAD_LEN', u32be),
});
const immediate = new Attributes({
  target: attribute(1, 'NFTA_IMMEDIATE_DREG', u32be),
  data: attribute(2, 'NFTA_IMMEDIATE_DATA', nested(dataValue)),
});
const limit = new Attributes({
  rate: attribute(1, 'NFTA_LIMIT_RATE', u64be),
  /** Seconds. */
  unit: attribute(2, 'NFTA_LIMIT_UNIT', u64be),
  burst: attribute(3, 'NFTA_LIMIT_BURST', u32be),
});

interface Expression {
  name: string;
  data: Uint8Array;
}

function expression<V>(name: string, table: { write(to: Writer, values: V): void }, values: V): Expression {
  const to = new Writer();
  table.write(to, values);
  return { name, data: to.finish() };
}

function equals(value: Uint8Array): Expression {
  return expression('cmp', compare, { source: NFT_REG_1, operation: 0, data: { value } });
}

function expressions({ protocol, bytes: wanted }: TraceRule, perSecond: number): Expression[] {
  return [
    expression('meta', meta, { target: NFT_REG_1, key: NFT_META_L4PROTO }),
    equals(Uint8Array.of(protocol)),
    ...wanted.flatMap(({ base, offset, is }) => [
      expression('payload', payload, {
        ...{ target: NFT_REG_1, base: base === 'network' ? 1 : 2, offset, length: is.length },
      }),
      equals(is),
    ]),
    expression('limit', limit, { rate: perSecond, unit: 1, burst: perSecond }),
    expression('immediate', immediate, { target: NFT_REG_1, data: { value: Uint8Array.of(1) } }),
    expression('meta', meta, { source: NFT_REG_1, key: NFT_META_NFTRACE }),
  ];
}

/** Where packets enter, by name of the chain that is made there: hook number. */
const HOOKS = { prerouting: 0, output: 3 } as const;
const NF_NETDEV_INGRESS = 0;
/** Before all that is usual (raw: -300; before reassembly: -450), as a packet is traced only from there on. */
const PRIORITY = -500;

/** A chain of a table of ours. */
interface EntryChain {
  name: string;
  hook: { number: number; link?: string };
}

/**
 * A table of our own in one of the families inet and bridge, which marks packets for tracing where they enter, at most so many a second for
 * each rule and hook. The kernel removes it with the Namespace that sends this.
 */
export function traceTable(
  family: Extract<NftFamily, 'inet' | 'bridge'>,
  table: string,
  rules: readonly TraceRule[],
  perSecond: number,
): Change {
  const chains = Object.entries(HOOKS).map(([name, number]) => ({ name, hook: { number } }));
  return tableOf(family, table, chains, rules, perSecond);
}

/** The same of family netdev, for what comes in by some links: its chains are asked before all others. ENOENT where a link is gone. */
export function traceLinks(
  links: readonly string[],
  table: string,
  rules: readonly TraceRule[],
  perSecond: number,
): Change {
  const chains = links.map((link, i) => ({ name: `in-${i}`, hook: { number: NF_NETDEV_INGRESS, link } }));
  return tableOf('netdev', table, chains, rules, perSecond);
}

function tableOf(
  family: NftFamily,
  table: string,
  chains: readonly EntryChain[],
  rules: readonly TraceRule[],
  perSecond: number,
): Change {
  const header = { family: FAMILIES[family] };
  const create = NLM_F_CREATE | NLM_F_ACK;
  const made = tableMessage.encode(message(NFT_MSG_NEWTABLE), create | NLM_F_EXCL, header, {
    name: table,
    flags: NFT_TABLE_F_OWNER,
  });
  const content = chains.flatMap(({ name, hook }) => [
    chainMessage.encode(message(NFT_MSG_NEWCHAIN), create, header, {
      ...{ table, name, type: 'filter', policy: NF_ACCEPT },
      hook: { ...hook, priority: PRIORITY },
    }),
    ...rules.map((rule) =>
      ruleMessage.encode(message(NFT_MSG_NEWRULE), create | NLM_F_APPEND, header, {
        ...{ table, chain: name, expressions: expressions(rule, perSecond) },
      }),
    ),
  ]);
  return { messages: [made, ...content], what: `add table ${family} ${table}`, nameAt: () => undefined };
}

const name = text(256);
const traceMessage = new Message(
  nfgenmsg,
  new Attributes({
    table: attribute(1, 'NFTA_TRACE_TABLE', name),
    chain: attribute(2, 'NFTA_TRACE_CHAIN', name),
    handle: attribute(3, 'NFTA_TRACE_RULE_HANDLE', u64be),
    type: attribute(4, 'NFTA_TRACE_TYPE', u32be),
    verdict: attribute(
      5,
      'NFTA_TRACE_VERDICT',
      nested(
        new Attributes({
          code: attribute(1, 'NFTA_VERDICT_CODE', i32be),
          chain: attribute(2, 'NFTA_VERDICT_CHAIN', name),
        }),
      ),
    ),
    id: attribute(6, 'NFTA_TRACE_ID', u32be),
    link: attribute(7, 'NFTA_TRACE_LL_HEADER', bytes),
    network: attribute(8, 'NFTA_TRACE_NETWORK_HEADER', bytes),
    transport: attribute(9, 'NFTA_TRACE_TRANSPORT_HEADER', bytes),
    iif: attribute(10, 'NFTA_TRACE_IIF', u32be),
    iifType: attribute(11, 'NFTA_TRACE_IIFTYPE', u16be),
    oif: attribute(12, 'NFTA_TRACE_OIF', u32be),
    mark: attribute(14, 'NFTA_TRACE_MARK', u32be),
    protocol: attribute(15, 'NFTA_TRACE_NFPROTO', u32be),
    policy: attribute(16, 'NFTA_TRACE_POLICY', u32be),
  }),
);

/** A rule that a packet met, the end of a chain, or the policy that then decides. */
export interface NftTrace {
  /** The same for all of one packet in one namespace. */
  id: number;
  family: NftFamily;
  table: string;
  chain: string;
  what: 'rule' | 'return' | 'policy';
  /** Of the rule. */
  handle: number | undefined;
  /** `accept`, `drop`, `continue`, `jump web`, ... */
  verdict: string;
  /** Indexes of links; absent where the hook has none. */
  iif: number | undefined;
  oif: number | undefined;
  mark: number;
  /** Beginning of the packet, with the first event of each base chain: network and transport header together. */
  packet: Uint8Array | undefined;
}

const VERDICTS: Readonly<Record<number, string>> = {
  ...{ [-5]: 'return', [-4]: 'goto', [-3]: 'jump', [-2]: 'break', [-1]: 'continue' },
  ...{ 0: 'drop', 1: 'accept', 2: 'stolen', 3: 'queue' },
};

/** Reads NFT_MSG_TRACE. Throws RangeError when it is cut off. */
export function decodeTrace({ payload: found }: RawMessage): NftTrace {
  const { attributes } = traceMessage.read(found);
  const family = Object.entries(FAMILIES).find(([, number]) => number === found[0])?.[0] as
    | NftFamily
    | undefined;
  const { verdict, network, transport } = attributes;
  // The end of a chain is told as a rule that has no handle.
  const isRule = attributes.type === 3 && attributes.handle !== undefined;
  const what = attributes.type === 1 ? 'policy' : isRule ? 'rule' : 'return';
  // A verdict's lower byte; the upper ones are an errno or a queue's number.
  const code = what === 'policy' ? attributes.policy : verdict?.code;
  const word = code === undefined ? '' : (VERDICTS[code < 0 ? code : code & 0xff] ?? `verdict ${code}`);
  return {
    id: attributes.id ?? 0,
    family: family ?? 'inet',
    table: attributes.table ?? '',
    chain: attributes.chain ?? '',
    what,
    handle: attributes.handle,
    verdict: verdict?.chain === undefined ? word : `${word} ${verdict.chain}`,
    iif: attributes.iif,
    oif: attributes.oif,
    mark: attributes.mark ?? 0,
    packet: network && Uint8Array.from([...network, ...(transport ?? [])]),
  };
}

/** Listens to trace events of a namespace; every one after the returned promise is fulfilled is seen. Throws an Error with `code`. */
export function traces(ns: Namespace): Promise<Monitor<NftTrace>> {
  return monitor<NftTrace>(ns, ['trace'], (_family, raw) =>
    (raw.type & 0xff) === NFT_MSG_TRACE ? decodeTrace(raw) : undefined,
  );
}
