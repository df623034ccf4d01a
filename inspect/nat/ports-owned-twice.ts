/** Two owners of one port: the first of them in the kernel's order has it, whatever the other one believes. */
import { contains, parseEither } from '../../cni/prefix.ts';
import type { Finding } from '../finding.ts';
import { NOBODY } from '../owner.ts';
import { rangeOf } from './condition.ts';
import { inAddresses } from './live.ts';
import { entryWords, ownerWords, ruleWords, translationWords } from './translation.ts';
import type { NatEntry, NatView } from './view.ts';

/** An entry, its place in the kernel's order and whose it is. */
interface Claim {
  entry: NatEntry;
  place: number;
  owner: string;
}

export function portsOwnedTwice(view: NatView): Finding[] {
  const claims = view.entries.flatMap((entry, place): Claim[] => {
    const isPublished = (entry.kind === 'dnat' || entry.kind === 'redirect') && entry.ports.length > 0;
    const { who, network, containerId } = entry.owner;
    return isPublished ? [{ entry, place, owner: [who, network, containerId].join(' ') }] : [];
  });
  const wide = claims.filter(({ entry }) => entry.ports.some((port) => !/^\d+$/.test(port)));
  const findings = new Map<string, Finding>();
  const compare = (one: Claim, other: Claim): void => {
    const [winner, loser] = one.place < other.place ? [one, other] : [other, one];
    if (!isConflict(view, winner, loser)) return;
    const finding = conflict(winner.entry, loser.entry);
    findings.set(finding.what, finding);
  };
  for (const group of byPort(claims)) {
    for (const [i, one] of group.entries()) {
      for (let j = i + 1; j < group.length; j += 1) compare(one, group[j] ?? one);
      for (const other of wide) compare(one, other);
    }
  }
  return [...findings.values()];
}

function byPort(claims: readonly Claim[]): Iterable<readonly Claim[]> {
  const groups = new Map<string, Claim[]>();
  for (const claim of claims) {
    for (const port of claim.entry.ports) {
      const group = groups.get(port);
      if (group) group.push(claim);
      else groups.set(port, [claim]);
    }
  }
  return groups.values();
}

const target = ({ to }: NatEntry) => `${to?.address} ${to?.port}`;

function isConflict(view: NatView, winner: Claim, loser: Claim): boolean {
  const [a, b] = [winner.entry, loser.entry];
  const chain = a.rules[0]?.chain === b.rules[0]?.chain;
  if (winner === loser || (winner.owner === loser.owner && (a.owner.who !== NOBODY.who || !chain)))
    return false;
  const sameRule = chain && a.rules[0]?.text === b.rules[0]?.text && a.rules[0]?.table === b.rules[0]?.table;
  // A service has many targets, and somebody chooses.
  if (sameRule || a.chance || b.chance || target(a) === target(b)) return false;
  return (
    (a.family ?? b.family) === (b.family ?? a.family) &&
    shares(a.protocols, b.protocols) &&
    a.hooks.some((hook) => b.hooks.includes(hook)) &&
    shares(a.in, b.in) &&
    a.ports.some((one) => b.ports.some((other) => meet(one, other))) &&
    destinationsMeet(view, a, b)
  );
}

function shares(a: readonly string[], b: readonly string[]): boolean {
  return a.length === 0 || b.length === 0 || a.some((one) => b.includes(one));
}

function meet(one: string, other: string): boolean {
  const [a, b] = [rangeOf(one), rangeOf(other)];
  return a !== undefined && b !== undefined && a[0] <= b[1] && b[0] <= a[1];
}

/** Whether the winner takes something of the loser's. */
function destinationsMeet({ host }: NatView, winner: NatEntry, loser: NatEntry): boolean {
  const isOwn = (among: readonly string[]) =>
    host.addresses.some(({ address }) => inAddresses(among, address));
  if (winner.destinations.length > 0 && loser.destinations.length > 0) {
    return winner.destinations.some((one) => loser.destinations.some((other) => sameAddress(one, other)));
  }
  // An address of a service is none of the host's.
  if (winner.destinations.length > 0) return isOwn(winner.destinations);
  return loser.destinations.length === 0 || !winner.local || isOwn(loser.destinations);
}

function sameAddress(one: string, other: string): boolean {
  if (one === other) return true;
  const [a, b] = [parseEither(one), parseEither(other)];
  return a !== undefined && b !== undefined && (contains(a, b.address) || contains(b, a.address));
}

function conflict(winner: NatEntry, loser: NatEntry): Finding {
  const port = entryWords(loser);
  // Of one address only: at all others the loser is reached.
  const inPart = winner.destinations.length > 0 && loser.destinations.length === 0;
  const [won, lost] = [winner.rules[0], loser.rules[0]];
  return {
    code: 'port-owned-twice',
    severity: inPart ? 'warning' : 'error',
    what: `${port} has two owners: ${ownerWords(winner.owner)} and ${ownerWords(loser.owner)}`,
    why:
      `"${translationWords(winner)}" of ${won ? ruleWords(won) : '?'} comes first, so nobody ${inPart ? `who asks for ${winner.destinations.join(' ')} ` : ''}reaches ` +
      `"${translationWords(loser)}" of ${lost ? ruleWords(lost) : '?'}`,
    mend: [],
    safe: false,
    subject: port,
  };
}
