/**
 * Noise for the executables: good configurations and environments with a few things changed, removed, wrapped, doubled or
 * spelled otherwise. What would lead out of the simulated host (folders of leases, folders of programs) is taken from a list.
 */
import fc from 'fast-check';
import { SUPPORTED_VERSIONS } from '../../cni/types.ts';
import { GOOD } from './configurations.ts';

export type Env = Record<string, string | undefined>;

/** One call, to be followed by its DEL. */
export interface Noise {
  plugin: string;
  command: string;
  input: string;
  /** Changes of the environment that is right; undefined takes a variable away. */
  env: Env;
}

/** Paths of one host that may stand in a configuration or an environment. */
export interface SafePaths {
  /** For `ipam.dataDir`. */
  dataDirs: readonly string[];
  /** For CNI_NETNS. */
  namespaces: readonly string[];
  /** For CNI_PATH. */
  programs: readonly string[];
}

const NASTY: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1.5, 1e308, 2 ** 32, 2 ** 53, 68, 1279, 4094, 65535],
  ...['', ' ', '.', '..', '../../x', 'a/b', 'a\0b', 'a\nb', '\ud800', '%d', 'x'.repeat(300), 'ü'.repeat(15)],
  ...[
    '10.1.0.5',
    '10.1.0.1',
    '10.1.0.300',
    '10.1.0.0/24',
    '10.1.0.128/25',
    '10.1.0.0/30',
    '10.1.0.0/33',
    '0.0.0.0/0',
  ],
  ...['fd00::/64', 'fd00::1', '::/0', '::', 'fe80::1', 'ff02::1/64', '::ffff:10.1.0.1', ':::'],
  ...[
    '0.1.0',
    '0.2.0',
    '0.4.0',
    '1.1.0',
    '9.9.9',
    'host-local',
    'static',
    'no-such',
    'bridge',
    'iptables',
    'nftables',
  ],
  ...['02:00:00:00:00:01', '01:00:5e:00:00:01', 'br0', 'lo', 'eth0'],
  ...[[], {}, [null], [[]], [[{}]], [[[]]], { type: 'static' }, { cni: { ips: ['10.1.0.9'] } }],
  [{ dst: '0.0.0.0/0' }, { dst: '0.0.0.0/0' }],
  [{ dst: '10.0.0.0/8', gw: '192.0.2.1', mtu: 1, advmss: 1, priority: 1, table: 0, scope: 0 }],
  [[{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.250' }], [{ subnet: 'fd00:5::/64' }]],
  [{ minID: 5, maxID: 2 }],
  [{ id: 5 }],
  JSON.parse('{"__proto__":{"x":1},"constructor":{"prototype":1}}'),
];
const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 1, arbitrary: fc.string() },
);

/** Every field that any plugin knows, so that changes meet fields that the good configuration does not have. */
const FIELDS: readonly string[] = [
  ...['cniVersion', 'name', 'type', 'bridge', 'isGateway', 'isDefaultGateway', 'forceAddress', 'ipMasq'],
  ...[
    'ipMasqBackend',
    'mtu',
    'hairpinMode',
    'promiscMode',
    'vlan',
    'vlanTrunk',
    'preserveDefaultVlan',
    'macspoofchk',
  ],
  ...[
    'enabledad',
    'disableContainerInterface',
    'portIsolation',
    'args',
    'runtimeConfig',
    'capabilities',
    'prevResult',
  ],
  ...['dns', 'ipam', 'cni.dev/valid-attachments', 'cni.dev/attachments'],
  ...['mode', 'vni', 'port', 'device', 'pool', 'pools', 'directRoutes', 'backend', 'bgp'],
];
const PREVIOUS = {
  cniVersion: '1.1.0',
  interfaces: [
    { name: 'br0' },
    { name: 'vethx' },
    { name: 'eth0', sandbox: '/run/netns/x', mac: '02:00:00:00:00:07' },
  ],
  ips: [{ address: '10.1.0.2/24', gateway: '10.1.0.1', interface: 2 }],
  routes: [{ dst: '0.0.0.0/0' }],
};

type Path = readonly (string | number)[];
type Change = (conf: unknown) => unknown;

function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [at];
  const keys = Object.entries(value).map(
    ([key, item]) => [Array.isArray(value) ? Number(key) : key, item] as const,
  );
  return [at, ...keys.flatMap(([key, item]) => pathsOf(item, [...at, key]))];
}

/** The copy with something else at a path; where the path leads nowhere (another change took it away), the copy as it is. */
function replaced(conf: unknown, path: Path, change: (found: unknown) => unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return change(conf);
  if (typeof conf !== 'object' || conf === null) return conf;
  const copy = (Array.isArray(conf) ? [...conf] : { ...conf }) as Record<string | number, unknown>;
  const next = replaced(copy[key], rest, change);
  if (next === undefined) delete copy[key];
  else copy[key] = next;
  return copy;
}

function changeOf(paths: readonly Path[]): fc.Arbitrary<Change> {
  const path = fc.constantFrom(...paths);
  const at = (change: (found: unknown) => unknown) =>
    path.map(
      (at): Change =>
        (conf) =>
          replaced(conf, at, change),
    );
  const field = fc.constantFrom(...FIELDS);
  return fc.oneof(
    fc.tuple(path, value).map(
      ([at, value]): Change =>
        (conf) =>
          replaced(conf, at, () => value),
    ),
    fc.tuple(field, fc.oneof(value, fc.constant(true), fc.constant(PREVIOUS))).map(
      ([key, value]): Change =>
        (conf) =>
          replaced(conf, [key], () => value),
    ),
    at(() => undefined),
    at((found) => [found]),
    at((found) => (Array.isArray(found) ? [...found, ...found] : { value: found })),
    fc.constantFrom(...SUPPORTED_VERSIONS).map(
      (version): Change =>
        (conf) =>
          replaced(conf, ['cniVersion'], () => version),
    ),
    // Keys in another spelling: Go programs write them so.
    fc.constant<Change>((conf) =>
      typeof conf === 'object' && conf !== null && !Array.isArray(conf)
        ? Object.fromEntries(Object.entries(conf).map(([key, item]) => [key.toUpperCase(), item]))
        : conf,
    ),
  );
}

