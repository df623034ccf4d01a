/** From the events of one request to what it spent its time on, one thing after the other. */
import { type Share, stepsOf } from './steps.ts';
import type { TraceEvent } from './trace.ts';

export interface Phase {
  what: string;
  share: Share;
  /** Microseconds. */
  took: number;
  /** Events traced meanwhile: each has its price. */
  events: number;
}

/**
 * Phases of one request, in order; they add up to the whole. Undefined when the events do not tell (another request came in between).
 * @param start microseconds: when the caller started the launcher, and when it had waited for it
 */
export function phasesOf(
  events: readonly TraceEvent[],
  agent: number,
  start: number,
  end: number,
): Phase[] | undefined {
  const within = events.filter((event) => event.end >= start && event.start <= end);
  const launcher = within.find(({ kind }) => kind === 'exec')?.pid;
  const first = (kind: TraceEvent['kind'], after: number, pid: number | undefined) =>
    within.find((event) => event.kind === kind && event.start >= after && event.pid === pid);
  const exec = first('exec', start, launcher);
  const connect = first('connect', start, launcher);
  const asked = first('sendto', connect?.start ?? Infinity, launcher);
  const accept = within.find(({ kind, end }) => kind === 'accept' && end >= (connect?.start ?? Infinity));
  const greeting = first('write', accept?.end ?? Infinity, agent);
  const read = first('received', Math.max(greeting?.start ?? Infinity, asked?.start ?? Infinity), agent);
  const ended = first('exit', asked?.end ?? Infinity, launcher);
  const printed = first('write', asked?.end ?? Infinity, launcher) ?? ended;
  // The last byte of the answer: the last write to the socket that the greeting went to, before the launcher ends.
  const answered = within.findLast(
    ({ kind, pid, a, start }) =>
      kind === 'write' && pid === agent && a === greeting?.a && start < (ended?.start ?? 0),
  );
  if (!exec || !connect || !accept || !greeting || !asked || !read || !printed || !answered) return undefined;

  const phases: Phase[] = [];
  let at = start;
  const until = (time: number, what: string, share: Share) => {
    if (time <= at) return;
    const traced = within.filter((event) => event.start >= at && event.start < time).length;
    phases.push({ what, share, took: time - at, events: traced });
    at = time;
  };
  until(exec.start, 'process: spawn, exec', 'process: start and end');
  until(connect.start, 'launcher: its own start, who asks and where', 'process: start and end');
  until(accept.end, 'launcher connects, agent wakes up', 'launcher and socket');
  until(read.start, 'agent looks at the caller, greets, takes the request', 'launcher and socket');
  for (const step of stepsOf(within, agent, read.start, answered.start)) {
    until(step.submitted ?? step.start, 'JavaScript', 'JavaScript');
    until(step.start, 'to a thread', 'to a thread and back');
    until(step.end, step.what, step.share);
    until(step.returned ?? step.end, 'back from the thread', 'to a thread and back');
  }
  until(answered.start, 'JavaScript', 'JavaScript');
  until(printed.start, 'launcher: takes the answer', 'launcher and socket');
  until(end, 'launcher: prints, ends, is waited for', 'process: start and end');
  return phases;
}
