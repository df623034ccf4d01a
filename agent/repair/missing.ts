/** The attachments of this host against the host: what is gone. */
import { ALLOWED, FILTER_TABLE, GUARDED, type GuardedPort } from '../../firewall/mac-filter-ruleset.ts';
import { NO_NFTABLES } from '../../firewall/xtables.ts';
import type { Namespace } from '../../netlink/door.ts';
import { tolerating } from '../../netlink/message.ts';
import { listElements } from '../../netlink/nftables.ts';
import { concatenated, linkNameKey, macKey } from '../../netlink/nftables-keys.ts';
import { describeDifference } from '../../plan/difference.ts';
import { kindOf } from '../../plan/kinds.ts';
import type { ForwardStep, MacFilterStep, PublishStep, Step, VethStep } from '../../plan/step.ts';
import { admissionOf } from '../../plan/steps/forward.ts';
import { publicationOf } from '../../plan/steps/publish.ts';
import type { Surroundings } from '../../plan/surroundings.ts';
import { type Finding, firstOfEach, type Wanted, wanted } from './finding.ts';
import type { HostLook } from './host-look.ts';
import { missingInIptables, missingInNftables } from './missing-masquerade.ts';
import type { Entry } from './records.ts';

/** An attachment without its link on the host has no namespace any more, or waits for its DEL: nothing is put back for it. */
export function living(entries: readonly Entry[], look: HostLook): Entry[] {
  return entries.filter(({ record }) =>
    record.steps.every((step) => {
      const link = linkOf(step);
      return link === undefined || look.links.has(link);
    }),
  );
}

/** The link that a step's attachment has on the host, as far as the step tells. */
function linkOf(step: Step): string | undefined {
  if (step.kind === 'veth') return step.host.name;
  if (step.kind === 'publish') return step.hairpin ?? step.links[0];
  if (step.kind === 'shape') return step.dev;
  return step.kind === 'forward' ? (step.isolated ?? step.link) : undefined;
}

/** What a person may switch or choose on a link that exists is left to him; what is gone comes back. */
const ON_HOST: readonly Step['kind'][] = ['bridge', 'vlan', 'address', 'route', 'neighbour', 'sysctl'];

/** Links, addresses, routes and settings, in the order in which they can be put back. Throws NetlinkError. */
export async function missingOnHost(entries: readonly Entry[], look: HostLook): Promise<Finding[]> {
  const all = entries.flatMap((entry) => entry.record.steps.map((step) => ({ entry, step })));
  const shared = firstOfEach(
    all.filter(({ step }) => ON_HOST.includes(step.kind)),
    ({ step }) => JSON.stringify(step),
  );
  const findings: Finding[] = [];
  for (const kind of ON_HOST) {
    for (const { entry, step } of shared.filter((one) => one.step.kind === kind)) {
      if ((step.kind === 'bridge' || step.kind === 'vlan') && look.links.has(step.name)) continue;
      const differences = await kindOf(step).verify(step, look);
      if (differences.length > 0) findings.push({ entry, step, what: differences.map(describeDifference) });
    }
  }
  const bridgesGone = new Set(findings.flatMap(({ step }) => (step.kind === 'bridge' ? [step.name] : [])));
  for (const { entry, step } of wanted(entries, 'veth')) {
    if (isLoose(step, look, bridgesGone)) {
      findings.push({ entry, step, what: [`link ${step.host.name} in bridge ${step.host.master}`] });
    }
  }
  for (const { entry, step } of wanted(entries, 'shape')) {
    // What is sent to a link that is gone is lost. Limits that somebody changed are his choice.
    if (step.ifb === undefined || look.links.has(step.ifb.name)) continue;
    findings.push({ entry, step, what: [`link ${step.ifb.name}, through which ${step.dev} is shaped`] });
  }
  return findings;
}

