/** Policy rules: which routing table a packet is looked up in (net/core/fib_rules.c, linux/fib_rules.h). */
import { Attributes, attribute } from './attributes.ts';
import { AF_INET, type Codec, formatIp, ip, parsePrefix, text, u8, u16, u32 } from './codec.ts';
import type { Op, RawMessage } from './door.ts';
import { Message, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, nothing, operation, Struct } from './message.ts';

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FR_ACT_TO_TBL = 1;
const FIB_RULE_INVERT = 2;

const ruleHeader = new Struct({
  family: u8,
  dstLength: u8,
  srcLength: u8,
  tos: u8,
  table: u8,
  reserved1: u8,
  reserved2: u8,
  action: u8,
  flags: u32,
});

/** struct fib_rule_port_range: both ends belong to it. */
const portRange: Codec<{ from: number; to: number }> = {
  write(to, { from, to: last }) {
    u16.write(to, from);
    u16.write(to, last);
  },
  read: (found) => ({ from: u16.read(found), to: u16.read(found.subarray(2)) }),
};

export const ruleMessage = new Message(
  ruleHeader,
  new Attributes({
    dst: attribute(1, 'FRA_DST', ip),
    src: attribute(2, 'FRA_SRC', ip),
    iif: attribute(3, 'FRA_IIFNAME', text(16)),
    goto: attribute(4, 'FRA_GOTO', u32),
    priority: attribute(6, 'FRA_PRIORITY', u32),
    mark: attribute(10, 'FRA_FWMARK', u32),
    suppressPrefixLength: attribute(14, 'FRA_SUPPRESS_PREFIXLEN', u32),
    table: attribute(15, 'FRA_TABLE', u32),
    mask: attribute(16, 'FRA_FWMASK', u32),
    oif: attribute(17, 'FRA_OIFNAME', text(16)),
    l3mdev: attribute(19, 'FRA_L3MDEV', u8),
    protocol: attribute(21, 'FRA_PROTOCOL', u8),
    ipProtocol: attribute(22, 'FRA_IP_PROTO', u8),
    sourcePorts: attribute(23, 'FRA_SPORT_RANGE', portRange),
    destinationPorts: attribute(24, 'FRA_DPORT_RANGE', portRange),
  }),
);

/** FR_ACT_*. */
const ACTIONS: Readonly<Record<number, PolicyRule['action']>> = {
  1: 'table',
  2: 'goto',
  3: 'nothing',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
};

/** A policy rule as found. All that is given must hold of the packet. */
export interface PolicyRule {
  /** AF_INET or AF_INET6. */
  family: number;
  /** The lowest is asked first. */
  priority: number;
  /** The packet must not match. */
  not: boolean;
  /** CIDR. */
  from: string | undefined;
  to: string | undefined;
  iif: string | undefined;
  oif: string | undefined;
  /** `(mark & mask) == mark`. */
  mark: { value: number; mask: number } | undefined;
  tos: number;
  /** IP protocol number. */
  ipProtocol: number | undefined;
  sourcePorts: { from: number; to: number } | undefined;
  destinationPorts: { from: number; to: number } | undefined;
  action: 'table' | 'goto' | 'nothing' | 'blackhole' | 'unreachable' | 'prohibit' | 'unknown';
  /** Of action `table`. */
  table: number;
  /** Priority of the rule that action `goto` goes to. */
  target: number | undefined;
  /** Routes with a prefix of this length or shorter do not count. */
  suppressPrefixLength: number | undefined;
  /** The table is that of the link's VRF. */
  l3mdev: boolean;
  /** RTPROT_*, who made it. */
  protocol: number;
}

/** Reads one RTM_NEWRULE or RTM_DELRULE. */
export function decodeRule(message: RawMessage): PolicyRule {
  const { header, attributes: found } = ruleMessage.read(message.payload);
  const any = header.family === AF_INET ? '0.0.0.0' : '::';
  const suppress = found.suppressPrefixLength;
  return {
    family: header.family,
    priority: found.priority ?? 0,
    not: (header.flags & FIB_RULE_INVERT) !== 0,
    from: header.srcLength > 0 ? `${found.src ?? any}/${header.srcLength}` : undefined,
    to: header.dstLength > 0 ? `${found.dst ?? any}/${header.dstLength}` : undefined,
    iif: found.iif,
    oif: found.oif,
    mark:
      found.mark === undefined && found.mask === undefined
        ? undefined
        : { value: found.mark ?? 0, mask: found.mask ?? 0xffffffff },
    tos: header.tos,
    ipProtocol: found.ipProtocol,
    sourcePorts: found.sourcePorts,
    destinationPorts: found.destinationPorts,
    action: ACTIONS[header.action] ?? 'unknown',
    table: found.table ?? header.table,
    target: found.goto,
    suppressPrefixLength: suppress === undefined || suppress === 0xffffffff ? undefined : suppress,
    l3mdev: (found.l3mdev ?? 0) !== 0,
    protocol: found.protocol ?? 0,
  };
}

/** Policy rules of one family, or of both, in the order in which the kernel asks them. */
export function listRules(family = 0): Op<PolicyRule[]> {
  const request = ruleMessage.encode(RTM_GETRULE, NLM_F_DUMP, { family }, {});
  return operation('route', ruleMessage, [request], {
    what: 'list policy rules',
    decode: (messages) =>
      messages
        .map(decodeRule)
        .filter((rule) => family === 0 || rule.family === family)
        .sort((a, b) => a.family - b.family || a.priority - b.priority),
  });
}

/** A rule that looks up packets of one source in a table of its own. */
export interface NewRule {
  /** CIDR. */
  from: string;
  table: number;
  /** The lowest is asked first. Absent: before all that are there but the first (0). */
  priority?: number | undefined;
  /** RTPROT_*, who made it. */
  protocol?: number | undefined;
}

function request(type: number, flags: number, { from, table, priority, protocol }: NewRule): Uint8Array {
  const { family, length, bytes } = parsePrefix(from);
  return ruleMessage.encode(
    type,
    flags,
    {
      ...{ family, srcLength: length, table: table < 256 ? table : 0 },
      action: type === RTM_NEWRULE ? FR_ACT_TO_TBL : 0,
    },
    { src: formatIp(bytes), priority, table: table < 256 ? undefined : table, protocol },
  );
}

/** Adds a rule; EEXIST when the very same is there. */
export function addRule(rule: NewRule): Op<void> {
  return operation('route', ruleMessage, [request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule)], {
    what: `add the policy rule from ${rule.from} to table ${rule.table}`,
    decode: nothing,
  });
}

/** Deletes the first rule that has all that is given; ENOENT when there is none. */
export function deleteRule(rule: NewRule): Op<void> {
  return operation('route', ruleMessage, [request(RTM_DELRULE, 0, rule)], {
    what: `delete the policy rule from ${rule.from} to table ${rule.table}`,
    decode: nothing,
  });
}
