/** Prediction and observation side by side: where they differ is where something is as nobody thought. */
import type { Answer, Observation, ObservedHop } from '../observe/request.ts';
import type { Hop, Path, Tuple } from './hop.ts';
import { protocolNumber, tupleWords } from './packet.ts';
import type { Prediction } from './predict.ts';
import { placeWords } from './world.ts';

/** ` ` is not to be seen by any means; `✓` was seen; `✗` was seen otherwise, or not where it should have been; `?` comes after that. */
export type Mark = ' ' | '✓' | '✗' | '?';

export interface ComparedHop {
  /** As predicted; of what was seen and not predicted, as observed. */
  hop: Hop;
  mark: Mark;
  remark?: string;
}

export interface Comparison {
  there: readonly ComparedHop[];
  back: readonly ComparedHop[];
  /** What happened in the end. */
  outcome: Path['outcome'];
  words: string;
  /** In words; empty where all was as predicted. */
  differences: readonly string[];
}

type Way = 'there' | 'back';

export function compare({ there, back }: Prediction, observation: Observation): Comparison {
  const ways = { there: side(there, observation, 'there'), back: side(back, observation, 'back') };
  const seen = seenOutcome(there, observation);
  const differences = [...ways.there, ...ways.back].flatMap(({ hop, mark, remark }) =>
    mark === '✗' && remark !== undefined ? [`${placeWords(hop.place)}: ${hop.words}: ${remark}`] : [],
  );
  const predicted = there.outcome;
  const agrees = agree(predicted, back, seen.outcome);
  return {
    ...ways,
    ...seen,
    differences: agrees
      ? differences
      : [`predicted ${outcomeWords(there, back)}, seen ${seen.outcome}: ${seen.words}`, ...differences],
  };
}

function outcomeWords({ outcome }: Path, back: Path | undefined): string {
  return back === undefined || back.outcome === 'delivered' ? outcome : `${outcome} without an answer`;
}

/** Nobody can see from here what becomes of a packet that has left, nor why no answer comes to what needs none. */
function agree(predicted: Path['outcome'], back: Path | undefined, seen: Path['outcome']): boolean {
  if (seen === 'unknown' || predicted === 'unknown') return true;
  if (predicted === 'left') return seen === 'left' || seen === 'delivered' || seen === 'rejected';
  const good = predicted === 'delivered' && (back === undefined || back.outcome === 'delivered');
  if (predicted === 'delivered' && !good) return seen !== 'delivered';
  if (predicted === 'delivered') return seen === 'delivered';
  if (predicted === 'rejected') return seen === 'rejected';
  return seen === 'lost' || seen === 'dropped';
}

function side(path: Path | undefined, observation: Observation, way: Way): ComparedHop[] {
  const observed = observation.hops.filter((hop) => hop.way === way);
  if (path === undefined) return observed.filter(isDecision).map((hop) => ({ hop, mark: '✓' }));
  const used = new Set<ObservedHop>();
  const lastSeen = path.hops.findLastIndex((hop) => find(hop, observed, new Set()) !== undefined);
  const traced = new Set(observation.rules.map(({ place }) => place.namespace));
  const compared = path.hops.map((hop, i): ComparedHop => {
    const found = find(hop, observed, used);
    if (found !== undefined) {
      used.add(found);
      return withTuple(hop, found);
    }
    if (!visible(hop, traced))
      return { hop, mark: i > lastSeen && hop.kind !== 'drop' && hop.kind !== 'deliver' ? ' ' : ' ' };
    return { hop, mark: '?' };
  });
  return [
    ...firstMissing(compared, lastSeen, observed.length > 0 || way === 'there'),
    ...unforeseen(observed, used, path),
  ];
}

/** Of all that was not seen only the first is a finding: the rest follows from it. */
function firstMissing(compared: readonly ComparedHop[], lastSeen: number, any: boolean): ComparedHop[] {
  let found = false;
  return compared.map((one, i) => {
    if (one.mark !== '?' || found || !any) return one;
    // A rule that was not met between two things that were is one that the packet went around.
    if (i < lastSeen && one.hop.kind !== 'rule') return { ...one, mark: ' ' };
    found = true;
    return {
      ...one,
      mark: '✗',
      remark: one.hop.kind === 'rule' ? 'this rule did not decide' : 'not seen here',
    };
  });
}

function find(
  hop: Hop,
  observed: readonly ObservedHop[],
  used: ReadonlySet<ObservedHop>,
): ObservedHop | undefined {
  return observed.find(
    (one) => !used.has(one) && one.place.namespace === hop.place.namespace && same(hop, one),
  );
}

