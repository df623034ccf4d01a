/** What a packet meets at one hook of netfilter: chains of all tables and families, connection tracking and translation, by priority. */
import type { Link } from '../../netlink/link.ts';
import type { Snapshot } from '../host/snapshot.ts';
import type { Chain, Table, TableFamily } from '../ruleset/model.ts';
import { type BaseChain, type ChainResult, runBaseChain } from './chains.ts';
import type { HookView } from './fields.ts';
import { asTranslated } from './nat.ts';
import { endWords, type Packet } from './packet.ts';
import { STATUS, track } from './tracking.ts';
import { drop, type End, pass, placeWords, type Walk } from './world.ts';

/** linux/netfilter_ipv4.h, enum nf_ip_hook_priorities. */
const PRIORITY = { conntrack: -200, destinationNat: -100, sourceNat: 100 } as const;

/** Something that looks at the packet, in its turn. */
interface Station {
  priority: number;
  visit(packet: Packet): ChainResult;
}

type BaseOf = Chain & { base: NonNullable<Chain['base']> };

/**
 * Lets a packet through one hook.
 * @param family `ip` and `ip6` are asked with `inet`, as the kernel does; `bridge` and `netdev` alone
 * @returns the packet as it goes on, or the end of its way
 */
export function runHook(
  walk: Walk,
  view: HookView,
  family: 'ip' | 'bridge' | 'netdev' = 'ip',
): { packet: Packet } | { end: End } {
  const stations = stationsAt(walk, view, family);
  let { packet } = view;
  for (const { visit } of stations) {
    const result = visit(packet);
    packet = result.packet;
    if (result.verdict === 'accept') continue;
    if (result.verdict === 'full') {
      const { words, why } = result;
      return { end: drop(walk, { namespace: view.snapshot.identity, packet }, words, why) };
    }
    const { words, verdict } = result;
    const place = placeWords(walk.world.placeOf(view.snapshot.identity));
    const why = lossWords(place, verdict, words, packet);
    if (verdict === 'queue') {
      walk.assumptions.add('the program behind the queue lets it through');
      continue;
    }
    // The rule is a hop already.
    const outcome = verdict === 'reject' ? 'rejected' : 'dropped';
    return { end: { at: 'end', namespace: view.snapshot.identity, packet, outcome, why } };
  }
  return { packet };
}

function lossWords(place: string, verdict: string, words: string, { tuple }: Packet): string {
  const end = endWords(tuple.destination, tuple.destinationPort);
  const does = verdict === 'reject' ? 'refuses it, and says so to the sender' : 'drops it silently';
  return `${place} ${does}: ${words} (packet to ${end}). Change that rule, or put one before it in its chain that accepts`;
}

function stationsAt(walk: Walk, view: HookView, family: 'ip' | 'bridge' | 'netdev'): Station[] {
  const chains = baseChains(view, familiesFor(view, family));
  const visit = (chain: BaseChain) => (packet: Packet) => runBaseChain(walk, chain, { ...view, packet });
  const plain = chains.filter(({ chain }) => chain.base?.type !== 'nat');
  const stations = plain.map((chain): Station => ({ priority: priorityOf(chain), visit: visit(chain) }));
  if (family !== 'ip') return sorted(stations);
  const { hook } = view;
  if (hook === 'prerouting' || hook === 'output')
    stations.push({ priority: PRIORITY.conntrack, visit: (packet) => tracking(walk, view, packet) });
  const nat = sorted(
    chains
      .filter(({ chain }) => chain.base?.type === 'nat')
      .map((chain) => ({ priority: priorityOf(chain), chain })),
  );
  if (hook !== 'forward' && hook !== 'ingress' && hook !== 'egress') {
    const end = hook === 'prerouting' || hook === 'output' ? 'destination' : 'source';
    stations.push({
      priority: end === 'destination' ? PRIORITY.destinationNat : PRIORITY.sourceNat,
      visit: (packet) =>
        translation(
          walk,
          { ...view, packet },
          end,
          nat.map(({ chain }) => chain),
        ),
    });
  }
  return sorted(stations);
}

function sorted<T extends { priority: number }>(all: readonly T[]): T[] {
  return [...all].sort((a, b) => a.priority - b.priority);
}

const priorityOf = ({ chain }: BaseChain): number => chain.base?.priority ?? 0;

function familiesFor({ packet, hook }: HookView, family: 'ip' | 'bridge' | 'netdev'): readonly TableFamily[] {
  if (family === 'netdev') return hook === 'ingress' ? ['netdev', 'inet'] : ['netdev'];
  if (family === 'bridge') return ['bridge'];
  return [packet.tuple.family === 4 ? 'ip' : 'ip6', 'inet'];
}

function baseChains({ snapshot, hook, iif, oif }: HookView, families: readonly TableFamily[]): BaseChain[] {
  const device: Link | undefined = hook === 'egress' ? oif : iif;
  const here = ({ base }: Chain): boolean =>
    base?.hook === hook && (base.devices === undefined || base.devices.includes(device?.name ?? ''));
  return snapshot.ruleset.tables
    .filter(({ family }) => families.includes(family))
    .flatMap((table: Table) => table.chains.filter(here).map((chain) => ({ table, chain: chain as BaseOf })))
    .reverse(); // Of equal priority the last that was made is asked first (netfilter/core.c, nf_hook_entries_grow).
}

