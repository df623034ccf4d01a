import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import type { Validate } from '../../cni/config.ts';
import { loadSchema, schemaFiles, validatorSource } from '../../scripts/generate-validators.ts';
import { compiled, sampleSchema } from './support.ts';
import '../support/seed.ts';

t.test('the committed validators are those of the schemas', async (t) => {
  for (const { schema, validator } of schemaFiles()) {
    const found = existsSync(validator) ? readFileSync(validator, 'utf8') : 'missing';
    const wanted = await validatorSource(await loadSchema(schema));
    t.ok(found === wanted, `${validator}: run npx tsx scripts/generate-validators.ts`);
  }
});

const sorted = (errors: Validate['errors']) =>
  [...(errors ?? [])].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

t.test('a generated validator loads no library, and answers as ajv does', async (t) => {
  const source = await validatorSource(sampleSchema);
  const code = source.replace(/^import type .*$/m, '');
  const shared = /^import \{ alsoNetConf \} from '..\/..\/cni\/net-conf\/also.ts';$/m;
  t.notMatch(code.replace(shared, ''), /\bimport\b|\brequire\("/);
  const file = join(t.testdir({}), 'validate.ts');
  const root = join(import.meta.dirname, '../..');
  writeFileSync(file, code.replace('validate: Validate', 'validate').replace('../../cni', `${root}/cni`));
  const { validate } = (await import(pathToFileURL(file).href)) as { validate: Validate };
  const reference = compiled(sampleSchema);
  const keys = fc.constantFrom('name', 'type', 'cniVersion', ...Object.keys(sampleSchema.properties));
  fc.assert(
    fc.property(fc.dictionary(keys, fc.jsonValue({ maxDepth: 3 })), (conf) => {
      const wanted = reference(conf);
      t.equal(validate(conf), wanted);
      // What all plugins share is told first.
      t.strictSame(sorted(validate.errors), sorted(reference.errors));
    }),
    { numRuns: 300 },
  );
});
