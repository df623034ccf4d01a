/**
 * Reads the TAP of a whole run (`tap run -R node_modules/.bin/tsx -r scripts/test-report.ts`) and prints one line per file as
 * it ends, what failed there in full, and at the very end everything that failed once more in short: continuous integration
 * shows only the last lines.
 */
import { Parser, type Result } from 'tap-parser';

/** An assertion that failed, and not only because something below it did. */
export interface Failure {
  file: string;
  /** Names of the tests around it, then its own. */
  name: string;
  /** `file:line`, as far as tap knows it. */
  at: string;
  /** What was wanted and what was found, or why it ended; line by line. */
  details: string[];
}

/** Lines of the last part, so that it is seen as a whole. */
const LINES = 22;
/** Details of one failure at its file. */
const DETAILS = 60;

const lines = (text: unknown) => (typeof text === 'string' ? text.trimEnd().split('\n') : []);

/** How tap says that something ended otherwise than by an assertion. */
const ENDINGS = [
  'error',
  'message',
  'code',
  'errno',
  'tapError',
  'expired',
  'exitCode',
  'signal',
  'tapCaught',
];

/** Of tap's diagnostics, what tells most: the lines that differ, else what was thrown, or how the process ended. */
function detailsOf(diag: Record<string, unknown>): string[] {
  const diff = lines(diag.diff).filter((line) => !/^(---|\+\+\+) |^@@/.test(line));
  if (diff.length > 0) return diff;
  const known = ENDINGS.filter((key) => diag[key] !== undefined && diag[key] !== null);
  return [...known.map((key) => `${key}: ${diag[key]}`), ...lines(diag.stack).slice(0, 3)];
}

// A file that runs another one, in several ways, is named as well.
function placeOf(file: string, place = file, line?: number): string {
  const at = line === undefined ? place : `${place}:${line}`;
  return place === file ? at : `${file}, ${at}`;
}

function failureOf(file: string, around: readonly string[], { name, diag }: Result): Failure {
  const at = diag?.at as { fileName?: string; lineNumber?: number } | undefined;
  return {
    file,
    name: [...around, name].join(' > '),
    at: placeOf(file, at?.fileName, at?.lineNumber),
    details: detailsOf(diag ?? {}),
  };
}

/** Calls `found` with each failure below a parser. A test that fails because of what it holds is no failure of its own. */
function follow(
  parser: Parser,
  file: string,
  around: readonly string[],
  found: (failure: Failure) => void,
): void {
  let heldFailures = false;
  parser.on('child', (child: Parser) => {
    follow(child, file, [...around, child.name], found);
    child.on('complete', ({ ok }: { ok: boolean }) => {
      heldFailures = !ok;
    });
  });
  parser.on('assert', (result: Result) => {
    const isEcho = heldFailures;
    heldFailures = false;
    if (!result.ok && !result.todo && !result.skip && !isEcho) found(failureOf(file, around, result));
  });
}

const indent = (text: readonly string[], by: string) => text.map((line) => by + line);

function inFull({ at, name, details }: Failure): string[] {
  return [`    ${at} ${name}`, ...indent(details.slice(0, DETAILS), '        ')];
}

/** Everything that failed in at most so many lines: names first, then as much of the details as there is room for. */
export function inShort(failures: readonly Failure[], room = LINES): string[] {
  const shown = failures.slice(0, room - 1);
  const each = Math.max(0, Math.floor((room - 1) / Math.max(1, shown.length)) - 1);
  const more = failures.length - shown.length;
  return [
    ...shown.flatMap(({ name, at, details }) => {
      const differing = details.filter((line) => /^[-+]/.test(line));
      return [
        `✖ ${at} ${name}`,
        ...indent((differing.length > 0 ? differing : details).slice(0, each), '    '),
      ];
    }),
    ...(more > 0 ? [`and ${more} more`] : []),
  ];
}

/** Reads TAP and writes the report. The exit status is tap's own business. */
export async function report(
  input: AsyncIterable<string | Uint8Array>,
  write: (line: string) => void,
): Promise<void> {
  const all: Failure[] = [];
  let files = 0;
  /** The file whose own line is to come; none when tap gave it up before it said anything. */
  let open: { name: string; failures: Failure[] } | undefined;
  const parser = new Parser();
  parser.on('child', (child: Parser) => {
    const failures: Failure[] = [];
    open = { name: child.name, failures };
    follow(child, child.name, [], (failure) => failures.push(failure));
  });
  parser.on('assert', (result: Result) => {
    const { name, failures } = open ?? { name: `${result.diag?.expired ?? result.name}`, failures: [] };
    open = undefined;
    files += 1;
    if (!result.ok && failures.length === 0) failures.push(failureOf(name, [], result));
    all.push(...failures);
    const time = result.time === null ? '' : ` ${(result.time / 1000).toFixed(1)} s`;
    write(`${result.ok ? '✔' : '✖'} ${name}${time}`);
    for (const failure of failures) for (const line of inFull(failure)) write(line);
  });
  for await (const chunk of input) parser.write(Buffer.from(chunk));
  parser.end();
  write(`\nfiles: ${files}, assertions that failed: ${all.length}`);
  for (const line of inShort(all)) write(line);
}

if (process.argv[1]?.endsWith('test-report.ts')) {
  await report(process.stdin, (line) => void process.stdout.write(`${line}\n`));
}
