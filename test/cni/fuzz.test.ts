/**
 * The door under noise: whatever environment and input a plugin is called with, it answers once, with a result of the right
 * version or with one JSON error, and never with a stack trace. FUZZ_RUNS sets the number of calls per property.
 */
import fc from 'fast-check';
import t from 'tap';
import { runPlugin } from '../../cni/skel.ts';
import { SUPPORTED_VERSIONS } from '../../cni/types.ts';
import { type Env, fakeAmbient, fullEnv, samplePlugin, sampleResult, sampleSchema } from './support.ts';
import '../support/seed.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 4000);
const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'];

const goodConf = {
  cniVersion: '1.1.0',
  name: 'net',
  type: 'sample',
  bridge: 'cni0',
  isGateway: true,
  mtu: 1500,
  tags: ['a'],
  size: 5,
  where: { x: 1 },
  routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1', table: 0 }],
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/24' }]] },
  dns: { nameservers: ['1.1.1.1'] },
  args: { cni: { mac: '02:00:00:00:00:01', ips: ['10.1.0.5'] } },
  capabilities: { portMappings: true, mac: true },
  runtimeConfig: {
    PortMappings: [{ HostPort: 80, ContainerPort: 8080, Protocol: 'tcp' }],
    dns: { Servers: null },
  },
  prevResult: { cniVersion: '1.1.0', ...sampleResult() },
  'cni.dev/valid-attachments': [{ containerID: 'c1', ifname: 'eth0' }],
};

const nasty = fc.constantFrom<unknown>(
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  '',
  ' ',
  '.',
  '..',
  '../../etc/passwd',
  'a/b',
  'a\0b',
  '\ud800',
  '10.0.0.1',
  '10.0.0.0/33',
  'fd00::/64',
  '0.1.0',
  '1.1.0',
  '9.9.9',
  '%d',
  [],
  {},
  [null],
  [[[]]],
  'x'.repeat(300),
  JSON.parse('{"__proto__":{"x":1},"constructor":{"prototype":1}}'),
);
const anything = fc.oneof(nasty, fc.jsonValue({ maxDepth: 4 }), fc.string());

type Path = (string | number)[];

/** The path of every value in a JSON value. */
function pathsOf(value: unknown, at: Path = []): Path[] {
  const below =
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, item]) =>
          pathsOf(item, [...at, Array.isArray(value) ? Number(key) : key]),
        )
      : [];
  return [at, ...below];
}

function changed(
  value: unknown,
  path: Path,
  change: (value: unknown, parent: Record<string, unknown>, key: string) => unknown,
): unknown {
  const copy = structuredClone(value);
  const key = path.at(-1);
  if (key === undefined) return change(copy, {}, '');
  let parent = copy as Record<string, unknown>;
  for (const step of path.slice(0, -1)) parent = parent[String(step)] as Record<string, unknown>;
  const next = change(parent[String(key)], parent, String(key));
  if (next === undefined) delete parent[String(key)];
  else parent[String(key)] = next;
  return copy;
}

const onePath = fc.constantFrom(...pathsOf(goodConf));
/** One change of a good configuration: a value replaced, removed, wrapped, or its key spelled otherwise. */
const mutation = fc.oneof(
  fc.tuple(onePath, anything).map(
    ([path, value]) =>
      (conf: unknown) =>
        changed(conf, path, () => value),
  ),
  onePath.map((path) => (conf: unknown) => changed(conf, path, () => undefined)),
  onePath.map((path) => (conf: unknown) => changed(conf, path, (value) => [value])),
  onePath.map((path) => (conf: unknown) => changed(conf, path, (value) => ({ value }))),
  onePath.map(
    (path) => (conf: unknown) =>
      changed(conf, path, (value, parent, key) => {
        parent[key.toUpperCase()] = value;
        return undefined;
      }),
  ),
  fc
    .constantFrom(...SUPPORTED_VERSIONS)
    .map((cniVersion) => (conf: unknown) => changed(conf, ['cniVersion'], () => cniVersion)),
);

const mutatedConf = fc.array(mutation, { maxLength: 4 }).map((mutations) => {
  let conf: unknown = goodConf;
  for (const mutate of mutations) {
    try {
      conf = mutate(conf);
    } catch {
      // An earlier change took the ground from under this one.
    }
  }
  return JSON.stringify(conf) ?? '';
});

