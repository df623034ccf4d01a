/** Prediction and observation side by side: where they differ is where something is as nobody thought. */
import type { Answer, Observation, ObservedHop } from '../observe/request.ts';
import type { Hop, Outcome, Path, Tuple } from './hop.ts';
import { endWords, protocolNumber, tupleWords } from './packet.ts';
import type { Prediction } from './predict.ts';
import { placeWords } from './world.ts';

/** ` ` is not to be seen by any means, or comes after what was not; `✓` was seen; `✗` was seen otherwise, or not, where it should have been. */
export type Mark = ' ' | '✓' | '✗';

export interface ComparedHop {
  /** As predicted; of what was seen and not predicted, as observed. */
  hop: Hop;
  mark: Mark;
  /** How it differs. */
  remark?: string;
  /** What was seen besides: the kernel's own reason. */
  seen?: string;
}

export interface Comparison {
  there: readonly ComparedHop[];
  /** Empty where no answer was predicted nor seen. */
  back: readonly ComparedHop[];
  /** What happened in the end; `unknown` where nothing was there to watch. */
  outcome: Outcome;
  words: string;
  /** In words; empty where all was as predicted. */
  differences: readonly string[];
}

/**
 * What was seen says how it was with what nobody could know (a rule that takes every second packet): the prediction that fits it, if there
 * is one, and how the two compare.
 */
export function fitting(
  prediction: Prediction,
  observation: Observation,
  sent = true,
): { prediction: Prediction; comparison: Comparison } {
  const usual = { prediction, comparison: compare(prediction, observation, sent) };
  if (usual.comparison.differences.length === 0) return usual;
  for (const other of prediction.others ?? []) {
    const comparison = compare(other, observation, sent);
    if (comparison.differences.length === 0) return { prediction: other, comparison };
  }
  return usual;
}

/** @param sent whether a probe was sent: else packets were waited for, and none need come */
export function compare(prediction: Prediction, observation: Observation, sent = true): Comparison {
  const { there, back } = prediction;
  const seen = seenOutcome(there, observation, sent);
  const agreed = agree(prediction, seen.outcome) || toldByItsKernel(prediction, observation);
  // Without a packet there is nothing to compare, but for where it ends.
  const compared = (path: Path | undefined, way: 'there' | 'back'): ComparedHop[] =>
    side(path, observation, way, { agreed, masked: maskedEnds(there, sent) });
  const ways = { there: compared(there, 'there'), back: compared(back, 'back') };
  const hops = [...ways.there, ...ways.back].flatMap(({ hop, mark, remark }) =>
    mark === '✗' && remark !== undefined ? [`${placeWords(hop.place)}: ${hop.words}: ${remark}`] : [],
  );
  const ends = `predicted ${outcomeWords(prediction)}, seen ${seen.outcome}: ${seen.words}`;
  return { ...ways, ...seen, differences: agreed ? hops : [ends, ...hops] };
}

function outcomeWords({ there: { outcome }, back }: Prediction): string {
  return back === undefined || back.outcome === 'delivered' ? outcome : `${outcome}, but without an answer`;
}

/**
 * Ends that a rewritten source has: another port may be taken for it, by chance or because it is taken, and answers come to that one. What
 * others send comes from ports of theirs.
 */
function maskedEnds({ hops }: Path, sent: boolean): ReadonlySet<string> {
  const rewritten = hops.flatMap(({ tuple, rewritten }) =>
    rewritten !== undefined && rewritten.source !== tuple.source ? [rewritten] : [],
  );
  const first = sent ? [] : hops.slice(0, 1).map(({ tuple }) => tuple);
  return new Set([...first, ...rewritten].map(({ source, sourcePort }) => endWords(source, sourcePort)));
}

/** Nobody can see from here what becomes of a packet that has left, nor why no answer comes to what needs none. */
function agree({ there: { outcome }, back }: Prediction, seen: Outcome): boolean {
  if (seen === 'unknown' || outcome === 'unknown') return true;
  if (outcome === 'left') return seen !== 'lost' && seen !== 'dropped';
  if (outcome === 'rejected') return seen === 'rejected';
  if (outcome === 'dropped') return seen === 'lost' || seen === 'dropped';
  // Of a neighbour that does not answer, the sender is told in the end.
  if (outcome === 'lost') return seen !== 'delivered' && seen !== 'left';
  const answered = back === undefined || back.outcome === 'delivered';
  return (seen === 'delivered') === answered;
}

/** What a rule drops before it leaves, its sender is told of (but TCP, which tries again): nf_hook_slow answers EPERM. */
function toldByItsKernel({ there }: Prediction, { answer }: Observation): boolean {
  const [first, last] = [there.hops[0], there.hops.at(-1)];
  return (
    there.outcome === 'dropped' &&
    first?.place.namespace === last?.place.namespace &&
    answer.kind === 'refused' &&
    answer.errno === 'EPERM'
  );
}