/** Our link, in no bridge though it should be in one. In another bridge somebody wanted it there. */
function isLoose({ host, port }: VethStep, look: HostLook, bridgesGone: ReadonlySet<string>): boolean {
  const link = look.links.get(host.name);
  if (host.master === undefined || link?.alias !== host.alias || link.master !== undefined) return false;
  // A port that comes back without its VLANs would be in another network.
  return !port && (look.links.has(host.master) || bridgesGone.has(host.master));
}

/** Throws NetlinkError or CniError. */
export async function missingRules(
  entries: readonly Entry[],
  surroundings: Surroundings,
): Promise<Finding[]> {
  const members = wanted(entries, 'masquerade');
  const of = (name: 'nftables' | 'iptables') => members.filter(({ step }) => step.backend === name);
  return merged([
    ...(await missingInNftables(of('nftables'), surroundings)),
    ...(await missingInIptables(of('iptables'), surroundings, true)),
    ...(await missingInMacFilter(wanted(entries, 'mac-filter'), surroundings)),
    ...(await missingPorts(wanted(entries, 'publish'), surroundings)),
    ...(await missingForward(wanted(entries, 'forward'), surroundings)),
  ]);
}

/** Rules and elements that the same step puts back are one finding. */
function merged(findings: readonly Finding[]): Finding[] {
  const bySteps = new Map<Step, Finding>();
  for (const finding of findings) {
    const known = bySteps.get(finding.step);
    bySteps.set(finding.step, known ? { ...known, what: [...known.what, ...finding.what] } : finding);
  }
  return [...bySteps.values()];
}

export function guardedPort({ network, containerId, ifname, dev, mac }: MacFilterStep): GuardedPort {
  return { network, containerId, ifname, port: dev, mac };
}

async function missingInMacFilter(
  members: readonly Wanted<MacFilterStep>[],
  surroundings: Surroundings,
): Promise<Finding[]> {
  const [first] = members;
  if (!first) return [];
  const filter = await surroundings.macFilter();
  const findings: Finding[] = [];
  const guarded = await keysIn(surroundings.host, GUARDED);
  const allowed = await keysIn(surroundings.host, ALLOWED);
  for (const { entry, step } of members) {
    const port = linkNameKey(step.dev);
    const what = [
      ...(guarded.has(text(port))
        ? []
        : [`port ${step.dev} in set ${GUARDED} of table bridge ${FILTER_TABLE}`]),
      ...(allowed.has(text(concatenated(port, macKey(step.mac))))
        ? []
        : [`port ${step.dev} in set ${ALLOWED} of table bridge ${FILTER_TABLE}`]),
    ];
    // The rule is the same for all.
    if (entry === first.entry && what.length === 0) what.push(...(await filter.verify(guardedPort(step))));
    if (what.length > 0) findings.push({ entry, step, what });
  }
  return findings;
}

async function missingPorts(
  members: readonly Wanted<PublishStep>[],
  surroundings: Surroundings,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const backend of ['nftables', 'iptables'] as const) {
    const own = members.filter(({ step }) => step.backend === backend);
    if (own.length === 0) continue;
    const lines = await (await surroundings.ports(backend)).missing(
      own.map(({ step }) => publicationOf(step)),
    );
    findings.push(...paired(own, lines));
  }
  return findings;
}

async function missingForward(
  members: readonly Wanted<ForwardStep>[],
  surroundings: Surroundings,
): Promise<Finding[]> {
  if (members.length === 0) return [];
  const rules = await surroundings.forward();
  return paired(members, await rules.missing(members.map(({ step }) => admissionOf(step))));
}

const paired = (members: readonly Wanted<Step>[], lines: readonly string[][]): Finding[] =>
  members
    .map(({ entry, step }, i) => ({ entry, step, what: lines[i] ?? [] }))
    .filter(({ what }) => what.length > 0);

const text = (key: Uint8Array) => Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');

async function keysIn(host: Namespace, set: string): Promise<Set<string>> {
  const [reply] = await host.send(
    tolerating(listElements({ family: 'bridge', table: FILTER_TABLE, set }), 'ENOENT', ...NO_NFTABLES),
  );
  return new Set((reply.ok ? reply.value : []).flatMap(({ key }) => (key ? [text(key)] : [])));
}
