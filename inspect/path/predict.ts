/** Predicts a packet's way and its answer's. Pure: from what was read of the kernels, to hops and an end. */

import { narrowPlaces } from './fit.ts';
import type { Path } from './hop.ts';
import { receive, transmit } from './layer2.ts';
import { input, send } from './layer3.ts';
import { type Packet, reversed, sameTuple, tupleWords } from './packet.ts';
import type { Tracked } from './tracking.ts';
import {
  drop,
  type End,
  linkByIndex,
  placeWords,
  type Question,
  type Step,
  type Walk,
  type World,
} from './world.ts';

export interface Prediction {
  /** The packet's way. */
  there: Path;
  /** The answer's, where the packet is delivered, or leaves to somebody who is taken to answer. */
  back?: Path;
  /** What would be if one of the things that nobody can know were the other way round, where it would end otherwise. */
  others?: readonly Prediction[];
}

/** A namespace has to be read first: its identity. */
export interface Needed {
  needs: string;
}

/** More than any way has; a routing loop has more. */
const MOST_STEPS = 200;
/** So many of the things that nobody can know are tried the other way round. */
const MOST_BRANCHES = 6;

export function predict(world: World, question: Question): Prediction | Needed {
  const usual = follow(world, question, new Map());
  if ('needs' in usual) return usual;
  const notes: string[] = [];
  const others: Prediction[] = [];
  for (const [what, taken] of [...usual.decisions].slice(0, MOST_BRANCHES)) {
    const other = follow(world, question, new Map([[what, !taken]]));
    if ('needs' in other) return other;
    const [was, is] = [verdict(usual.prediction), verdict(other.prediction)];
    if (was === is) continue;
    const [yes, no] = taken ? ['matches', 'does not match'] : ['does not match', 'matches'];
    notes.push(`if ${what} ${no} after all: ${is}`);
    const { there, back } = other.prediction;
    const told = { ...there, notes: [...there.notes, `if ${what} ${yes} after all: ${was}`] };
    others.push({ there: told, ...(back && { back }) });
  }
  const { there } = usual.prediction;
  const whole = { ...usual.prediction, there: { ...there, notes: [...there.notes, ...notes] } };
  return others.length === 0 ? whole : { ...whole, others };
}

function verdict({ there, back }: Prediction): string {
  if (there.outcome !== 'delivered' && there.outcome !== 'left') return there.why;
  return back === undefined || back.outcome === 'delivered'
    ? there.why
    : `${there.why}, but the answer: ${back.why}`;
}

type Decisions = Map<string, boolean>;

/** One run, with some of the undecidable answered in advance. */
function follow(
  world: World,
  question: Question,
  given: ReadonlyMap<string, boolean>,
): { prediction: Prediction; decisions: Decisions } | Needed {
  const decisions: Decisions = new Map();
  const tracked = new Map<string, Tracked[]>();
  const newWalk = (): Walk => {
    const walk: Walk = {
      ...{ world, question, tracked, hops: [], assumptions: new Set(), notes: new Set() },
      decide(what, usual) {
        const answer = given.get(what) ?? usual;
        decisions.set(what, answer);
        walk.assumptions.add(`${what} ${answer ? 'matches' : 'does not match'}`);
        return answer;
      },
    };
    return walk;
  };
  const walk = newWalk();
  const first = beginning(world, question);
  if ('needs' in first) return first;
  const end = run(walk, first);
  if ('needs' in end) return end;
  for (const note of narrowPlaces(walk)) walk.notes.add(note);
  const there = pathOf(walk, end);
  const answer = answerTo(world, end);
  if (answer === undefined) return { prediction: { there }, decisions };
  const backWalk = newWalk();
  // Where the question was asked is where its answer is meant to end.
  const backEnd = run(backWalk, answer);
  if ('needs' in backEnd) return backEnd;
  const back = pathOf(backWalk, judged(backWalk, walk, question, backEnd));
  return { prediction: { there, back }, decisions };
}

function beginning(world: World, { namespace, link, tuple, length, dontFragment }: Question): Step | Needed {
  const packet: Packet = {
    ...{ tuple: { ...tuple, source: tuple.source ?? '' }, mark: 0, length, dontFragment },
    ...{ part: 'request', frame: {} },
  };
  if (link === undefined) return { at: 'send', namespace, packet };
  const snapshot = world.snapshots.get(namespace);
  if (snapshot === undefined) return { needs: namespace };
  const through = linkByIndex(snapshot, link);
  if (through === undefined) throw new Error(`want link ${link} of ${namespace}, found none`);
  return {
    at: 'receive',
    namespace,
    link: through,
    packet: { ...packet, frame: { destination: through.mac } },
  };
}

