/** Addresses of links (net/ipv4/devinet.c, net/ipv6/addrconf.c). */
import { Attributes, attribute } from './attributes.ts';
import { formatIp, ip, type Prefix, parsePrefix, text, u8, u32 } from './codec.ts';
import type { Op, RawMessage } from './door.ts';
import {
  Message,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  nothing,
  operation,
  Struct,
} from './message.ts';

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const IFA_F_NODAD = 0x02;
const IFA_F_OPTIMISTIC = 0x04;
const IFA_F_DADFAILED = 0x08;
const IFA_F_DEPRECATED = 0x20;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_PERMANENT = 0x80;
const IFA_F_NOPREFIXROUTE = 0x200;

const ifaddrmsg = new Struct({ family: u8, prefixLength: u8, flags: u8, scope: u8, index: u32 });

export const addressMessage = new Message(
  ifaddrmsg,
  new Attributes({
    /** On a point-to-point link the other end's; else the same as `local`. IPv6 has only this one. */
    address: attribute(1, 'IFA_ADDRESS', ip),
    local: attribute(2, 'IFA_LOCAL', ip),
    label: attribute(3, 'IFA_LABEL', text(16)),
    broadcast: attribute(4, 'IFA_BROADCAST', ip),
    /** All of them; the header has room for the lowest eight bits. */
    flags: attribute(8, 'IFA_FLAGS', u32),
    metric: attribute(9, 'IFA_RT_PRIORITY', u32),
  }),
);

/** An address of a link, as wanted. */
export interface NewAddress {
  /** Index of the link. */
  link: number;
  /** CIDR. */
  address: string;
  /** IPv6: usable at once, no duplicate address detection. */
  noDad?: boolean | undefined;
  /** IPv6: usable while detection still runs. */
  optimistic?: boolean | undefined;
  /** No on-link route for the prefix. */
  noPrefixRoute?: boolean | undefined;
  /** IPv4; none unless given. */
  broadcast?: string | undefined;
  label?: string | undefined;
  /** RT_SCOPE_*; 0 is global. */
  scope?: number | undefined;
}

/** An address of a link, as found. */
export interface Address {
  link: number;
  family: number;
  /** Without prefix length. */
  address: string;
  prefixLength: number;
  /** `address/prefixLength`. */
  cidr: string;
  /** The other end's, on a point-to-point link. */
  peer: string | undefined;
  broadcast: string | undefined;
  label: string | undefined;
  scope: number;
  flags: number;
  permanent: boolean;
  /** Duplicate address detection runs; with `optimistic` the address may be used. */
  tentative: boolean;
  optimistic: boolean;
  dadFailed: boolean;
  deprecated: boolean;
  noPrefixRoute: boolean;
  metric: number | undefined;
}

/** Reads one RTM_NEWADDR or RTM_DELADDR. */
export function decodeAddress(message: RawMessage): Address {
  const { header, attributes: found } = addressMessage.read(message.payload);
  const address = found.local ?? found.address ?? '';
  const flags = found.flags ?? header.flags;
  return {
    link: header.index,
    family: header.family,
    address,
    prefixLength: header.prefixLength,
    cidr: `${address}/${header.prefixLength}`,
    peer: found.address === address ? undefined : found.address,
    broadcast: found.broadcast,
    label: found.label,
    scope: header.scope,
    flags,
    permanent: (flags & IFA_F_PERMANENT) !== 0,
    tentative: (flags & IFA_F_TENTATIVE) !== 0,
    optimistic: (flags & IFA_F_OPTIMISTIC) !== 0,
    dadFailed: (flags & IFA_F_DADFAILED) !== 0,
    deprecated: (flags & IFA_F_DEPRECATED) !== 0,
    noPrefixRoute: (flags & IFA_F_NOPREFIXROUTE) !== 0,
    metric: found.metric,
  };
}

function request(type: number, flags: number, prefix: Prefix, wanted: NewAddress): Uint8Array {
  const { link, noDad, optimistic, noPrefixRoute, broadcast, label, scope = 0 } = wanted;
  const bits =
    (noDad ? IFA_F_NODAD : 0) |
    (optimistic ? IFA_F_OPTIMISTIC : 0) |
    (noPrefixRoute ? IFA_F_NOPREFIXROUTE : 0);
  const address = formatIp(prefix.bytes);
  return addressMessage.encode(
    type,
    flags,
    { family: prefix.family, prefixLength: prefix.length, flags: bits > 0xff ? 0 : bits, scope, index: link },
    { local: address, address, broadcast, label, flags: bits > 0xff ? bits : undefined },
  );
}

/** Adds an address; EEXIST when the link has it. */
export function addAddress(wanted: NewAddress): Op<void> {
  return operation(
    'route',
    addressMessage,
    [request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, parsePrefix(wanted.address), wanted)],
    { what: `add address ${wanted.address} to link ${wanted.link}`, decode: nothing },
  );
}

/** Adds an address, or gives the one that is there the flags wanted. */
export function replaceAddress(wanted: NewAddress): Op<void> {
  return operation(
    'route',
    addressMessage,
    [request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, parsePrefix(wanted.address), wanted)],
    { what: `set address ${wanted.address} on link ${wanted.link}`, decode: nothing },
  );
}

/** Deletes an address (CIDR); EADDRNOTAVAIL when the link has none such. */
export function deleteAddress(link: number, address: string): Op<void> {
  return operation(
    'route',
    addressMessage,
    [request(RTM_DELADDR, 0, parsePrefix(address), { link, address })],
    { what: `delete address ${address} of link ${link}`, decode: nothing },
  );
}

/** Addresses of all links, or of one; of both families, or of one (AF_INET, AF_INET6). The kernel does the filtering. */
export function listAddresses(filter: { link?: number; family?: number } = {}): Op<Address[]> {
  const { link = 0, family = 0 } = filter;
  const bytes = addressMessage.encode(RTM_GETADDR, NLM_F_DUMP, { family, index: link }, {});
  return operation('route', addressMessage, [bytes], {
    what: `list addresses${link > 0 ? ` of link ${link}` : ''}`,
    // A kernel without strict checking answers with all of them.
    decode: (messages) => messages.map(decodeAddress).filter((found) => link === 0 || found.link === link),
  });
}