/** Text that is damaged after it was JSON: cut, doubled, with characters replaced. */
const damaged = fc
  .tuple(mutatedConf, fc.nat(2000), fc.string({ maxLength: 5 }), fc.boolean())
  .map(([text, at, noise, cut]) => text.slice(0, at) + noise + (cut ? '' : text.slice(at + 1)));

const variable = fc.oneof(
  fc.constantFrom<string | undefined>(
    undefined,
    '',
    '.',
    '..',
    '../x',
    'a/b',
    'eth0',
    'c1',
    '1',
    'true',
    'x'.repeat(20),
    'a;b=c',
    'IgnoreUnknown=1;A=b',
    '=',
    'IP=1;MAC',
    ':::',
    'a\0b',
    '/run/netns/gone',
  ),
  fc.string(),
);
const environment: fc.Arbitrary<Env> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...COMMANDS).map(fullEnv) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...COMMANDS, '', 'add', 'FOO', '__proto__', 'constructor'),
        fc.dictionary(
          fc.constantFrom(
            'CNI_CONTAINERID',
            'CNI_NETNS',
            'CNI_IFNAME',
            'CNI_PATH',
            'CNI_ARGS',
            'CNI_NETNS_OVERRIDE',
          ),
          variable,
        ),
      )
      .map(([command, odd]) => ({ ...fullEnv(command), ...odd })),
  },
);

const CODES = /^(1|4|6|7|8)$/;

/** Calls a plugin that itself never fails, and holds the answer to the rules. */
async function holds(env: Env, input: string): Promise<void> {
  const plugin = samplePlugin();
  const look = () => ({ state: 'other' }) as const;
  const outcome = await runPlugin(plugin, fakeAmbient(env, input), { look });
  const { status, stdout, stderr } = outcome;
  const complain = (problem: string): never => {
    throw new Error(`${problem}: ${JSON.stringify({ env, input, outcome })}`);
  };
  if (/^\s+at .+:\d+:\d+/m.test(stdout + stderr)) complain('a stack trace');
  if (!env.CNI_COMMAND) {
    if (status !== 0 || stdout !== '') complain('about');
    return;
  }
  if (status === 0) {
    const printed = env.CNI_COMMAND === 'ADD' || env.CNI_COMMAND === 'VERSION';
    if (printed !== (stdout !== '')) complain('output');
    if (printed && !SUPPORTED_VERSIONS.includes(JSON.parse(stdout).cniVersion)) complain('version');
    return;
  }
  const error = JSON.parse(stdout) as Record<string, unknown>;
  if (status !== 1) complain('status');
  if (!CODES.test(String(error.code))) complain('code');
  if (typeof error.msg !== 'string' || error.msg === '') complain('msg');
  if (!(SUPPORTED_VERSIONS as readonly unknown[]).includes(error.cniVersion)) complain('cniVersion');
  // 0.2.0 cannot say a result without an address: known only after the plugin has run, which is then called to clean up.
  const late = error.code === 1 && plugin.calls.some(({ verb }) => verb === 'DEL');
  if (plugin.calls.length > 0 && !late) complain('the plugin was called');
}

t.test('mutated configurations and environments', async (t) => {
  await fc.assert(fc.asyncProperty(environment, mutatedConf, holds), { numRuns: RUNS });
  t.pass(`${RUNS} calls`);
});

t.test('damaged text', async (t) => {
  await fc.assert(fc.asyncProperty(environment, damaged, holds), { numRuns: RUNS });
  t.pass(`${RUNS} calls`);
});

t.test('any text', async (t) => {
  const text = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.json(),
    anything.map((value) => JSON.stringify(value)),
  );
  await fc.assert(fc.asyncProperty(environment, text, holds), { numRuns: RUNS });
  t.pass(`${RUNS} calls`);
});

t.test("objects of the schema's keys with any values", async (t) => {
  const keys = fc.constantFrom(...Object.keys(sampleSchema.properties), 'cni.dev/attachments');
  const conf = fc.dictionary(keys, anything).map((odd) => JSON.stringify({ ...goodConf, ...odd }));
  await fc.assert(fc.asyncProperty(environment, conf, holds), { numRuns: RUNS });
  t.pass(`${RUNS} calls`);
});

t.test('nothing of it polluted a prototype', async (t) => {
  t.strictSame(Object.keys(Object.prototype), []);
  t.equal(({} as Record<string, unknown>).x, undefined);
});
