/** The half of `weft trace` that looks: which namespaces, what is sent, and for how long. */
import process from 'node:process';
import { type Observation, type ObserveRequest, observe } from '../../inspect/observe/observe.ts';
import type { Site } from '../../inspect/observe/request.ts';
import type { Gathered } from '../../inspect/path/gather.ts';
import type { Tuple } from '../../inspect/path/hop.ts';
import { sameTuple } from '../../inspect/path/packet.ts';
import type { Prediction } from '../../inspect/path/predict.ts';
import type { Question } from '../../inspect/path/world.ts';
import type { Door } from '../../netlink/door.ts';
import type { Terminal } from '../terminal.ts';

export interface LookOptions {
  /** Watch what others send instead of sending something. */
  watch: boolean;
  seconds: number;
}

/** Sends a probe, or watches, in all namespaces that the prediction comes through. Ends early at SIGINT or SIGTERM. */
export async function look(
  gathered: Gathered,
  question: Question,
  prediction: Prediction,
  { watch, seconds }: LookOptions,
  { door, terminal }: { door: Door; terminal: Terminal },
): Promise<Observation> {
  const ways = [prediction, ...(prediction.others ?? [])];
  const sites = await sitesOf(gathered, question, ways);
  const sender = watch ? undefined : sites.find(({ place }) => place.namespace === question.namespace);
  const { sourcePort: _, ...anyPort } = question.tuple;
  const request: ObserveRequest = {
    tuple: watch ? anyPort : question.tuple,
    rewritten: rewrittenTuples(ways),
    sites,
    ...(sender === undefined ? {} : { sender, size: question.length }),
    seconds,
  };
  // Not before: what somebody sends at this word is to be seen.
  const ready = () => {
    if (watch) terminal.err(`watching for ${seconds} seconds (Ctrl-C ends it)\n`);
  };
  const ended = new AbortController();
  const restore = terminal.onInterrupt(() => ended.abort());
  try {
    return await observe(request, { door, pid: process.pid, signal: ended.signal, ready });
  } finally {
    restore();
  }
}

/** Where the packet is expected, this host, and where it is meant to arrive. */
async function sitesOf(
  { here, placeOf, snapshot, namespaces }: Gathered,
  question: Question,
  ways: readonly Prediction[],
): Promise<Site[]> {
  const hops = ways.flatMap(({ there, back }) => [...there.hops, ...(back?.hops ?? [])]);
  const passed = hops.map(({ place }) => place.namespace);
  const wanted = new Set([
    question.namespace,
    ...passed,
    here,
    ...(question.target === undefined ? [] : [question.target]),
  ]);
  const sites: Site[] = [];
  for (const identity of wanted) {
    const path = namespaces.get(identity)?.path;
    if (path === undefined) continue;
    const { ruleset } = await snapshot(identity);
    sites.push({ place: placeOf(identity), path, ruleset });
  }
  return sites;
}

/** What the packet is made of on its way; of a tunnel only what it carries. */
function rewrittenTuples(ways: readonly Prediction[]): Tuple[] {
  const hops = ways.flatMap(({ there }) => there.hops);
  const all = hops.flatMap(({ rewritten }) => (rewritten === undefined ? [] : [rewritten]));
  return all.filter((tuple, i) => all.findIndex((one) => sameTuple(one, tuple)) === i);
}
