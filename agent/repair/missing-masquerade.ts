/**
 * What of the masquerade is gone: rules once per network, elements by one dump of each map or set. An element that is there for somebody
 * else is not ours any more, and stays.
 */
import { formatAddress, parseExceptions, parseSources } from '../../firewall/address.ts';
import { entriesOf } from '../../firewall/iptables-sets.ts';
import { MAPS, TABLE } from '../../firewall/nftables-ruleset.ts';
import { iptablesNames } from '../../firewall/ownership.ts';
import { NO_NFTABLES } from '../../firewall/xtables.ts';
import type { Namespace } from '../../netlink/door.ts';
import { listSetHeaders } from '../../netlink/ipset.ts';
import { tolerating } from '../../netlink/message.ts';
import { listElements } from '../../netlink/nftables.ts';
import type { MasqueradeStep } from '../../plan/step.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import { type Finding, firstOfEach, type Wanted } from './finding.ts';

type Member = Wanted<MasqueradeStep>;

const networkKey = ({ step }: Member) => JSON.stringify([step.network, step.except]);

/** Throws NetlinkError or CniError. */
export async function missingInNftables(
  members: readonly Member[],
  surroundings: Surroundings,
): Promise<Finding[]> {
  if (members.length === 0) return [];
  const backend = await surroundings.firewall('nftables');
  const findings: Finding[] = [];
  for (const { entry, step } of firstOfEach(members, networkKey)) {
    const what = await backend.verifyMasquerade({ ...step, sources: [] });
    if (what.length > 0) findings.push({ entry, step, what });
  }
  const present = await addressesInMaps(surroundings.host);
  for (const { entry, step } of members) {
    const what = parseSources(step.sources)
      .filter(({ address }) => !present.has(address))
      .map(({ family, address }) => `element ${address} in map inet ${TABLE} ${MAPS[family]}`);
    if (what.length > 0) findings.push({ entry, step, what });
  }
  return findings;
}

async function addressesInMaps(host: Namespace): Promise<Set<string>> {
  const map = (set: string) => ({ family: 'inet', table: TABLE, set }) as const;
  const replies = await host.send(
    tolerating(listElements(map(MAPS[4])), 'ENOENT', ...NO_NFTABLES),
    tolerating(listElements(map(MAPS[6])), 'ENOENT', ...NO_NFTABLES),
  );
  const elements = replies.flatMap((reply) => (reply.ok ? reply.value : []));
  return new Set(elements.flatMap(({ key }) => (key ? [formatAddress(key)] : [])));
}

/**
 * Nobody tells when legacy iptables or ipset change, so this is asked often: one message per network and family, and more only where
 * a number is not what it should be.
 * @param thoroughly also where a network has rules of its own for each container, which takes a program to see
 */
export async function missingInIptables(
  members: readonly Member[],
  surroundings: Surroundings,
  thoroughly: boolean,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const network of new Set(members.map(({ step }) => step.network))) {
    const own = members.filter(({ step }) => step.network === network);
    findings.push(...(await missingInNetwork(network, own, surroundings, thoroughly)));
  }
  return findings;
}

async function missingInNetwork(
  network: string,
  members: readonly Member[],
  surroundings: Surroundings,
  thoroughly: boolean,
): Promise<Finding[]> {
  const { sources, except } = iptablesNames(network);
  const tolerant = (set: string) =>
    tolerating(listSetHeaders(set), 'ENOENT', 'EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT');
  const first = members[0];
  if (!first) return [];
  const wantedIn = { 4: 0, 6: 0 };
  for (const { step } of members) {
    for (const { family } of parseSources(step.sources)) wantedIn[family] += 1;
  }
  const rules: string[] = [];
  let fewer = false;
  for (const family of [4, 6] as const) {
    if (wantedIn[family] === 0) continue;
    const [set, exceptions] = await surroundings.host.send(
      tolerant(sources[family]),
      tolerant(except[family]),
    );
    const header = set.ok ? set.value[0] : undefined;
    const excepted = exceptions.ok ? (exceptions.value[0]?.elements ?? 0) : 0;
    if (!header) return thoroughly ? await missingByProgram(members, surroundings) : [];
    if (header.references === 0) rules.push(`the IPv${family} rule of ipset ${sources[family]} in table nat`);
    if (excepted < parseExceptions(first.step.except)[family].length) {
      rules.push(`entries of ipset ${except[family]}`);
    }
    if (header.elements < wantedIn[family]) fewer = true;
  }
  const findings: Finding[] = rules.length > 0 ? [{ ...first, what: rules }] : [];
  if (!fewer) return findings;
  const present = new Set((await entriesOf(surroundings.host, network)).map(({ address }) => address));
  for (const { entry, step } of members) {
    const what = parseSources(step.sources)
      .filter(({ address }) => !present.has(address))
      .map(({ family, address }) => `entry ${address} in ipset ${sources[family]}`);
    if (what.length > 0) findings.push({ entry, step, what });
  }
  return findings;
}

/** Sets are gone altogether, or this host never had any: only the backend can tell. */
async function missingByProgram(members: readonly Member[], surroundings: Surroundings): Promise<Finding[]> {
  const backend = await surroundings.firewall('iptables');
  const findings: Finding[] = [];
  for (const { entry, step } of members) {
    const what = await backend.verifyMasquerade(step);
    if (what.length > 0) findings.push({ entry, step, what });
  }
  return findings;
}
