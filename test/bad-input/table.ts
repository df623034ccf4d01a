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
  /** The fault shows only when the leases were asked: their lock and the place of the round robin may be there afterwards. */
  late?: boolean;
  /** The code with which DEL of the same input is refused, where nothing could be done; DEL succeeds otherwise. */
  del?: number | undefined;
}

/** Holds every row to the rules, on one host, which must never change. */
export async function refuseAll(t: Test, rows: readonly Row[], made?: Place): Promise<void> {
  const place = made ?? (await makePlace(t));
  let whole: string[] | undefined;
  for (const row of rows) {
    await refuse(t, place, row, whole);
    // What a row had to prepare, or may leave, is no measure for the next one.
    whole = row.before || row.late || row.by ? undefined : (whole ?? (await place.snapshot()));
  }
}

/** `known` is what the host looks like. */
async function refuse(t: Test, place: Place, row: Row, known: string[] | undefined): Promise<void> {
  const { plugin, command, input, late, before, after, env, by } = row;
  const title = `${plugin}: ${row.name}`;
  if (before) await place.sh(before(place));
  const look = () => place.snapshot({ bookkeeping: !late });
  const whole = before || late || known === undefined ? await look() : known;
  const call = { plugin, input, ...(env && { env }), ...(by && { by }) };
  const answer = await place.call({ ...call, ...(command && { command }) });
  t.same(faults(row, answer), [], `${title} is refused`, { answer: shown(answer) });
  t.same(difference(whole, await look()), [], `${title} changes nothing`);
  const del = await place.call({ ...call, command: 'DEL' });
  if (row.del === undefined)
    t.same(shown(del), { ...shown(del), status: 0, stdout: '' }, `${title}: DEL succeeds`);
  else
    t.same([...problems(del), del.json?.code], [row.del], `${title}: DEL is refused`, { answer: shown(del) });
  if (before) t.same(difference(whole, await look()), [], `${title}: DEL changes nothing`);
  if (after) await place.sh(after(place));
  if (!after && !by) return;
  const mended = await place.call({ plugin, input, ...(env && { env }), command: 'DEL' });
  t.same(
    shown(mended),
    { ...shown(mended), status: 0, stdout: '' },
    `${title}: DEL succeeds once that is mended`,
  );
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
