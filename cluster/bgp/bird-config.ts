/** The configuration of BIRD 2 (https://bird.network.cz/doc/bird-6.html), as text. */
import { type Family, familyOf } from '../../cni/prefix.ts';
import type { Peer, Speaker } from './speaker.ts';

/**
 * BIRD marks its routes with protocol 12 (RTPROT_BIRD, linux/rtnetlink.h) and cannot use another number; ours have this metric besides.
 * BIRD touches no route with another metric, nor one of another protocol.
 */
export const BGP_ROUTE = { protocol: 12, metric: 4794 } as const;

export interface BirdFiles {
  /** BIRD writes its log there, and one backup beside it. */
  log: string;
}

/** Bytes; two files of this size are all that the log takes. */
const LOG_SIZE = 262_144;

/**
 * Sessions are found again within a second or two, and survive the daemon's own death: peers keep its routes (RFC 4724) while it is
 * started again. Seconds.
 */
const TIMING = `  hold time 30;
  keepalive time 10;
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 5;
  graceful restart on;
  graceful restart time 60;`;

/** The whole file. Equal speakers give equal texts. */
export function birdConfig(speaker: Speaker, { log }: BirdFiles): string {
  const families = ([4, 6] as const).filter((family) => poolsOf(speaker, family).length > 0);
  const parts = [
    `# Written by weft for ${speaker.networks.join(', ')}: changes are lost.`,
    [
      `log "${log}" ${LOG_SIZE} "${log}.1" { info, warning, error, fatal, bug };`,
      'timeformat protocol iso long;',
      `router id ${speaker.routerId};`,
      // How long routes of before a restart stay while peers are awaited that may never come.
      'graceful restart wait 10;',
    ].join('\n'),
    // By what is on a link and in the main table, next hops are resolved. Containers' links tell nothing about hosts.
    'protocol device {\n  scan time 10;\n}',
    'protocol direct {\n  ipv4;\n  ipv6;\n  interface "-veth*", "*";\n}',
    ...families.flatMap((family) => [
      pools(speaker, family),
      own(speaker, family),
      kernel(family),
      exportFilter(family),
    ]),
    `template bgp weft {\n${TIMING}\n  strict bind;\n}`,
    ...speaker.peers.map((peer) => bgp(speaker, peer)),
  ];
  return `${parts.join('\n\n')}\n`;
}

function poolsOf(speaker: Speaker, family: Family): Speaker['pools'] {
  return speaker.pools.filter(({ prefix }) => familyOf(prefix) === family);
}

function pools(speaker: Speaker, family: Family): string {
  const list = poolsOf(speaker, family);
  const blocks = list.map(({ prefix, length }) => `${prefix}{${length},${length}}`);
  return [
    `# Subnets of hosts, and all that lies within the pools.`,
    `define weft_subnets${family} = [ ${blocks.join(', ')} ];`,
    `define weft_pools${family} = [ ${list.map(({ prefix }) => `${prefix}+`).join(', ')} ];`,
  ].join('\n');
}

/** What is announced. It stays out of the kernel, where this host's containers and the guard of cluster/host are. */
function own(speaker: Speaker, family: Family): string {
  const subnets = speaker.own.filter((subnet) => familyOf(subnet) === family);
  const routes = subnets.map((subnet) => `  route ${subnet} unreachable;\n`).join('');
  return `protocol static weft_own${family} {\n  ipv${family};\n${routes}}`;
}

function kernel(family: Family): string {
  return `protocol kernel weft_kernel${family} {
  metric ${BGP_ROUTE.metric};
  scan time 2;
  persist;
  graceful restart;
  learn;
  ipv${family} {
    import where !(net ~ weft_pools${family});
    export where source = RTS_BGP && net ~ weft_pools${family};
  };
}`;
}

function exportFilter(family: Family): string {
  return `filter weft_announce${family} {
  if net ~ weft_subnets${family} && (source = RTS_STATIC || source = RTS_BGP) then accept;
  reject;
}`;
}

function bgp(speaker: Speaker, { name, local, address, family, carries, client }: Peer): string {
  const channels = carries.map(
    (one) => `  ipv${one} {
    import where net ~ weft_subnets${one};
    export filter weft_announce${one};${one === family ? '' : '\n    extended next hop;'}
  };`,
  );
  return [
    `protocol bgp '${name}' from weft {`,
    `  local ${local} as ${speaker.asn};`,
    `  neighbor ${address} as ${speaker.asn};`,
    ...(client ? ['  rr client;'] : []),
    ...channels,
    '}',
  ].join('\n');
}
