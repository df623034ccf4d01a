/** From the events of one request to what it spent its time on, one thing after the other. */
import type { TraceEvent } from './trace.ts';

/** Where time goes. */
export type Share =
  | 'process: start and end'
  | 'launcher and socket'
  | 'JavaScript'
  | 'to a thread and back'
  | 'lease files'
  | 'other files'
  | 'kernel: netlink'
  | 'kernel: namespace, sysctl';

export interface Phase {
  what: string;
  share: Share;
  /** Microseconds. */
  took: number;
  /** Events traced meanwhile: each has its price. */
  events: number;
}

/** linux/rtnetlink.h, linux/netfilter/nf_tables.h (NFNL_SUBSYS_NFTABLES is 10), linux/netfilter/nfnetlink.h. */
const MESSAGES: Readonly<Record<number, string>> = {
  16: 'NEWLINK',
  17: 'DELLINK',
  18: 'GETLINK',
  20: 'NEWADDR',
  21: 'DELADDR',
  22: 'GETADDR',
  24: 'NEWROUTE',
  25: 'DELROUTE',
  26: 'GETROUTE',
  28: 'NEWNEIGH',
  29: 'DELNEIGH',
  30: 'GETNEIGH',
  2560: 'NEWTABLE',
  2561: 'GETTABLE',
  2563: 'NEWCHAIN',
  2564: 'GETCHAIN',
  2566: 'NEWRULE',
  2567: 'GETRULE',
  2569: 'NEWSET',
  2570: 'GETSET',
  2572: 'NEWSETELEM',
  2573: 'GETSETELEM',
  2574: 'DELSETELEM',
  2576: 'GETGEN',
};
const BATCH_BEGIN = 0x10;
const IPSET = 6;

function messageName({ a, b }: TraceEvent, isBatch: boolean): string {
  const type = a === BATCH_BEGIN && isBatch ? b : a;
  return MESSAGES[type] ?? (type >> 8 === IPSET ? `ipset ${type & 255}` : `message ${type}`);
}

/** A message that begins a batch of nf_tables has the number of NEWLINK, too; what follows it tells them apart. */
const isBatch = ({ a, b }: TraceEvent) => a === BATCH_BEGIN && b >> 8 === 10;

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
  const accept = within.find(({ kind, end }) => kind === 'accept' && end >= (connect?.start ?? Infinity));
  const greeting = first('write', accept?.end ?? Infinity, agent);
  const asked = first('sendto', greeting?.start ?? Infinity, launcher);
  const read = first('read', asked?.start ?? Infinity, agent);
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
  until(connect.start, 'launcher: its own start', 'process: start and end');
  until(accept.end, 'launcher connects, agent wakes up', 'launcher and socket');
  until(greeting.start, 'agent: takes the connection', 'JavaScript');
  until(asked.start, 'launcher: greeting, standard input, request', 'launcher and socket');
  until(read.start, 'agent wakes up for the request', 'launcher and socket');
  for (const step of stepsOf(within, agent, read.start, answered.start)) {
    if (step.submitted !== undefined) until(step.submitted, 'JavaScript', 'JavaScript');
    until(
      step.start,
      step.submitted === undefined ? 'JavaScript' : 'to a thread',
      step.submitted === undefined ? 'JavaScript' : 'to a thread and back',
    );
    until(step.end, step.what, step.share);
    if (step.returned !== undefined) until(step.returned, 'back from the thread', 'to a thread and back');
  }
  until(answered.start, 'JavaScript', 'JavaScript');
  until(printed.start, 'launcher: takes the answer', 'launcher and socket');
  until(end, 'launcher: prints, ends, is waited for', 'process: start and end');
  return phases;
}

interface Step {
  what: string;
  share: Share;
  start: number;
  end: number;
  /** When the main thread gave it to another, and when it saw that it was done. */
  submitted?: number;
  returned?: number;
}

