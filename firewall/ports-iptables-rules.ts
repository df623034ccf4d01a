/** The iptables backend's rules for published ports, as text: two chains in table nat, a rule per port. */
import { CniError, ErrorCode } from '../cni/errors.ts';
import { familyOf } from '../cni/prefix.ts';
import type { IpFamily } from './address.ts';
import { type Publication, type PublishedPort, targetWords } from './ports.ts';
import { containerAddresses, publicationMark } from './ports-ruleset.ts';

export const NAT = 'nat';
export const CHAIN = 'WEFT-PORTS';
export const SNAT_CHAIN = 'WEFT-PORTS-SNAT';
export const FAMILIES = [4, 6] as const;
const HOST_BITS: Readonly<Record<IpFamily, string>> = { 4: '/32', 6: '/128' };

const note = (text: string) => `-m comment --comment "${text}"`;

/** As iptables-save prints them. */
export const BASE: readonly string[] = [
  `-A PREROUTING -m addrtype --dst-type LOCAL ${note('weft: published ports')} -j ${CHAIN}`,
  `-A OUTPUT -m addrtype --dst-type LOCAL ${note('weft: published ports')} -j ${CHAIN}`,
  `-A POSTROUTING -m conntrack --ctstate DNAT ${note('weft: published ports')} -j ${SNAT_CHAIN}`,
];
/** A link that routes localhost out (route_localnet) would let it in as well. */
export const GUARD = `-A PREROUTING -d 127.0.0.0/8 ! -i lo ${note('weft: localhost stays in this host')} -j DROP`;

/** What a packet for the port looks like. */
export function match({ protocol, family, hostAddress, hostPort }: PublishedPort): string {
  const to = hostAddress === undefined ? '' : `-d ${hostAddress}${HOST_BITS[family]} `;
  return `${to}-p ${protocol} -m ${protocol} --dport ${hostPort}`;
}

function portRules(publication: Publication, port: PublishedPort): string[] {
  const { conditions, markChain, sourceNat, subnets } = publication;
  const own = note(publicationMark(publication));
  const { family } = port;
  const extra = conditions?.[family]?.map((word) => ` ${quoted(word)}`).join('') ?? '';
  const sources =
    sourceNat === 'always' ? [''] : nearSources(family, subnets).map((source) => `-s ${source} `);
  const marks =
    markChain === undefined || sourceNat === 'never'
      ? []
      : sources.map((source) => `-A ${CHAIN} ${source}${match(port)} ${own} -j ${markChain}`);
  return [
    ...marks,
    `-A ${CHAIN} ${match(port)}${extra} ${own} -j DNAT --to-destination ${targetWords(port)}`,
  ];
}

/** Who needs another source: the containers beside, and localhost. */
function nearSources(family: IpFamily, subnets: readonly string[]): string[] {
  const near = subnets.filter((subnet) => familyOf(subnet) === family);
  return family === 4 ? [...near, '127.0.0.0/8'] : near;
}

/** Of a publication's own masquerade. */
export function sourceRules(publication: Publication, family: IpFamily): string[] {
  const { sourceNat, markChain, subnets } = publication;
  if (sourceNat === 'never' || markChain !== undefined) return [];
  const own = note(publicationMark(publication));
  return containerAddresses(publication)
    .filter((one) => one.family === family)
    .flatMap(({ address }) => {
      const sources =
        sourceNat === 'always' ? [''] : nearSources(family, subnets).map((source) => `-s ${source} `);
      return sources.map(
        (source) =>
          `-A ${SNAT_CHAIN} ${source}-d ${address}${HOST_BITS[family]} ${own} -j MASQUERADE --random-fully`,
      );
    });
}

export function rulesOf(publication: Publication, family: IpFamily): string[] {
  const ports = publication.ports.filter((port) => port.family === family);
  if (ports.length === 0) return [];
  return [...ports.flatMap((port) => portRules(publication, port)), ...sourceRules(publication, family)];
}

/** A word of iptables-restore's input. */
function quoted(word: string): string {
  if (/["\\\n]/.test(word)) {
    throw new CniError(
      ErrorCode.invalidConfig,
      `conditions: ${JSON.stringify(word)} has a quote or a line break`,
    );
  }
  return /^[\w./:,!+-]+$/.test(word) ? word : `"${word}"`;
}

/** Whose rule a line of iptables-save is; undefined for lines of other chains. */
export function ownerOf(line: string): string | undefined {
  if (!line.startsWith(`-A ${CHAIN} `) && !line.startsWith(`-A ${SNAT_CHAIN} `)) return undefined;
  return /--comment "([^"]*)"/.exec(line)?.[1] ?? /--comment (\S+)/.exec(line)?.[1] ?? '';
}

/** The lines that a person would type for one container on a host that has nothing of it yet. */
export function renderPorts(publication: Publication): string[] {
  return FAMILIES.flatMap((family) => {
    const rules = rulesOf(publication, family);
    if (rules.length === 0) return [];
    const program = family === 4 ? 'iptables' : 'ip6tables';
    return [
      ...[CHAIN, SNAT_CHAIN].map((chain) => `${program} -t ${NAT} -N ${chain}`),
      ...[...BASE, ...rules].map((rule) => `${program} -t ${NAT} ${rule}`),
      ...(family === 4 && publication.sourceNat !== 'never' ? [`${program} -t raw ${GUARD}`] : []),
    ];
  });
}
