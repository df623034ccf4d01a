import fc from 'fast-check';
import t from 'tap';
import { describeFaults, describeSchema, showValue, withoutFaults } from '../../cni/config.ts';
import { fold } from '../../cni/fold.ts';
import { linkName, mac } from '../../cni/schema.ts';
import { compiled, sampleConfig, sampleSchema } from './support.ts';
import '../support/seed.ts';

const base = { cniVersion: '1.1.0', name: 'n', type: 't' };
const faults = (conf: object) => describeFaults(sampleConfig.faults({ ...base, ...conf }));

t.test('a fault says the field, what was found, and what is wanted', async (t) => {
  for (const [conf, words] of [
    [{}, ''],
    [{ unknown: { anything: 1 } }, ''],
    [{ mtu: 'abc' }, 'mtu: found "abc", wanted an integer from 68 to 65535, or 0 for the default'],
    [{ mtu: 67 }, 'mtu: found 67, wanted an integer from 68 to 65535, or 0 for the default'],
    [{ mtu: 0 }, ''],
    [{ mtu: 70000 }, 'mtu: found 70000, wanted an integer from 68 to 65535, or 0 for the default'],
    [{ isGateway: 'yes' }, 'isGateway: found "yes", wanted true or false'],
    [{ mode: 'closed' }, 'mode: found "closed", wanted one of "open", "isolated"'],
    [{ mode: 1 }, 'mode: found 1, wanted one of "open", "isolated"'],
    [{ label: 'toolong' }, 'label: found "toolong", wanted a string of at most 5 characters'],
    [{ bridge: 'a/b' }, /^bridge: found "a\/b", wanted the name of a link/],
    [{ bridge: '..' }, /^bridge: found "\.\."/],
    [{ size: 0 }, 'size: found 0, wanted an integer of at least 1'],
    [{ size: true }, 'size: found true, wanted an integer of at least 1, or a string'],
    [{ where: 'away' }, 'where: found "away", wanted one of "here", "there", or an object'],
    [{ where: { x: 10 } }, 'where.x: found 10, wanted an integer of at most 9'],
    [{ where: [] }, 'where: found [], wanted one of "here", "there", or an object'],
    [{ tags: ['a', 'a'] }, 'tags: found ["a","a"], wanted a list of at most 3 (each a string), each once'],
    [{ tags: [1] }, 'tags[0]: found 1, wanted a string'],
    [{ tags: 'a' }, /^tags: found "a", wanted a list/],
    [{ routes: [{ dst: '10.0.0.0/8' }, {}] }, /^routes\[1\]\.dst: missing, wanted an address with prefix/],
    [{ ipam: 'host-local' }, 'ipam: found "host-local", wanted an object'],
    [{ ipam: { type: 5 } }, 'ipam.type: found 5, wanted a string'],
    [{ capabilities: { 'a/b~c': 'x' } }, 'capabilities.a/b~c: found "x", wanted true or false'],
    [
      { isGateway: 1, mode: 2 },
      'isGateway: found 1, wanted true or false; mode: found 2, wanted one of "open", "isolated"',
    ],
  ] as const) {
    const found = faults(conf);
    if (typeof words === 'string') t.equal(found, words);
    else t.match(found, words);
  }
  t.equal(describeFaults(sampleConfig.faults([])), 'configuration: found [], wanted an object');
});