/** What the agent did outside JavaScript, in order, without overlap. */
function stepsOf(within: readonly TraceEvent[], agent: number, from: number, to: number): Step[] {
  const mine = within.filter((event) => event.pid === agent && event.start >= from && event.start <= to);
  const main = mine.filter(({ tid }) => tid === agent);
  const others = mine.filter(({ tid }) => tid !== agent);
  return [...nativeSteps(main, others), ...fileSteps(main)]
    .sort((one, other) => one.start - other.start)
    .filter((step, index, all) => index === 0 || step.start >= (all[index - 1]?.end ?? 0));
}

/** A native call: what threads do until one of them writes to the loop's event descriptor. */
function nativeSteps(main: readonly TraceEvent[], others: readonly TraceEvent[]): Step[] {
  const steps: Step[] = [];
  let open: TraceEvent[] = [];
  for (const event of others) {
    open.push(event);
    if (event.kind !== 'write' || open.length === 0) continue;
    const [first] = open;
    // The one byte or text of a sysctl is written by a thread as well: the loop is told by a write that opens nothing before it.
    const previous = open.at(-2);
    if (previous?.kind === 'open' && previous.tid === event.tid && (previous.a & 1) === 1) continue;
    const submitted = main.findLast(({ kind, start }) => kind === 'wake' && start <= (first?.start ?? 0));
    const returned = main.find(({ kind, start }) => kind === 'read' && start >= event.start);
    const described = describe(open);
    if (first && described) {
      steps.push({
        ...described,
        ...{ start: first.start, end: event.start },
        ...(submitted && { submitted: submitted.start }),
        ...(returned && { returned: returned.start }),
      });
    }
    open = [];
  }
  return steps;
}

function describe(events: readonly TraceEvent[]): Pick<Step, 'what' | 'share'> | undefined {
  const sent = events.filter(({ kind }) => kind === 'sendto');
  if (sent.length > 0) {
    const names = sent.map((event) => messageName(event, isBatch(event)));
    const counted = [...new Set(names)].map((name) => {
      const times = names.filter((other) => other === name).length;
      return times === 1 ? name : `${times} ${name}`;
    });
    const joins = events.some(({ kind }) => kind === 'setns') ? 'join namespace, ' : '';
    return { what: `netlink: ${joins}${counted.join(', ')}`, share: 'kernel: netlink' };
  }
  if (events.some(({ kind }) => kind === 'setns'))
    return { what: 'sysctl inside', share: 'kernel: namespace, sysctl' };
  if (events.some(({ kind }) => kind === 'open'))
    return { what: 'open namespace or sysctl', share: 'kernel: namespace, sysctl' };
  return undefined;
}

/** O_CREAT or O_WRONLY, open(2). */
const WRITES = 0o100 | 0o1;

/** Files of the main thread: the leases from the opening of their lock to its release; others from opening to closing. */
function fileSteps(main: readonly TraceEvent[]): Step[] {
  const steps: Step[] = [];
  for (let index = 0; index < main.length; index++) {
    const opened = main[index];
    if (opened?.kind !== 'open') continue;
    const lock = main[index + 1];
    if (lock?.kind === 'flock') {
      // Everything is closed in reverse: the lock last, before the loop goes on.
      const after = main.findIndex(
        (event, at) =>
          at > index + 1 &&
          (event.kind === 'wake' ||
            (event.kind === 'read' && event.start - (main[at - 1]?.start ?? 0) > 1000)),
      );
      const last = main.findLastIndex(
        (event, at) => at > index && (after < 0 || at < after) && event.kind === 'close',
      );
      const closed = main[last];
      if (closed)
        steps.push({
          what: 'leases, under their lock',
          share: 'lease files',
          start: opened.start,
          end: closed.end,
        });
      if (last > index) index = last;
      continue;
    }
    const last = main.findIndex((event, at) => at > index && event.kind === 'close');
    const closed = main[last];
    if (!closed) continue;
    const what = (opened.a & WRITES) !== 0 ? 'a file written' : 'a file read';
    steps.push({ what, share: 'other files', start: opened.start, end: closed.end });
    index = last;
  }
  return steps;
}