function run(walk: Walk, first: Step): End | Needed {
  let step = first;
  for (let count = 0; step.at !== 'end'; count += 1) {
    const snapshot = walk.world.snapshots.get(step.namespace);
    if (snapshot === undefined) return { needs: step.namespace };
    if (count >= MOST_STEPS) return loop(walk, step);
    for (const what of snapshot.ruleset.unread)
      walk.assumptions.add(
        `nothing in what could not be read of ${placeWords(walk.world.placeOf(step.namespace))} matters: ${what}`,
      );
    if (step.at === 'send') step = send(walk, snapshot, step.packet);
    else if (step.at === 'transmit') step = transmit(walk, step);
    else if (step.at === 'receive') step = receive(walk, step);
    else step = input(walk, snapshot, step.link, step.packet);
  }
  return step;
}

function loop(walk: Walk, { namespace, packet }: Exclude<Step, End>): End {
  const why = 'the packet goes in circles until its time to live ends: two hosts route it to each other';
  return drop(walk, { namespace, packet }, 'routing loop', why, { outcome: 'lost' });
}

function pathOf({ hops, assumptions, notes }: Walk, { outcome, why }: End): Path {
  return { hops, outcome, why, assumptions: [...assumptions], notes: [...notes] };
}

/** The answer starts where the packet ended: from there, or, where it has left, in by the link that it left through. */
function answerTo(world: World, { outcome, namespace, packet, left }: End): Step | undefined {
  const answer: Packet = {
    ...{ tuple: reversed(packet.tuple), mark: 0, length: packet.length, dontFragment: packet.dontFragment },
    ...{ part: 'answer', frame: {} },
  };
  if (outcome === 'delivered') return { at: 'send', namespace, packet: answer };
  if (outcome !== 'left' || left === undefined) return undefined;
  const { carried } = packet;
  // What leaves in a tunnel is answered in one.
  const back: Packet =
    carried === undefined
      ? answer
      : { ...answer, carried: { vni: carried.vni, packet: insideAnswer(carried.packet) } };
  const link =
    linkByIndex(world.sketches.get(namespace) ?? ({ links: [] } as never), left.link.index) ?? left.link;
  return { at: 'receive', namespace, link, packet: { ...back, frame: { destination: link.mac } } };
}

function insideAnswer(packet: Packet): Packet {
  const { source, destination } = packet.frame;
  return {
    ...packet,
    tuple: reversed(packet.tuple),
    part: 'answer',
    frame: { source: destination, destination: source },
  };
}

/** Whether the answer is what the sender waits for: at its place, and from the address it has spoken to. */
function judged(walk: Walk, there: Walk, question: Question, end: End): End {
  const asked = there.hops[0]?.tuple;
  if (asked === undefined) return end;
  const outside = question.link !== undefined;
  const home = outside ? end.outcome === 'left' || end.outcome === 'delivered' : end.outcome === 'delivered';
  if (!home) return { ...end, why: `${end.why}${unmasked(walk, there, end)}` };
  const { namespace, packet } = end;
  if (!sameTuple(packet.tuple, reversed(asked))) {
    const [want, found] = [tupleWords(reversed(asked)), tupleWords(packet.tuple)];
    const why = `the answer comes back as ${found}, but the sender waits for ${want} and refuses it: the way back does not pass the host that rewrote the addresses, or its connection tracking`;
    return drop(walk, { namespace, packet }, `the answer is not recognised: ${found}`, why, {
      outcome: 'lost',
    });
  }
  if (outside) return { ...end, outcome: 'delivered', why: 'the answer leaves towards who asked' };
  if (namespace === question.namespace) return end;
  const [wrong, right] = [namespace, question.namespace].map((one) => placeWords(walk.world.placeOf(one)));
  const why = `the answer ends at ${wrong} and not at ${right}, which asked: an address is there twice`;
  return drop(walk, { namespace, packet }, `the answer arrives at ${wrong}`, why, { outcome: 'lost' });
}

/** Why nobody there knows the way back: they were spoken to by an address that is only known here. */
function unmasked({ world }: Walk, { hops }: Walk, { namespace, packet, outcome }: End): string {
  const [first, last] = [hops[0], hops.at(-1)];
  if (outcome === 'dropped' || last?.place.namespace !== namespace || first === undefined) return '';
  if (packet.tuple.destination !== first.tuple.source || first.place.namespace === namespace) return '';
  // A container that does not know its way out lacks a route, whoever asked it.
  if (world.placeOf(namespace).container !== undefined && first.place.container === undefined) return '';
  const known = placeWords(world.placeOf(namespace));
  return `. ${first.tuple.source} was not masqueraded on its way, and ${known} does not know where it is: masquerade the network (ipMasq), or give ${known} a route to it`;
}
