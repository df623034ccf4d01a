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
const NFTABLES = 10;

/** A message that begins a batch of nf_tables has the number of NEWLINK, too; what follows it tells them apart. */
function messageName({ a, b }: TraceEvent): string {
  const type = a === BATCH_BEGIN && b >> 8 === NFTABLES ? b : a;
  return MESSAGES[type] ?? (type >> 8 === IPSET ? `ipset ${type & 255}` : `message ${type}`);
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

/** Messages that the main thread sent itself, one after the other. What it received is counted as JavaScript. */
function ownNetlinkSteps(main: readonly TraceEvent[]): Step[] {
  const steps: Step[] = [];
  let sent: TraceEvent[] = [];
  for (const [index, event] of main.entries()) {
    if (event.kind !== 'sendto') continue;
    sent.push(event);
    if (main[index + 1]?.kind === 'sendto') continue;
    const { start } = sent[0] ?? event;
    steps.push({ what: `netlink: ${namesOf(sent)}`, share: 'kernel: netlink', start, end: event.end });
    sent = [];
  }
  return steps;
}

/** A call on a thread: what threads do until one of them writes to the loop's event descriptor. */
function threadSteps(main: readonly TraceEvent[], others: readonly TraceEvent[]): Step[] {
  const steps: Step[] = [];
  let call: TraceEvent[] = [];
  for (const event of others) {
    const previous = call.at(-1);
    call.push(event);
    if (event.kind !== 'write') continue;
    // A sysctl is written by a thread as well, to what it has just opened.
    if (previous?.kind === 'open' && previous.tid === event.tid && previous.b === event.a) continue;
    const [first = event] = call;
    const described = describe(call);
    const submitted = main.findLast(({ kind, start }) => kind === 'wake' && start <= first.start);
    const returned = main.find(({ kind, start }) => kind === 'read' && start >= event.start);
    if (described) {
      steps.push({
        ...described,
        ...{ start: first.start, end: event.start },
        ...(submitted && { submitted: submitted.start }),
        ...(returned && { returned: returned.start }),
      });
    }
    call = [];
  }
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
