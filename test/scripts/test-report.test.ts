/** What a run of all tests says at its end: who reads only that must see what failed. */
import t from 'tap';
import { report } from '../../scripts/test-report.ts';

async function reportOf(tap: string): Promise<string[]> {
  const lines: string[] = [];
  await report(
    (async function* () {
      yield tap;
    })(),
    (line) => lines.push(...line.split('\n')),
  );
  return lines;
}

const HEAD = 'TAP version 14\n';
const GOOD = `# Subtest: test/good.test.ts
    # Subtest: holds
        ok 1 - is so
        1..1
    ok 1 - holds # time=1ms
    1..1
ok 1 - test/good.test.ts # time=1500ms
`;
const BAD = `# Subtest: test/bad.test.ts
    # Subtest: outer
        # Subtest: inner
            not ok 1 - one is two
              ---
              compare: ===
              at:
                fileName: test/bad.test.ts
                lineNumber: 5
              diff: |
                --- expected
                +++ actual
                @@ -1,1 +1,1 @@
                -2
                +1
              ...
            1..1
        not ok 1 - inner
        not ok 2 - thrown
          ---
          at:
            fileName: test/helper.ts
            lineNumber: 8
          tapCaught: returnedPromiseRejection
          ...
        not ok 3 - some day # TODO
        1..3
    not ok 1 - outer
    1..1
not ok 2 - test/bad.test.ts # time=20ms
`;

t.test('one line for each file, and at the end what failed, with the difference', async (t) => {
  t.strictSame(await reportOf(`${HEAD}${GOOD}${BAD}1..2\n`), [
    '✔ test/good.test.ts 1.5 s',
    '✖ test/bad.test.ts 0.0 s',
    '    test/bad.test.ts:5 outer > inner > one is two',
    '        -2',
    '        +1',
    '    test/bad.test.ts, test/helper.ts:8 outer > thrown',
    '        tapCaught: returnedPromiseRejection',
    '',
    'files: 2, assertions that failed: 2',
    '✖ test/bad.test.ts:5 outer > inner > one is two',
    '    -2',
    '    +1',
    '✖ test/bad.test.ts, test/helper.ts:8 outer > thrown',
    '    tapCaught: returnedPromiseRejection',
  ]);
});

t.test('a file that was killed, or given up before it said anything', async (t) => {
  const killed = `# Subtest: test/killed.test.ts
    ok 1 - fine
    1..1
not ok 1 - test/killed.test.ts
  ---
  exitCode: null
  signal: SIGKILL
  ...
not ok 2 - timeout!
  ---
  expired: test/late.test.ts
  ...
`;
  t.strictSame((await reportOf(`${HEAD}${killed}1..2\n`)).slice(-5), [
    'files: 2, assertions that failed: 2',
    '✖ test/killed.test.ts test/killed.test.ts',
    '    signal: SIGKILL',
    '✖ test/late.test.ts timeout!',
    '    expired: test/late.test.ts',
  ]);
});

t.test('however much fails, the last part stays short', async (t) => {
  const many = Array.from({ length: 100 }, (_, i) => `    not ok ${i + 1} - number ${i + 1}\n`).join('');
  const lines = await reportOf(
    `${HEAD}# Subtest: test/a.test.ts\n${many}    1..100\nnot ok 1 - test/a.test.ts\n1..1\n`,
  );
  const last = lines.slice(lines.lastIndexOf(''));
  t.ok(last.length <= 24, `${last.length} lines`);
  t.equal(last.at(-1), 'and 79 more');
});
