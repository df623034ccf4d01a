/** Bad input as a table: a row says what is wrong, and what the plugin has to say about it. */
import type { Test } from 'tap';
import type { ExecResult } from '../support/host.ts';
import { type Answer, difference, type Input, makePlace, type Place, problems } from './place.ts';

export interface Row {
  name: string;
  plugin: string;
  command?: string;
  input: Input;
  env?: Readonly<Record<string, string | undefined>>;
  by?: readonly string[];
  code: number;
  /** In `msg`: what is at fault, what was found, what is allowed. */
  says: RegExp | readonly RegExp[];
  /** In `details`. */
  details?: RegExp;
  /** A shell script, run on the host before. */
  before?: (place: Place) => string;
  /** Takes it back. */
  after?: (place: Place) => string;
  /** The fault shows only when the leases were asked: their lock and the place of the round robin may be there afterwards. */
  late?: boolean;
  /** The code with which DEL of the same input is refused, where nothing could be done; DEL succeeds otherwise. */
  del?: number;
}

/** Holds every row to the rules, on one host, which must never change. */
export async function refuseAll(t: Test, rows: readonly Row[], made?: Place): Promise<void> {
  const place = made ?? (await makePlace(t));
  for (const row of rows) await refuse(t, place, row);
}

async function refuse(t: Test, place: Place, row: Row): Promise<void> {
  const { name, plugin, command, input, code, says, details, late } = row;
  const title = `${plugin}: ${name}`;
  if (row.before) await place.sh(row.before(place));
  const options = { bookkeeping: !late };
  const before = await place.snapshot(options);
  const call = { plugin, input, ...(row.env && { env: row.env }), ...(row.by && { by: row.by }) };
  const answer = await place.call({ ...call, ...(command && { command }) });
  const wrong = [
    ...problems(answer),
    ...(answer.json?.code === code ? [] : [`code ${answer.json?.code}, wanted ${code}`]),
    ...[says].flat().flatMap((pattern) => (pattern.test(answer.json?.msg) ? [] : [`msg lacks ${pattern}`])),
    ...(details && !details.test(answer.json?.details) ? [`details lack ${details}`] : []),
  ];
  t.same(wrong, [], `${title} is refused`, { answer: shown(answer) });
  t.same(difference(before, await place.snapshot(options)), [], `${title} changes nothing`);
  const again = await place.call({ ...call, command: 'DEL' });
  const deleted =
    row.del === undefined ? again.status === 0 && again.stdout === '' : problems(again).length === 0;
  t.ok(deleted && again.json?.code === row.del, `${title}: DEL ${row.del ? `says ${row.del}` : 'succeeds'}`, {
    answer: shown(again),
  });
  if (row.before) {
    t.same(difference(before, await place.snapshot(options)), [], `${title}: DEL changes nothing`);
  }
  if (row.after) await place.sh(row.after(place));
}

export function shown({ status, stdout, stderr }: ExecResult | Answer): object {
  return { status, stdout, stderr };
}