function side(
  path: Path | undefined,
  observation: Observation,
  way: 'there' | 'back',
  { agreed, masked }: { agreed: boolean; masked: ReadonlySet<string> },
): ComparedHop[] {
  const observed = observation.hops.filter((hop) => hop.way === way);
  if (path === undefined || observed.length === 0)
    return (path?.hops ?? []).map((hop) => ({ hop, mark: ' ' }));
  const traced = new Set(observation.rules.map(({ place }) => place.namespace));
  const used = new Set<ObservedHop>();
  const pairs = path.hops.map((hop) => {
    const found = observed.find((one) => !used.has(one) && same(hop, one));
    if (found !== undefined) used.add(found);
    return { hop, found };
  });
  const lastSeen = pairs.findLastIndex(({ found }) => found !== undefined);
  let missed = false;
  const compared = pairs.map(({ hop, found }, i): ComparedHop => {
    if (found !== undefined) return paired(hop, found, way === 'back' ? masked : new Set());
    // Of all that was not seen the first is the finding; a rule between two things that were seen is one that did not decide.
    const expected =
      hop.kind === 'link' ? i > lastSeen : isRule(hop) && i < lastSeen && traced.has(hop.place.namespace);
    if (!expected || missed) return { hop, mark: ' ' };
    missed = true;
    return { hop, mark: '✗', remark: hop.kind === 'link' ? 'not seen here' : 'this rule did not decide' };
  });
  const others = unforeseen(observed, used, agreed);
  return [...compared.slice(0, lastSeen + 1), ...others, ...compared.slice(lastSeen + 1)];
}

function isRule(hop: Hop): boolean {
  return hop.kind === 'rule' && hop.handle !== undefined;
}

function same(hop: Hop, seen: Hop): boolean {
  if (hop.place.namespace !== seen.place.namespace) return false;
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
    case 'drop':
      return seen.kind === 'drop' || (seen.kind === 'deliver' && /^nobody listens/.test(hop.reason));
    case 'send':
      return seen.kind === 'send' && alike(seen.tuple, hop.tuple);
    case 'deliver':
      return seen.kind === 'deliver';
    default:
      return false;
  }
}

function paired(hop: Hop, found: Hop, masked: ReadonlySet<string>): ComparedHop {
  if (hop.kind === 'drop') return { hop, mark: '✓', ...(found.kind === 'drop' ? { seen: found.words } : {}) };
  const { destination, destinationPort, ...rest } = hop.tuple;
  const wanted = masked.has(endWords(destination, destinationPort)) ? { destination, ...rest } : hop.tuple;
  if (hop.kind !== 'link' || alike(wanted, found.tuple) || tellsOfError(hop, found))
    return { hop, mark: '✓' };
  return { hop, mark: '✗', remark: `seen as ${tupleWords(found.tuple)}, predicted ${tupleWords(hop.tuple)}` };
}

/** In the answer's place comes what a kernel on the way has to say of it. */
function tellsOfError({ tuple: { protocol } }: Hop, { tuple }: Hop): boolean {
  const isIcmp = (one: Tuple['protocol']) => [1, 58].includes(protocolNumber(one));
  return isIcmp(tuple.protocol) && !isIcmp(protocol);
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

/** What was seen and not predicted: where it was given up, and where it went on after all. Flooding brings it to places of no meaning. */
function unforeseen(
  observed: readonly ObservedHop[],
  used: ReadonlySet<ObservedHop>,
  agreed: boolean,
): ComparedHop[] {
  const rest = observed.filter((hop) => !used.has(hop));
  const ends = rest.filter((hop) => isDecision(hop) || hop.kind === 'drop');
  const gone = agreed || ends.length > 0 ? [] : rest.filter(({ kind }) => kind === 'link').slice(0, 1);
  return [
    ...ends.map((hop) => ({ hop, mark: '✗' as const, remark: 'not predicted' })),
    ...gone.map((hop) => ({ hop, mark: '✗' as const, remark: 'seen here, not predicted' })),
  ].filter(({ hop }) => !agreed || isDecision(hop));
}

function isDecision(hop: Hop): boolean {
  return hop.kind === 'rule' && /^(drop|reject)/.test(hop.verdict);
}

function seenOutcome(
  there: Path,
  observation: Observation,
  sent: boolean,
): { outcome: Outcome; words: string } {
  const { answer, hops, tuple } = observation;
  if (answer.kind !== 'none') return answered(answer);
  const went = hops.filter(({ way }) => way === 'there');
  const last = went.at(-1);
  if (last === undefined || tuple === undefined) {
    return sent
      ? { outcome: 'lost', words: 'no packet came to a link' }
      : { outcome: 'unknown', words: 'no such packet came by' };
  }
  const given = hops.findLast((hop) => hop.kind === 'drop' || isDecision(hop));
  const where = placeWords((given ?? last).place);
  if (given !== undefined) {
    const way = given.way === 'back' ? 'the answer is ' : '';
    const by = given.kind === 'drop' ? given.words : `by ${given.words}`;
    return { outcome: 'dropped', words: `${way}dropped in ${where}: ${by}` };
  }
  if (there.outcome === 'left' && last.kind === 'link' && last.direction === 'out')
    return { outcome: 'left', words: `seen last in ${where}, out through ${last.link}; no answer came` };
  const back = hops.findLast(({ way }) => way === 'back');
  if (back !== undefined)
    return { outcome: 'lost', words: `the answer was seen last in ${placeWords(back.place)}: ${back.words}` };
  const arrived = last.kind === 'deliver' || last.place.namespace === there.hops.at(-1)?.place.namespace;
  if (arrived && protocolNumber(tuple.protocol) === 17)
    return { outcome: 'delivered', words: `arrives in ${where}; no answer came, and UDP needs none` };
  return { outcome: 'lost', words: `seen last in ${where}: ${last.words}; no answer came` };
}

function answered(answer: Exclude<Answer, { kind: 'none' }>): { outcome: Outcome; words: string } {
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
