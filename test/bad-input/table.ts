/** Bad input as a table: a row says what is wrong, and what the plugin has to say about it. */
import type { Test } from 'tap';
import type { ExecResult } from '../support/host.ts';
import { type Answer, difference, type Input, makePlace, type Place, problems } from './place.ts';

export interface Row {
  name: string;
  plugin: string;
  command?: string;
  input: Input;
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** What the plugin is started by; DEL succeeds when it is started as root without. */
  by?: readonly string[];
  code: number;
  /** In `msg`: what is at fault, what was found, what is allowed. */
  says: RegExp | readonly RegExp[];
  /** In `details`. */
  details?: RegExp;
  /** A shell script, run on the host before. */
  before?: (place: Place) => string;
  /** Takes it back; then DEL succeeds, whatever it said before. */
  after?: (place: Place) => string;
  /** The fault shows only when the leases were asked: their lock, the place of the round robin and a spare file may be there afterwards. */
  late?: boolean;
  /** The code with which DEL of the same input is refused, where nothing could be done; DEL succeeds otherwise. */
  del?: number | undefined;
}

/** Holds every row to the rules, on one host, which must never change. */
export async function refuseAll(t: Test, rows: readonly Row[], made?: Place): Promise<void> {
  const place = made ?? (await makePlace(t));
  const plain: Row[] = [];
  for (const row of rows) {
    if (row.before || row.late || row.by || row.after) await refuse(t, place, row);
    else plain.push(row);
  }
  await refusePlain(t, place, plain);
}

type Asked = Pick<Place, 'call' | 'snapshot'>;

const titleOf = ({ plugin, name }: Row) => `${plugin}: ${name}`;

const callOf = ({ plugin, input, env, by }: Row) => ({
  plugin,
  input,
  ...(env && { env }),
  ...(by && { by }),
});

/** Rows that prepare nothing: all are asked, then all are deleted; to look at the host costs more than to ask. */
export async function refusePlain(t: Test, place: Asked, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  const whole = await place.snapshot();
  for (const row of rows) await ask(t, place, row);
  const names = rows.map(titleOf);
  t.same(difference(whole, await place.snapshot()), [], `${names.length} refusals change nothing`, { names });
  for (const row of rows) await takeBack(t, place, row);
  t.same(difference(whole, await place.snapshot()), [], 'nor do their DELs', { names });
}

async function refuse(t: Test, place: Place, row: Row): Promise<void> {
  const { late, before, after, by } = row;
  const title = titleOf(row);
  if (before) await place.sh(before(place));
  const look = () => place.snapshot({ bookkeeping: !late });
  const whole = await look();
  await ask(t, place, row);
  t.same(difference(whole, await look()), [], `${title} changes nothing`);
  await takeBack(t, place, row);
  if (before) t.same(difference(whole, await look()), [], `${title}: DEL changes nothing`);
  if (after) await place.sh(after(place));
  if (!after && !by) return;
  const { by: _, ...call } = callOf(row);
  const mended = await place.call({ ...call, command: 'DEL' });
  t.same(
    shown(mended),
    { ...shown(mended), status: 0, stdout: '' },
    `${title}: DEL succeeds once that is mended`,
  );
}

async function ask(t: Test, place: Asked, row: Row): Promise<void> {
  const answer = await place.call({ ...callOf(row), ...(row.command && { command: row.command }) });
  t.same(faults(row, answer), [], `${titleOf(row)} is refused`, { answer: shown(answer) });
}

async function takeBack(t: Test, place: Asked, row: Row): Promise<void> {
  const title = titleOf(row);
  const del = await place.call({ ...callOf(row), command: 'DEL' });
  if (row.del === undefined)
    t.same(shown(del), { ...shown(del), status: 0, stdout: '' }, `${title}: DEL succeeds`);
  else
    t.same([...problems(del), del.json?.code], [row.del], `${title}: DEL is refused`, { answer: shown(del) });
}

/** What is wrong with an answer, given what the row wants. */
function faults({ code, says, details }: Row, answer: Answer): string[] {
  return [
    ...problems(answer),
    ...(answer.json?.code === code ? [] : [`code ${answer.json?.code}, wanted ${code}`]),
    ...[says].flat().flatMap((pattern) => (pattern.test(answer.json?.msg) ? [] : [`msg lacks ${pattern}`])),
    ...(details && !details.test(answer.json?.details) ? [`details lack ${details}`] : []),
  ];
}

export function shown({ status, stdout, stderr }: ExecResult | Answer): object {
  return { status, stdout, stderr };
}
