/** `weft trace` */
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Observation } from '../../inspect/observe/request.ts';
import type { Comparison } from '../../inspect/path/compare.ts';
import type { Prediction } from '../../inspect/path/predict.ts';
import type { Question } from '../../inspect/path/world.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { lines } from '../table.ts';
import { parseDestination } from './parse.ts';
import { questionFor } from './question.ts';
import { comparisonLines, type Paint, predictionLines } from './view.ts';

export interface TraceFlags {
  predictOnly?: boolean;
  watch?: boolean;
  seconds?: number;
  ipv6?: boolean;
  json?: boolean;
  pcap?: string;
  svg?: string;
  host?: readonly (readonly [string, string])[];
  sourcePort?: number;
  size?: number;
}

/** What is known in the end. */
interface Traced {
  question: Question;
  prediction: Prediction;
  /** Absent where nothing was sent or watched. */
  observation?: Observation;
  comparison?: Comparison;
}

export async function trace(
  this: WeftContext,
  flags: TraceFlags,
  from: string,
  to: string,
): Promise<Error | undefined> {
  const { terminal } = this;
  const traced = await run(this, flags, from, to);
  const { observation } = traced;
  if (flags.json) terminal.out(`${asJson(traced)}\n`);
  else {
    const { default: colours } = await import('picocolors');
    terminal.out(lines(...screen(traced, colours.createColors(terminal.color))));
  }
  // What was found out is told, whatever becomes of the files.
  if (flags.pcap !== undefined) write(flags.pcap, await pcapOf(observation));
  if (flags.svg !== undefined) {
    const { traceSvg } = await import('./svg.ts');
    write(flags.svg, traceSvg(`${from} → ${to}`, traced.prediction, traced.comparison));
  }
  return verdict(traced);
}

function write(file: string, content: string | Uint8Array): void {
  try {
    writeFileSync(file, content, typeof content === 'string' ? {} : { mode: 0o600 });
  } catch (error) {
    throw new CniError(ErrorCode.io, `cannot write ${file}`, (error as Error).message);
  }
}

async function run(
  { ambient, terminal }: WeftContext,
  flags: TraceFlags,
  from: string,
  to: string,
): Promise<Traced> {
  const wanted = {
    ...{ from, to: parseDestination(to) },
    ...(flags.ipv6 ? { family: 6 as const } : {}),
    // Another for each probe: of a port that was used a moment ago, connection tracking still knows where it went.
    ...(flags.sourcePort === undefined && !flags.predictOnly
      ? { sourcePort: randomInt(32_768, 60_999) }
      : {}),
    ...(flags.sourcePort === undefined ? {} : { sourcePort: flags.sourcePort }),
    ...(flags.size === undefined ? {} : { size: flags.size }),
  };
  if (flags.watch && flags.predictOnly)
    throw new UsageError('--watch looks at packets, --predict-only does not: give one of them');
  if (flags.pcap !== undefined && flags.predictOnly)
    throw new UsageError('--pcap keeps packets that were seen, --predict-only sends none: give one of them');
  if (process.geteuid?.() !== 0)
    throw new CniError(ErrorCode.kernel, 'weft trace needs root, to look into network namespaces');
  const [{ gather }, { listContainers }, { readRuleset }, { openDoor }] = await Promise.all([
    import('../../inspect/path/gather.ts'),
    import('../../inspect/containers.ts'),
    import('../../inspect/ruleset/read.ts'),
    import('../../netlink/namespace.ts'),
  ]);
  const door = openDoor(() => true);
  const gathered = await gather({
    door,
    readRuleset: (ns) => readRuleset(ns, ambient),
    hosts: new Map(flags.host),
    containers: (namespaces) => listContainers(ambient.paths.cacheDir, namespaces),
  });
  const question = await questionFor(gathered, wanted);
  const prediction = await gathered.predict(question);
  if (flags.predictOnly) return { question, prediction };
  if (question.link !== undefined && !flags.watch) {
    terminal.err(
      'nothing is sent: whoever is outside is not on this machine (--watch looks at what comes from there)\n',
    );
    return { question, prediction };
  }
  const [{ look }, { fitting }] = await Promise.all([
    import('./look.ts'),
    import('../../inspect/path/compare.ts'),
  ]);
  const watch = flags.watch === true;
  const seconds = flags.seconds ?? (watch ? 30 : 4);
  const observation = await look(gathered, question, prediction, { watch, seconds }, { door, terminal });
  return { question, observation, ...fitting(prediction, observation, !watch) };
}

async function pcapOf(observation: Observation | undefined): Promise<Uint8Array> {
  if (observation === undefined)
    throw new UsageError('--pcap keeps packets that were seen, and none was looked at');
  const { pcapng } = await import('../../inspect/observe/pcapng.ts');
  return pcapng(observation.packets, 256);
}

function screen({ prediction, observation, comparison }: Traced, paint: Paint): string[] {
  if (observation === undefined || comparison === undefined) return predictionLines(prediction, paint);
  return comparisonLines(prediction, comparison, observation.notSeen, paint);
}

/** Without the packets' bytes: those are for --pcap. */
function asJson({ question, prediction, observation, comparison }: Traced): string {
  const { packets: _, ...seen } = observation ?? { packets: [] };
  const { others: _others, ...taken } = prediction;
  const whole = {
    question,
    ...taken,
    ...(observation === undefined ? {} : { observation: seen, comparison }),
  };
  return JSON.stringify(
    whole,
    (_, value) =>
      typeof value === 'bigint' ? value.toString() : value instanceof Uint8Array ? undefined : value,
    2,
  );
}

/** What was seen counts more than what was predicted. */
function verdict({ prediction: { there, back }, comparison }: Traced): Error | undefined {
  const isGood = (outcome: string) => outcome === 'delivered' || outcome === 'left';
  if (comparison !== undefined && comparison.outcome !== 'unknown') {
    if (isGood(comparison.outcome)) return undefined;
    return new CniError(
      ErrorCode.limitedConnectivity,
      `the packet does not get through: ${comparison.words}`,
    );
  }
  if (!isGood(there.outcome))
    return new CniError(ErrorCode.limitedConnectivity, 'the packet does not arrive');
  if (back !== undefined && !isGood(back.outcome))
    return new CniError(ErrorCode.limitedConnectivity, 'the packet arrives, but its answer does not');
  return undefined;
}
