/** Numbers that rules name, and names that they number. */

/** /etc/protocols, those that rules are written about. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  2: 'igmp',
  4: 'ipip',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  41: 'ipv6',
  47: 'gre',
  50: 'esp',
  51: 'ah',
  58: 'icmpv6',
  89: 'ospf',
  103: 'pim',
  112: 'vrrp',
  132: 'sctp',
  136: 'udplite',
};

const ALIASES: Readonly<Record<string, string>> = {
  'ipv6-icmp': 'icmpv6',
  ipencap: 'ipip',
  'ipv6-crypt': 'esp',
  'ipv6-auth': 'ah',
};

/** `tcp` for 6, `6` and `tcp`; what has no name stays as it is. */
export function protocolName(protocol: string | number): string {
  const named = /^\d+$/.test(String(protocol)) ? PROTOCOLS[Number(protocol)] : undefined;
  return named ?? ALIASES[protocol] ?? String(protocol);
}

/** The number of a protocol's name; undefined where it has none here. */
export function protocolNumber(name: string): number | undefined {
  const found = Object.entries(PROTOCOLS).find(([, known]) => known === protocolName(name));
  if (found) return Number(found[0]);
  return /^\d+$/.test(name) ? Number(name) : undefined;
}

/** RFC 792, RFC 950; nft's names. */
const ICMP: Readonly<Record<string, number>> = {
  'echo-reply': 0,
  'destination-unreachable': 3,
  'source-quench': 4,
  redirect: 5,
  'echo-request': 8,
  'router-advertisement': 9,
  'router-solicitation': 10,
  'time-exceeded': 11,
  'parameter-problem': 12,
  'timestamp-request': 13,
  'timestamp-reply': 14,
  'info-request': 15,
  'info-reply': 16,
  'address-mask-request': 17,
  'address-mask-reply': 18,
};

/** RFC 4443, RFC 4861; nft's names. */
const ICMPV6: Readonly<Record<string, number>> = {
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
  'parameter-problem': 4,
  'echo-request': 128,
  'echo-reply': 129,
  'mld-listener-query': 130,
  'mld-listener-report': 131,
  'mld-listener-done': 132,
  'mld-listener-reduction': 132,
  'nd-router-solicit': 133,
  'nd-router-advert': 134,
  'nd-neighbor-solicit': 135,
  'nd-neighbor-advert': 136,
  'nd-redirect': 137,
  'router-renumbering': 138,
  'ind-neighbor-solicit': 141,
  'ind-neighbor-advert': 142,
  'mld2-listener-report': 143,
};

export function icmpNumber(name: string, family: 4 | 6): number | undefined {
  return (family === 4 ? ICMP : ICMPV6)[name];
}

/** RFC 9293, RFC 3168. */
const TCP_FLAGS: Readonly<Record<string, number>> = {
  fin: 1,
  syn: 2,
  rst: 4,
  psh: 8,
  ack: 16,
  urg: 32,
  ecn: 64,
  cwr: 128,
};

/** Bits of flags by name, in any case; undefined where one is none. */
export function tcpFlagBits(names: readonly string[]): number | undefined {
  let bits = 0;
  for (const name of names) {
    const bit = TCP_FLAGS[name.toLowerCase()];
    if (bit === undefined) return undefined;
    bits |= bit;
  }
  return bits;
}

export const ALL_TCP_FLAGS = 0xff;