t.test('long values and long lists of faults are cut', async (t) => {
  t.match(faults({ mtu: 'x'.repeat(1000) }), /^mtu: found "x{59}\.\.\., wanted/);
  t.equal(showValue(new Array(50).fill(1)), 'a list of 50');
  t.equal(showValue(5n), 'a bigint');
  const routes = new Array(20).fill({});
  t.match(faults({ routes }), /; and 12 more$/);
});

t.test('schemas in words', async (t) => {
  for (const [schema, words] of [
    [mac, 'a MAC address such as 0a:58:0a:01:00:02 (unicast)'],
    [{ const: 5 }, '5'],
    [{ enum: ['a'] }, '"a"'],
    [{ type: 'number' }, 'a number'],
    [{ type: 'string', minLength: 1 }, 'a non-empty string'],
    [{ type: 'string', pattern: '^a$' }, 'a string that matches ^a$'],
    [{ type: ['string', 'boolean'] }, 'a string, or true or false'],
    [{ type: 'array', minItems: 1 }, 'a list of at least 1'],
    [
      { type: 'array', minItems: 1, maxItems: 2, items: { type: 'string' } },
      'a list of 1 to 2 (each a string)',
    ],
    [{}, 'another value'],
  ] as const) {
    t.equal(describeSchema(schema), words);
  }
});

t.test('link names', async (t) => {
  const validate = compiled(linkName);
  for (const name of ['a', 'eth0', '...', 'x'.repeat(15)]) t.ok(validate(name), name);
  for (const name of ['', '.', '..', 'a/b', 'a b', 'a:b', 'a%d', 'x'.repeat(16)])
    t.notOk(validate(name), name);
});

t.test('fold: the declared spelling wins, else the last', async (t) => {
  const schema = {
    properties: {
      mtu: {},
      list: { items: { properties: { hostPort: {} } } },
      any: { anyOf: [{ type: 'string' }, { properties: { inner: {} } }] },
      map: { additionalProperties: { properties: { deepKey: {} } } },
    },
  };
  const folded = (json: string) => fold(schema, JSON.parse(json));
  t.strictSame(folded('{"MTU":1}'), { mtu: 1 });
  t.strictSame(folded('{"MTU":1,"mtu":2}'), { mtu: 2 });
  t.strictSame(folded('{"mtu":2,"MTU":1}'), { mtu: 2 });
  t.strictSame(folded('{"Mtu":2,"MTU":1}'), { mtu: 1 });
  t.strictSame(folded('{"mtu":null,"MTU":1}'), { mtu: 1 });
  t.strictSame(folded('{"List":[{"HostPort":1},[{"HostPort":2}],null]}'), {
    list: [{ hostPort: 1 }, [{ HostPort: 2 }], null],
  });
  t.strictSame(folded('{"any":{"INNER":1}}'), { any: { inner: 1 } });
  t.strictSame(folded('{"map":{"Key":{"DEEPKEY":1}}}'), { map: { Key: { deepKey: 1 } } });
  t.strictSame(folded('{"Unknown":{"A":null,"B":1},"toString":1}'), { Unknown: { B: 1 }, toString: 1 });
  t.strictSame(fold(schema, 5), 5);
  t.throws(() => folded(`${'['.repeat(100)}${']'.repeat(100)}`), { code: 6, message: /deeper than 64/ });
});

t.test('property: fold is idempotent, and changes no input', async (t) => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const before = JSON.stringify(value);
      const once = fold(sampleSchema, value);
      t.strictSame(fold(sampleSchema, once), once);
      t.equal(JSON.stringify(value), before);
    }),
  );
});

t.test('property: what is left without faults has none that can be left out', async (t) => {
  const keys = fc.constantFrom(...Object.keys(sampleSchema.properties));
  fc.assert(
    fc.property(fc.dictionary(keys, fc.jsonValue({ maxDepth: 3 })), (odd) => {
      const config = fold(sampleSchema, { ...odd, ...base }) as Record<string, unknown>;
      const told: string[] = [];
      const left = withoutFaults(sampleConfig, config, (fault) => told.push(fault.field));
      t.strictSame(sampleConfig.faults(left), []);
      if (told.length === 0) t.equal(left, config);
    }),
    { numRuns: 500 },
  );
});

t.test('more faults than anybody reads: some are told, and all are left out', async (t) => {
  const routes = new Array(1000).fill({ dst: 'x', mtu: 'y' });
  const capabilities = Object.fromEntries(routes.map((_, index) => [`c${index}`, index]));
  const where = { x: 'z' };
  const config = { ...base, bridge: 'br0', routes, capabilities, where };
  t.match(describeFaults(sampleConfig.faults(config)), /; and many more$/);
  const left = withoutFaults(sampleConfig, config, () => {});
  t.strictSame(sampleConfig.faults(left), []);
  t.match(left, { ...base, bridge: 'br0' });
});