/** Finds or begins the packet's conversation; of one that the kernel has already, it says so. */
function tracking(walk: Walk, { snapshot }: HookView, packet: Packet): ChainResult {
  const own = walk.tracked.get(snapshot.identity) ?? [];
  walk.tracked.set(snapshot.identity, own);
  const tracked = track(packet, own, snapshot);
  const entry = tracked.tracked?.entry;
  const full =
    packet.tracked === undefined && entry !== undefined && isNew(tracked)
      ? fullTable(walk, snapshot)
      : undefined;
  if (full !== undefined) return { verdict: 'full', packet: tracked, ...full };
  if (entry?.found && packet.tracked === undefined) {
    const { source, destination, sourcePort, destinationPort } = entry.reply;
    walk.notes.add(
      `a tracked connection of ${endWords(entry.original.source, entry.original.sourcePort)} to ${endWords(entry.original.destination, entry.original.destinationPort)} is known already: its packets go to ${endWords(source, sourcePort)} and its answers to ${endWords(destination, destinationPort)}, whatever the rules for addresses say now`,
    );
  }
  return { verdict: 'accept', packet: tracked };
}

function isNew({ tracked }: Packet): boolean {
  return tracked !== undefined && !tracked.entry.found && tracked.direction === 'original';
}

/** A new conversation needs room: where there is none, one that nobody has answered makes it, if there is such a one. */
function fullTable(walk: Walk, snapshot: Snapshot): { words: string; why: string } | undefined {
  const [count, most] = ['count', 'max'].map((name) =>
    snapshot.sysctls.get(`netfilter/nf_conntrack_${name}`),
  );
  if (count === undefined || most === undefined || most === 0 || count < most) return undefined;
  if (snapshot.connections.some(({ status }) => (status & STATUS.assured) === 0)) {
    walk.assumptions.add(
      `of ${count} tracked connections (at most ${most}) one that nobody has answered makes room`,
    );
    return undefined;
  }
  const words = `connection tracking is full: ${count} of ${most} connections`;
  const place = placeWords(walk.world.placeOf(snapshot.identity));
  return {
    words,
    why: `${place} drops every new connection silently, because ${words}: "sysctl -w net.netfilter.nf_conntrack_max=${2 * most}" on the machine, and see who opens so many ("weft nat")`,
  };
}

/** The first packet asks the rules, once for each end; all others are rewritten as that one was. */
function translation(
  walk: Walk,
  view: HookView,
  end: 'source' | 'destination',
  chains: readonly BaseChain[],
): ChainResult {
  let { packet } = view;
  const { tracked } = packet;
  if (tracked === undefined) return { verdict: 'accept', packet };
  if (tracked.direction === 'original' && !tracked.entry.asked[end]) {
    for (const chain of chains) {
      const result = runBaseChain(walk, chain, { ...view, packet });
      if (result.verdict !== 'accept') return result;
      packet = result.packet;
      if (tracked.entry.asked[end]) break;
    }
    tracked.entry.asked[end] = true;
    if (end === 'destination') noteOlder(walk, view, packet);
    return { verdict: 'accept', packet };
  }
  const after = asTranslated(packet, end);
  if (
    after.tuple.source !== packet.tuple.source ||
    after.tuple.destination !== packet.tuple.destination ||
    portsDiffer(after, packet)
  ) {
    const { tuple } = after;
    const to =
      end === 'destination'
        ? endWords(tuple.destination, tuple.destinationPort)
        : endWords(tuple.source, tuple.sourcePort);
    pass(walk, view.snapshot.identity, packet, `${end} becomes ${to}, as connection tracking has it`, {
      kind: 'translate',
      end,
      known: tracked.entry.found,
      rewritten: tuple,
    });
  }
  return { verdict: 'accept', packet: after };
}

function portsDiffer({ tuple: a }: Packet, { tuple: b }: Packet): boolean {
  return a.sourcePort !== b.sourcePort || a.destinationPort !== b.destinationPort;
}

/** Older conversations with the same destination that go elsewhere than a new one: what UDP's clients with a fixed port run into. */
function noteOlder(walk: Walk, { packet: { tuple: before }, snapshot }: HookView, { tuple }: Packet): void {
  if (before.protocol !== 'udp' || before.destinationPort === undefined) return;
  const older = snapshot.connections.filter(
    ({ original, reply }) =>
      original.protocol === 17 &&
      original.destination === before.destination &&
      original.destinationPort === before.destinationPort &&
      reply.source !== tuple.destination,
  );
  const [first] = older;
  if (first === undefined) return;
  const { original, reply } = first;
  walk.notes.add(
    `${older.length === 1 ? 'a tracked connection' : `${older.length} tracked connections`} to ${endWords(before.destination, before.destinationPort)} ` +
      `(from ${endWords(original.source, original.sourcePort)}) still ${older.length === 1 ? 'goes' : 'go'} to ${endWords(reply.source, reply.sourcePort)}, as the rules were when it began: ` +
      `"conntrack -D -p udp --orig-dst ${before.destination} --orig-port-dst ${before.destinationPort}" lets it begin anew`,
  );
}