function same(hop: Hop, seen: Hop): boolean {
  switch (hop.kind) {
    case 'link':
      return seen.kind === 'link' && seen.link === hop.link && seen.direction === hop.direction;
    case 'rule':
      return (
        seen.kind === 'rule' &&
        seen.table === hop.table &&
        seen.chain === hop.chain &&
        (hop.handle === undefined || seen.handle === undefined
          ? seen.text === hop.text
          : seen.handle === hop.handle)
      );
    case 'bridge':
      // To the host itself: the bridge is then the link that it comes in by.
      return seen.kind === 'bridge'
        ? seen.bridge === hop.bridge && seen.in === hop.in && seen.out === hop.out
        : seen.kind === 'link' &&
            hop.out === hop.bridge &&
            seen.link === hop.bridge &&
            seen.direction === 'in';
    case 'tunnel':
      return (
        seen.kind === 'tunnel' && seen.vni === hop.vni && seen.outer.destination === hop.outer.destination
      );
    case 'translate':
      return (
        seen.rewritten !== undefined && hop.rewritten !== undefined && alike(seen.rewritten, hop.rewritten)
      );
    default:
      return false;
  }
}

/** Whether there is a means to see such a thing. */
function visible(hop: Hop, traced: ReadonlySet<string>): boolean {
  if (hop.kind === 'link') return true;
  return hop.kind === 'rule' && hop.handle !== undefined && traced.has(hop.place.namespace);
}

function withTuple(hop: Hop, found: Hop): ComparedHop {
  if (hop.kind !== 'link' || alike(hop.tuple, found.tuple)) return { hop, mark: '✓' };
  return { hop, mark: '✗', remark: `seen as ${tupleWords(found.tuple)}, predicted ${tupleWords(hop.tuple)}` };
}

/** But for the source port, which masquerade may change, and a tunnel chooses. */
function alike(a: Tuple, b: Tuple): boolean {
  return (
    a.source === b.source &&
    a.destination === b.destination &&
    protocolNumber(a.protocol) === protocolNumber(b.protocol) &&
    (a.destinationPort === b.destinationPort ||
      a.destinationPort === undefined ||
      b.destinationPort === undefined)
  );
}

function isDecision(hop: Hop): boolean {
  return hop.kind === 'rule' && /^(drop|reject)/.test(hop.verdict);
}

/** What was seen and not predicted: rules that gave the packet up, and links where it came after all. */
function unforeseen(
  observed: readonly ObservedHop[],
  used: ReadonlySet<ObservedHop>,
  path: Path,
): ComparedHop[] {
  return observed
    .filter((hop) => !used.has(hop))
    .filter(
      (hop) =>
        isDecision(hop) &&
        !path.hops.some(
          (one) =>
            one.kind === 'rule' &&
            one.verdict === 'drop' &&
            one.place.namespace === hop.place.namespace &&
            one.chain === ('chain' in hop ? hop.chain : ''),
        ),
    )
    .map((hop) => ({ hop, mark: '✗' as const, remark: 'not predicted' }));
}

function seenOutcome(
  there: Path,
  { answer, hops, tuple }: Observation,
): { outcome: Path['outcome']; words: string } {
  if (tuple === undefined && answer.kind !== 'refused')
    return { outcome: 'unknown', words: 'no packet was seen' };
  if (answer.kind !== 'none') return answered(answer);
  const went = hops.filter(({ way }) => way === 'there');
  const last = went.at(-1);
  const goal = there.hops.at(-1)?.place.namespace;
  const dropped = went.find(isDecision);
  if (dropped !== undefined) return { outcome: 'dropped', words: `dropped: ${dropped.words}` };
  const where = last === undefined ? 'nowhere' : `in ${placeWords(last.place)}`;
  const arrived = last?.place.namespace === goal && last?.kind === 'link' && last.direction === 'in';
  if (there.outcome === 'left' && last?.kind === 'link' && last.direction === 'out')
    return { outcome: 'left', words: `seen last ${where}, out through ${last.link}; no answer came` };
  const needsNone = tuple !== undefined && protocolNumber(tuple.protocol) === 17;
  if (arrived && needsNone)
    return { outcome: 'delivered', words: `arrives ${where}; no answer came, and UDP needs none` };
  return {
    outcome: 'lost',
    words: `seen last ${where}${last === undefined ? '' : `: ${last.words}`}; no answer came`,
  };
}

function answered(answer: Exclude<Answer, { kind: 'none' }>): { outcome: Path['outcome']; words: string } {
  switch (answer.kind) {
    case 'refused':
      return { outcome: 'rejected', words: `the sender's own kernel refuses: ${answer.errno}` };
    case 'icmp':
      return { outcome: 'rejected', words: `${answer.from} answers: ${answer.words}` };
    case 'rst':
      return {
        outcome: 'rejected',
        words: `${answer.from} answers with a reset after ${milliseconds(answer.microseconds)}`,
      };
    default: {
      const what = answer.kind === 'syn-ack' ? 'accepts the connection' : 'answers';
      return {
        outcome: 'delivered',
        words: `${answer.from} ${what} after ${milliseconds(answer.microseconds)}`,
      };
    }
  }
}

function milliseconds(microseconds: number): string {
  return `${(microseconds / 1000).toFixed(microseconds < 10_000 ? 2 : 0)} ms`;
}
