/** From traced system calls to what a request spent its time on. */
import t from 'tap';
import { phasesOf } from '../../bench/phases.ts';
import type { TraceEvent } from '../../bench/trace.ts';
import { sharesTable, typical } from '../../bench/where-tables.ts';

const [AGENT, WORKER, LAUNCHER] = [10, 11, 20];
const SOCKET = 7;
const LOOP = 8;

const event = (kind: TraceEvent['kind'], start: number, more: Partial<TraceEvent> = {}): TraceEvent => {
  const pid = more.pid ?? AGENT;
  return { kind, start, end: start, pid, tid: pid, a: 0, b: 0, ...more };
};
const launcher = { pid: LAUNCHER };
const worker = { tid: WORKER };

/** One request from 100 to 1000 µs: a lease of 100 µs, then a native call of two messages, 200 µs with 10 on the way to it and 20 back. */
const REQUEST: TraceEvent[] = [
  event('exec', 200, launcher),
  event('connect', 250, { ...launcher, end: 260 }),
  event('accept', 255, { end: 270 }),
  event('sendto', 280, launcher),
  event('write', 300, { a: SOCKET }),
  event('received', 360),
  event('open', 400, { b: 30 }),
  event('flock', 410, { end: 420, a: 30 }),
  event('open', 430, { b: 31 }),
  event('close', 440, { a: 31 }),
  event('close', 500, { a: 30 }),
  event('wake', 540),
  event('sendto', 550, { ...worker, end: 700, a: 16, b: 0 }),
  event('sendto', 710, { ...worker, end: 740, a: 16, b: 0xa0c }),
  event('write', 750, { ...worker, a: LOOP }),
  event('read', 770, { a: LOOP }),
  event('write', 800, { a: SOCKET }),
  event('write', 850, launcher),
  event('exit', 900, launcher),
];

t.test('phases follow each other without a gap, and add up to the whole', async (t) => {
  const phases = phasesOf(REQUEST, AGENT, 100, 1000) ?? [];
  t.strictSame(
    phases.map(({ what, took }) => [what, took]),
    [
      ['process: spawn, exec', 100],
      ['launcher: its own start, who asks and where', 50],
      ['launcher connects, agent wakes up', 20],
      ['agent looks at the caller, greets, takes the request', 90],
      ['JavaScript', 40],
      ['leases, under their lock', 100],
      ['JavaScript', 40],
      ['to a thread', 10],
      ['netlink: NEWLINK, NEWSETELEM', 200],
      ['back from the thread', 20],
      ['JavaScript', 30],
      ['launcher: takes the answer', 50],
      ['launcher: prints, ends, is waited for', 150],
    ],
  );
});

t.test('messages of the main thread, and a namespace that it lets another thread join', async (t) => {
  const own = [
    event('setns', 545, { ...worker, end: 560 }),
    event('sendto', 570, { end: 600, a: 18 }),
    event('received', 605),
    event('sendto', 610, { end: 650, a: 20 }),
    event('received', 660),
    event('sendto', 720, { end: 750, a: 24 }),
  ];
  const given = REQUEST.filter(({ start }) => start < 540 || start > 770);
  const phases =
    phasesOf(
      [...given, ...own].sort((a, b) => a.start - b.start),
      AGENT,
      100,
      1000,
    ) ?? [];
  t.strictSame(
    phases.slice(6, 13).map(({ what, took }) => [what, took]),
    [
      ['JavaScript', 45],
      ['join namespace', 15],
      ['JavaScript', 10],
      ['netlink: GETLINK, NEWADDR', 90],
      ['JavaScript', 60],
      ['netlink: NEWROUTE', 30],
      ['JavaScript', 50],
    ],
  );
});

t.test('a request that the trace has not seen whole is left out', async (t) => {
  t.equal(
    phasesOf(
      REQUEST.filter(({ kind }) => kind !== 'accept'),
      AGENT,
      100,
      1000,
    ),
    undefined,
  );
  t.equal(phasesOf([], AGENT, 100, 1000), undefined);
});

t.test('what tracing costs is taken off by the number of events', async (t) => {
  const phases = phasesOf(REQUEST, AGENT, 100, 1000) ?? [];
  const events = phases.reduce((sum, one) => sum + one.events, 0);
  const request = typical('ADD', [phases, phases, phases.slice(1)], 900 - 10 * events, 900);
  t.ok(Math.abs(request.share - 2 / 3) < 1e-9, 'two of three went these steps');
  const [, lease] = [phases, request.phases].map((all) => all.find(({ share }) => share === 'lease files'));
  t.equal(lease?.took, 100 - 10 * (lease?.events ?? 0));
  t.equal(sharesTable(request).length, 1 + new Set(phases.map(({ share }) => share)).size);
});
