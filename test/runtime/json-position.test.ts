import fc from 'fast-check';
import t from 'tap';
import { findJsonFault } from '../../runtime/json-position.ts';
import '../support/seed.ts';

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

t.test('agrees with JSON.parse on what is JSON', async () => {
  fc.assert(
    fc.property(fc.json(), (text) => findJsonFault(text) === undefined),
    { numRuns: 500 },
  );
  const mutated = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom(...'{}[]",:\\ntfe-+.0123x \n\u0000'))
    .map(([text, at, char]) => {
      const where = at % (text.length + 1);
      return text.slice(0, where) + char + text.slice(where + (at % 2));
    });
  fc.assert(
    fc.property(mutated, (text) => (findJsonFault(text) === undefined) === isJson(text)),
    { numRuns: 5000 },
  );
});

t.test('says line and column', async (t) => {
  t.same(findJsonFault('{\n  "a": 1\n  "b": 2\n}'), {
    line: 3,
    column: 3,
    message: 'expected "," or "}", found "\\""',
  });
  t.match(findJsonFault(''), { line: 1, column: 1, message: 'expected a value, found the end of the text' });
  t.match(findJsonFault('{"a": 01}'), { column: 8, message: 'expected "," or "}", found "1"' });
  t.match(findJsonFault('[1, 2,]'), { column: 7, message: 'expected a value, found "]"' });
  t.match(findJsonFault('{} {}'), { column: 4, message: 'expected the end of the text, found "{"' });
});

t.test('depth is bounded', async (t) => {
  t.match(findJsonFault('['.repeat(100_000)), { message: /less nesting/ });
});
