/** Two owners of one port: the first of them in the kernel's order has it, whatever the other one believes. */
import { contains, parseEither } from '../../cni/prefix.ts';
import type { Finding } from '../finding.ts';
import { rangeOf } from './condition.ts';
import { inAddresses } from './live.ts';
import { entryWords, ownerWords, ruleWords, translationWords } from './translation.ts';
import type { NatEntry, NatView } from './view.ts';

export function portsOwnedTwice(view: NatView): Finding[] {
  const published = view.entries.filter(
    ({ kind, ports }) => (kind === 'dnat' || kind === 'redirect') && ports.length > 0,
  );
  const buckets = new Map<string, NatEntry[]>();
  const wide = published.filter(({ ports }) => ports.some((port) => !/^\d+$/.test(port)));
  for (const entry of published) {
    for (const port of entry.ports) buckets.set(port, [...(buckets.get(port) ?? []), entry]);
  }
  const findings = new Map<string, Finding>();
  for (const group of buckets.values()) {
    for (const [i, first] of group.entries()) {
      for (const second of [...group.slice(i + 1), ...wide]) {
        if (isConflict(view, first, second)) {
          const [winner, loser] =
            view.entries.indexOf(first) < view.entries.indexOf(second) ? [first, second] : [second, first];
          const finding = conflict(winner, loser);
          findings.set(finding.what, finding);
        }
      }
    }
  }
  return [...findings.values()];
}

const owner = ({ owner: { who, network, containerId } }: NatEntry) => [who, network, containerId].join(' ');
const target = ({ to }: NatEntry) => `${to?.address} ${to?.port}`;

function isConflict(view: NatView, a: NatEntry, b: NatEntry): boolean {
  const sameRule = a.rules[0]?.text === b.rules[0]?.text && a.rules[0]?.table === b.rules[0]?.table;
  // A service has many targets, and somebody chooses.
  if (a === b || sameRule || a.chance || b.chance || target(a) === target(b)) return false;
  if (owner(a) === owner(b) && (a.owner.who !== 'somebody else' || a.rules[0]?.chain !== b.rules[0]?.chain))
    return false;
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

function destinationsMeet({ host }: NatView, a: NatEntry, b: NatEntry): boolean {
  if (a.destinations.length > 0 && b.destinations.length > 0) {
    return a.destinations.some((one) => b.destinations.some((other) => sameAddress(one, other)));
  }
  const named = [...a.destinations, ...b.destinations];
  // An address of a service is none of the host's.
  return (
    named.length === 0 ||
    !(a.local || b.local) ||
    host.addresses.some(({ address }) => inAddresses(named, address))
  );
}

function sameAddress(one: string, other: string): boolean {
  if (one === other) return true;
  const [a, b] = [parseEither(one), parseEither(other)];
  return a !== undefined && b !== undefined && (contains(a, b.address) || contains(b, a.address));
}

function conflict(winner: NatEntry, loser: NatEntry): Finding {
  const port = entryWords(loser);
  const [won, lost] = [winner.rules[0], loser.rules[0]];
  return {
    code: 'port-owned-twice',
    severity: 'error',
    what: `${port} has two owners: ${ownerWords(winner.owner)} and ${ownerWords(loser.owner)}`,
    why:
      `"${translationWords(winner)}" of ${won ? ruleWords(won) : '?'} comes first, so nobody reaches ` +
      `"${translationWords(loser)}" of ${lost ? ruleWords(lost) : '?'}`,
    mend: [],
    safe: false,
    subject: port,
  };
}
