/** What an agent did outside JavaScript while it served a request: calls to the kernel, by itself or by its threads, and files. */
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

export interface Step {
  what: string;
  share: Share;
  /** Microseconds of CLOCK_MONOTONIC. */
  start: number;
  end: number;
  /** When the main thread gave it to another, and when it saw that it was done. */
  submitted?: number;
  returned?: number;
}

/** linux/rtnetlink.h */
const ROUTE: Readonly<Record<number, string>> = {
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
};
/** By subsystem (linux/netfilter/nfnetlink.h): linux/netfilter/ipset/ip_set.h, linux/netfilter/nf_tables.h. */
const NETFILTER: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  6: { 2: 'ipset CREATE', 7: 'ipset LIST', 9: 'ipset ADD', 10: 'ipset DEL', 11: 'ipset TEST' },
  10: {
    ...{ 0: 'NEWTABLE', 1: 'GETTABLE', 3: 'NEWCHAIN', 4: 'GETCHAIN', 6: 'NEWRULE', 7: 'GETRULE' },
    ...{ 9: 'NEWSET', 10: 'GETSET', 12: 'NEWSETELEM', 13: 'GETSETELEM', 14: 'DELSETELEM', 16: 'GETGEN' },
  },
};
const BATCH_BEGIN = 0x10;
const NFTABLES = 10;

/** A message that begins a batch of nf_tables has the number of NEWLINK, too; what follows it tells them apart. */
function messageName({ a, b }: TraceEvent): string {
  const type = a === BATCH_BEGIN && b >> 8 === NFTABLES ? b : a;
  return ROUTE[type] ?? NETFILTER[type >> 8]?.[type & 255] ?? `message ${type}`;
}

/** `2 GETRULE, NEWSETELEM` */
function namesOf(sent: readonly TraceEvent[]): string {
  const names = sent.map(messageName);
  return [...new Set(names)]
    .map((name) => {
      const times = names.filter((other) => other === name).length;
      return times === 1 ? name : `${times} ${name}`;
    })
    .join(', ');
}

/** The steps between two times, in order, without overlap. */
export function stepsOf(within: readonly TraceEvent[], agent: number, from: number, to: number): Step[] {
  const mine = within.filter((event) => event.pid === agent && event.start >= from && event.start <= to);
  const main = mine.filter(({ tid }) => tid === agent);
  const others = mine.filter(({ tid }) => tid !== agent);
  const steps: Step[] = [];
  const all = [...threadSteps(main, others), ...fileSteps(main), ...ownNetlinkSteps(main)];
  for (const step of all.sort((one, other) => one.start - other.start)) {
    if (step.start >= (steps.at(-1)?.end ?? 0)) steps.push(step);
  }
  return steps;
}

/** Microseconds between two messages of one native call, at most: JavaScript needs more to make the next. */
const ONE_CALL = 40;

/** Messages that the main thread sent itself, each with what it received for it. */
function ownNetlinkSteps(main: readonly TraceEvent[]): Step[] {
  const calls: { sent: TraceEvent[]; end: number }[] = [];
  for (const [index, event] of main.entries()) {
    if (event.kind === 'sendto') {
      const before = calls.at(-1);
      const goesOn = before && event.start - before.end <= ONE_CALL;
      if (goesOn) before.sent.push(event);
      else calls.push({ sent: [event], end: event.end });
    }
    const call = calls.at(-1);
    const answers = event.kind === 'sendto' || (event.kind === 'received' && isAnswer(main[index - 1]));
    if (call && answers) call.end = event.end;
  }
  return calls.map(({ sent, end }) => ({
    what: `netlink: ${namesOf(sent)}`,
    share: 'kernel: netlink',
    start: sent[0]?.start ?? end,
    end,
  }));
}

/** What is received after that belongs to a message; else to a socket that listens for changes. */
const isAnswer = (before: TraceEvent | undefined) => before?.kind === 'sendto' || before?.kind === 'received';

/** What the main thread does when it does not wait for another. */
const GOES_ON: readonly TraceEvent['kind'][] = ['sendto', 'open', 'wake'];

/**
 * Calls on threads. One that was given to a thread of the pool ends when it writes to the loop's event descriptor; one for which the main
 * thread waits, because only another thread may join a namespace, when the main thread goes on.
 */
function threadSteps(main: readonly TraceEvent[], others: readonly TraceEvent[]): Step[] {
  const steps: Step[] = [];
  let call: TraceEvent[] = [];
  const push = (end: number, more: Pick<Step, 'submitted' | 'returned'>) => {
    const described = describe(call);
    if (call[0] && described) steps.push({ ...described, start: call[0].start, end, ...more });
    call = [];
  };
  for (const event of others) {
    const previous = call.at(-1);
    const wentOn =
      previous &&
      main.some(({ kind, start }) => GOES_ON.includes(kind) && start >= previous.end && start <= event.start);
    if (wentOn) push(previous.end, {});
    call.push(event);
    if (event.kind !== 'write') continue;
    // A sysctl is written by a thread as well, to what it has just opened.
    if (previous?.kind === 'open' && previous.tid === event.tid && previous.b === event.a) continue;
    const first = call[0]?.start ?? event.start;
    const submitted = main.findLast(({ kind, start }) => kind === 'wake' && start <= first);
    const returned = main.find(({ kind, start }) => kind === 'read' && start >= event.start);
    push(event.start, {
      ...(submitted && { submitted: submitted.start }),
      ...(returned && { returned: returned.start }),
    });
  }
  const last = call.at(-1);
  if (last) push(last.end, {});
  return steps;
}

function describe(events: readonly TraceEvent[]): Pick<Step, 'what' | 'share'> | undefined {
  const has = (kind: TraceEvent['kind']) => events.some((event) => event.kind === kind);
  const sent = events.filter(({ kind }) => kind === 'sendto');
  if (sent.length > 0) {
    const joins = has('setns') ? 'join namespace, ' : '';
    return { what: `netlink: ${joins}${namesOf(sent)}`, share: 'kernel: netlink' };
  }
  const share = 'kernel: namespace, sysctl';
  if (has('setns')) return { what: has('open') ? 'sysctl inside' : 'join namespace', share };
  return has('open') ? { what: 'open namespace or sysctl', share } : undefined;
}

/** O_CREAT or O_WRONLY, open(2). */
const WRITES = 0o100 | 0o1;

/** Files of the main thread, from opening to closing: the leases as long as their lock, with all that is opened meanwhile. */
function fileSteps(main: readonly TraceEvent[]): Step[] {
  return main.flatMap((opened, index): Step[] => {
    if (opened.kind !== 'open') return [];
    const closed = main.find(
      ({ kind, a }, at) => at > index && kind === 'close' && a === opened.b && opened.b >= 0,
    );
    if (!closed) return [];
    const place = { start: opened.start, end: closed.end };
    if (main[index + 1]?.kind === 'flock') {
      return [{ what: 'leases, under their lock', share: 'lease files', ...place }];
    }
    // A namespace stays open while others use it: no step of its own.
    const between = main.slice(index + 1, main.indexOf(closed));
    if (between.some(({ kind }) => kind === 'wake' || kind === 'sendto')) return [];
    const what = (opened.a & WRITES) !== 0 ? 'a file written' : 'a file read';
    return [{ what, share: 'other files', ...place }];
  });
}