/** Leases are kept where nothing else is, whatever a change has put there. */
function tamed(conf: unknown, dataDir: string): unknown {
  if (typeof conf !== 'object' || conf === null) return conf;
  if (Array.isArray(conf)) return conf.map((item) => tamed(item, dataDir));
  return Object.fromEntries(
    Object.entries(conf).map(([key, item]) => [key, /^datadir$/i.test(key) ? dataDir : tamed(item, dataDir)]),
  );
}

const CONTAINER_IDS = ['', '.', '..', '../x', 'a/b', 'a\nb', 'c1', 'C-1.x', '-', 'x'.repeat(300), 'é'];
const IFNAMES = [
  '',
  '.',
  '..',
  'a/b',
  'lo',
  'eth0',
  'eth1',
  'a b',
  'x'.repeat(15),
  'x'.repeat(16),
  'é',
  '%d',
  '\u0001',
];
const ARGS = [
  ...[
    '',
    'IP=10.1.0.7',
    'IP=x',
    'MAC=02:00:00:00:00:05',
    'MAC=x',
    'A=b',
    'IgnoreUnknown=1;A=b',
    '=',
    ';;',
    'K8S_POD=x',
  ],
  ...['GATEWAY=10.1.0.1', 'IP=10.1.0.5/24,fd00::5/64', '__proto__=1', 'IgnoreUnknown=maybe'],
];
const COMMANDS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const;

function environment(paths: SafePaths): fc.Arbitrary<Env> {
  const one = (name: string, values: readonly (string | undefined)[]) =>
    fc.constantFrom(undefined, ...values).map((value): Env => ({ [name]: value }));
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant<Env>({}) },
    {
      weight: 2,
      arbitrary: fc
        .array(
          fc.oneof(
            one('CNI_CONTAINERID', CONTAINER_IDS),
            one('CNI_IFNAME', IFNAMES),
            one('CNI_ARGS', ARGS),
            one('CNI_NETNS', paths.namespaces),
            one('CNI_PATH', ['', ':', ...paths.programs]),
            one('CNI_NETNS_OVERRIDE', ['', '0', '1', 'true', 'x']),
            one('WEFT_DEBUG', ['', '1']),
          ),
          { maxLength: 3 },
        )
        .map((changes): Env => Object.assign({}, ...changes)),
    },
  );
}

/** A call with up to four changes of its configuration, sometimes with its text damaged, and some of its environment. */
export function noise(paths: SafePaths): fc.Arbitrary<Noise> {
  const plugin = fc.constantFrom(...Object.keys(GOOD));
  return plugin.chain((plugin) => {
    const good = GOOD[plugin] ?? {};
    const changes = fc.array(changeOf(pathsOf(good)), { maxLength: 3 });
    const damage = fc.oneof(
      { weight: 9, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.tuple(fc.nat(400), fc.string({ maxLength: 4 }), fc.boolean()) },
    );
    return fc.record({
      plugin: fc.constant(plugin),
      command: fc.oneof(
        { weight: 5, arbitrary: fc.constant('ADD') },
        { weight: 2, arbitrary: fc.constantFrom(...COMMANDS) },
        { weight: 1, arbitrary: fc.constantFrom('', 'add', '__proto__', 'X') },
      ),
      input: fc
        .tuple(changes, damage, fc.constantFrom(...paths.dataDirs))
        .map(([changes, damage, dataDir]) => {
          const conf = changes.reduce<unknown>((conf, change) => change(conf), good);
          const text = JSON.stringify(tamed(conf, dataDir)) ?? '';
          if (damage === undefined) return text;
          const [at, insert, cut] = damage;
          // Damage must not lead the leases elsewhere either.
          const damaged = text.slice(0, at) + insert + (cut ? '' : text.slice(at + 1));
          return /datadir/i.test(text) ? text : damaged;
        }),
      env: environment(paths),
    });
  });
}

/** What a plugin must hold to, whatever it was called with. `hostErrors`: codes that only a broken host may cause. */
export function complaints(
  call: Pick<Noise, 'command'>,
  outcome: { status: number; stdout: string; stderr: string },
): string[] {
  const { status, stdout, stderr } = outcome;
  const found: string[] = [];
  if (/^\s+at .+:\d+:\d+/m.test(stdout + stderr)) found.push('a stack trace');
  if (call.command === '') return status === 0 && stdout === '' ? found : [...found, 'what the plugin is'];
  if (stdout === '') return status === 0 ? found : [...found, `status ${status} without an error`];
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(stdout);
  } catch {
    return [...found, 'not one JSON object'];
  }
  if (!(SUPPORTED_VERSIONS as readonly unknown[]).includes(json.cniVersion)) found.push('cniVersion');
  if (status === 0) return json.code === undefined ? found : [...found, 'an error with status 0'];
  if (status !== 1) found.push(`status ${status}`);
  if (!Number.isInteger(json.code) || json.code === 999) found.push(`code ${json.code}`);
  if (typeof json.msg !== 'string' || json.msg === '' || json.msg.length > 4000) found.push('msg');
  return found;
}

/** Codes with which DEL may refuse: nothing can be done for a call without identity, or for a namespace that is the host's. */
export const DEL_MAY_SAY: ReadonlySet<number> = new Set([1, 4, 6, 7, 8]);
