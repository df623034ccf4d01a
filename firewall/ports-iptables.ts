/**
 * Published ports by iptables: two chains in table nat, a rule per port. Each change is one iptables-save to see what is there and one
 * `iptables-restore --noflush` with exactly the difference, for each family, under the firewall's lock.
 */

import type { Ambient } from '../cni/ambient.ts';
import { CniError, ErrorCode } from '../cni/errors.ts';
import type { AttachmentId } from '../cni/types.ts';
import type { Namespace } from '../netlink/door.ts';
import type { IpFamily } from './address.ts';
import { hasChain } from './iptables-chains.ts';
import type { IptablesCommand } from './iptables-command.ts';
import { removeLines } from './iptables-removal.ts';
import { deletion } from './iptables-rules.ts';
import { type PortBackend, type Publication, type PublishedPort, portWords, targetWords } from './ports.ts';
import {
  BASE,
  CHAIN,
  FAMILIES,
  GUARD,
  match,
  NAT,
  ownerOf,
  renderPorts,
  rulesOf,
  SNAT_CHAIN,
  sourceRules,
} from './ports-iptables-rules.ts';
import { publicationMark, staleIn } from './ports-ruleset.ts';
import { findProgram, withFirewallLock } from './program.ts';
import { hostIptables } from './xtables.ts';

/** Opens nothing and changes nothing; `host` and `ambient` are used by the methods. */
export function iptablesPorts(host: Namespace, ambient: Ambient): PortBackend {
  return {
    name: 'iptables',
    publish: (publication) => publish(host, ambient, publication),
    withdraw: async (publication) => {
      const mark = publicationMark(publication);
      await withdrawWhere(host, ambient, (owner) => owner === mark);
    },
    missing: (publications) => missing(host, ambient, publications),
    collect: (network, valid) => collect(host, ambient, network, valid),
    render: renderPorts,
    probe: async () => {
      if (!findProgram(ambient.env, 'iptables-restore'))
        throw new CniError(ErrorCode.notAvailable, NO_IPTABLES);
    },
  };
}

const NO_IPTABLES =
  'ports cannot be published: iptables-restore is not installed (or not on PATH): install iptables';

async function publish(host: Namespace, ambient: Ambient, publication: Publication): Promise<void> {
  if (publication.ports.length === 0) return;
  if (!findProgram(ambient.env, 'iptables-restore')) throw new CniError(ErrorCode.program, NO_IPTABLES);
  const command = hostIptables(host, ambient);
  const mark = publicationMark(publication);
  await withFirewallLock(ambient, async () => {
    for (const family of FAMILIES) {
      const rules = rulesOf(publication, family);
      if (rules.length === 0) continue;
      const saved = await command.save(family, NAT);
      const present = saved.split('\n');
      refuseTaken(publication, family, present, mark);
      await command.restore(family, NAT, [
        ...[CHAIN, SNAT_CHAIN].filter((chain) => !hasChain(saved, chain)).map((chain) => `:${chain} - [0:0]`),
        ...present.filter((line) => ownerOf(line) === mark).map(deletion),
        ...rules,
        ...BASE.filter((line) => !present.includes(line)),
      ]);
      if (family === 4) await guardLocalhost(command, publication);
    }
  });
}

async function guardLocalhost(command: IptablesCommand, { sourceNat }: Publication): Promise<void> {
  if (sourceNat === 'never') return;
  const present = (await command.save(4, 'raw')).split('\n');
  if (!present.includes(GUARD)) await command.restore(4, 'raw', [GUARD]);
}

function refuseTaken(
  { ports }: Publication,
  family: IpFamily,
  present: readonly string[],
  mark: string,
): void {
  for (const port of ports.filter((one) => one.family === family)) {
    const taken = present.find(
      (line) =>
        line.startsWith(`-A ${CHAIN} ${match(port)} `) && line.includes('-j DNAT') && ownerOf(line) !== mark,
    );
    if (taken === undefined) continue;
    const [network, container, ifname] = ownerOf(taken)?.split(' ') ?? [];
    throw new CniError(
      ErrorCode.conflict,
      `port ${portWords(port)} of this host is published for container ${container} (${ifname} in network ${network}): ` +
        'choose another hostPort, or remove that container first',
    );
  }
}

/** Removes the rules of those owners; returns the owners. */
async function withdrawWhere(
  host: Namespace,
  ambient: Ambient,
  isDue: (owner: string) => boolean,
): Promise<string[]> {
  const place = { table: NAT, chains: [CHAIN, SNAT_CHAIN] } as const;
  const removed = await removeLines(host, ambient, place, (line) => {
    const owner = ownerOf(line);
    return owner !== undefined && isDue(owner);
  });
  return [...new Set(removed.flatMap((line) => ownerOf(line) ?? []))];
}

async function missing(
  host: Namespace,
  ambient: Ambient,
  publications: readonly Publication[],
): Promise<string[][]> {
  const saved = new Map<IpFamily, Promise<string>>();
  const lines: string[][] = [];
  for (const publication of publications) {
    const own: string[] = [];
    for (const family of FAMILIES) {
      if (!publication.ports.some((port) => port.family === family)) continue;
      const isFirst = !saved.has(family);
      const text = saved.get(family) ?? hostIptables(host, ambient).save(family, NAT);
      saved.set(family, text);
      own.push(...missingLines(publication, family, (await text).split('\n'), isFirst ? BASE : []));
    }
    lines.push(own);
  }
  return lines;
}

function missingLines(
  publication: Publication,
  family: IpFamily,
  present: readonly string[],
  base: readonly string[],
): string[] {
  const mark = publicationMark(publication);
  const program = family === 4 ? 'iptables' : 'ip6tables';
  const ports = publication.ports.filter((port) => port.family === family);
  // Conditions are printed in iptables' own way: what counts is whose rule leads where.
  const isThere = (port: PublishedPort) =>
    present.some(
      (line) =>
        line.startsWith(`-A ${CHAIN} ${match(port)} `) &&
        ownerOf(line) === mark &&
        line.endsWith(`-j DNAT --to-destination ${targetWords(port)}`),
    );
  const sources = sourceRules(publication, family);
  return [
    ...base.filter((line) => !present.includes(line)),
    ...sources.filter((line) => !present.includes(line)),
    ...ports
      .filter((port) => !isThere(port))
      .map((port) => `${match(port)} -j DNAT --to-destination ${targetWords(port)}`),
  ].map((words) => `rule "${words}" in ${program} table ${NAT}`);
}

async function collect(
  host: Namespace,
  ambient: Ambient,
  network: string,
  valid: readonly AttachmentId[],
): Promise<string[]> {
  const owners = await withdrawWhere(host, ambient, staleIn(network, valid));
  return owners.map((owner) => `published ports of ${owner}`);
}
