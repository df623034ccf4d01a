/** The registry in a YAML file: people write it, several processes write it at once, and what is wrong in it is named. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/until.ts';
import { clashes, follow, hosts, open, POOL, POOL6, request, told } from './registry-support.ts';

const WRITTEN = `# the hosts of our lab
networks:
  pods:
    hosts:
      # in the cellar
      host-1:
        addresses: [192.0.2.1, "2001:DB8::1"]  # static
        subnets: [10.244.7.0/24]
      host-2: { addresses: [192.0.2.2], subnets: [10.244.8.0/24, fd00:244:0:8::/64], mac: 02:00:00:00:00:0A }
  empty:
`;

t.test('a file that a person wrote: hosts keep what it says, and comments stay', async (t) => {
  const file = join(t.testdir({ 'hosts.yaml': WRITTEN }), 'hosts.yaml');
  const { registry } = await open(t, file);
  t.same(await registry.read('pods'), {
    members: [
      { host: 'host-1', addresses: ['192.0.2.1', '2001:db8::1'], subnets: ['10.244.7.0/24'] },
      {
        host: 'host-2',
        addresses: ['192.0.2.2'],
        subnets: ['10.244.8.0/24', 'fd00:244:0:8::/64'],
        mac: '02:00:00:00:00:0a',
      },
    ],
    endpoints: [],
  });
  const member = await registry.join(
    request(1, { pools: [POOL, POOL6], addresses: ['192.0.2.1', '2001:db8::1'] }),
  );
  t.equal(member.subnets[0], '10.244.7.0/24');
  await registry.publish('pods', 'host-1', [
    { address: '10.244.7.2', mac: '02:00:00:00:00:01', host: 'host-1' },
  ]);
  await registry.join(request(3, { network: 'empty' }));
  const text = readFileSync(file, 'utf8');
  t.match(text, /^# the hosts of our lab$/m);
  t.match(text, /^ +# in the cellar$/m);
  t.match(text, /addresses: \[ ?192\.0\.2\.1, "2001:DB8::1" ?\] +# static/);
  t.match(text, /^ +10\.244\.7\.2: \{ mac: 02:00:00:00:00:01, host: host-1 \}$/m);
  t.match((await registry.read('empty')).members, [{ host: 'host-3' }]);
  await registry.leave('pods', 'host-1');
  t.same(hosts(await registry.read('pods')), ['host-2']);
  t.same((await registry.read('pods')).endpoints, []);
});

t.test('what changes nothing writes nothing: a file that may only be read will do', async (t) => {
  const file = join(t.testdir({ 'hosts.yaml': WRITTEN }), 'hosts.yaml');
  const { registry } = await open(t, file);
  chmodSync(file, 0o444);
  const before = statSync(file).ino;
  const { mac: _, ...asWritten } = request(1, { addresses: ['192.0.2.1', '2001:db8::1'] });
  await registry.join(asWritten);
  await registry.leave('pods', 'nobody');
  t.equal(statSync(file).ino, before);
  await registry.join(request(4));
  t.not(statSync(file).ino, before);
  t.equal(statSync(file).mode & 0o777, 0o444, 'as it was');
  t.same(readdirSync(join(file, '..')).sort(), ['.hosts.yaml.lock', 'hosts.yaml']);
});

t.test('a missing file is an empty registry, and is made; a link stays one', async (t) => {
  const folder = t.testdir({});
  const file = join(folder, 'hosts.yaml');
  const { registry } = await open(t, `file://${file}`);
  t.same(await registry.read('pods'), { members: [], endpoints: [] });
  await registry.join(request(1));
  t.equal(statSync(file).mode & 0o777, 0o600);
  symlinkSync(file, join(folder, 'link.yaml'));
  const linked = await open(t, join(folder, 'link.yaml'));
  await linked.registry.join(request(2));
  t.same(hosts(await registry.read('pods')), ['host-1', 'host-2']);
});

t.test('processes that write at once: nothing is lost, no two hold one subnet', async (t) => {
  const file = join(t.testdir({}), 'hosts.yaml');
  const child = (from: number) =>
    new Promise<void>((resolve, reject) => {
      const script = `
        const { openRegistry } = await import('./cluster/open-registry.ts');
        const { request } = await import('./test/cluster/registry-support.ts');
        const registry = await openRegistry(${JSON.stringify(file)}, { env: {} });
        const numbers = Array.from({ length: 12 }, (_, index) => ${from} + index);
        await Promise.all(numbers.map((number) => registry.join(request(number))));
        await Promise.all(numbers.slice(0, 4).map((number) => registry.leave('pods', 'host-' + number)));`;
      const root = join(import.meta.dirname, '..', '..');
      const args = ['--import=tsx', '--input-type=module', '-e', script];
      const process_ = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' });
      process_.once('exit', (status) =>
        status === 0 ? resolve() : reject(new Error(`ended with ${status}`)),
      );
    });
  await Promise.all([child(1), child(51), child(101)]);
  const { registry } = await open(t, file);
  const { members } = await registry.read('pods');
  t.equal(members.length, 24);
  t.same(clashes(members), []);
});

t.test('a watched file: changes, a mistake in the middle, a gap, and its replacement', async (t) => {
  const file = join(t.testdir({}), 'hosts.yaml');
  const one = await open(t, file);
  follow(t, one);
  await told(one, 'empty', ({ members }) => members.length === 0);
  writeFileSync(file, WRITTEN);
  await told(one, 'written', (state) => hosts(state).length === 2);
  writeFileSync(file, WRITTEN.replace('10.244.7.0/24', '10.244.300.0/24'));
  await until('the mistake is told', () => one.events.length === 1);
  t.match(
    one.events[0],
    /^lost: registry file .*hosts\.yaml: line 8: networks\.pods\.hosts\.host-1\.subnets\[0\]: found "10\.244\.300\.0\/24"/,
  );
  writeFileSync(file, WRITTEN.replace('10.244.7.0/24', '10.244.400.0/24'));
  await until('another one is told as well', () => one.events.length === 2);
  t.match(one.events.pop(), /found "10\.244\.400\.0\/24"/);
  writeFileSync(`${file}.tmp`, WRITTEN.replace('host-2', 'host-3'));
  renameSync(`${file}.tmp`, file);
  await told(one, 'mended', (state) => hosts(state).join() === 'host-1,host-3');
  await until('and said so', () => one.events.length === 2);
  writeFileSync(file, '');
  await until('emptied on the way to new content', () => one.events.length === 3);
  writeFileSync(file, WRITTEN.replace('host-2', 'host-4'));
  await told(one, 'written in place', (state) => hosts(state).join() === 'host-1,host-4');
  one.events.splice(2);
  rmSync(file);
  await until('the gap is told', () => one.events.length === 3);
  t.same(
    hosts(one.states.at(-1) ?? { members: [], endpoints: [] }),
    ['host-1', 'host-4'],
    'the last good state stays',
  );
  writeFileSync(`${file}.tmp`, WRITTEN);
  renameSync(`${file}.tmp`, file);
  await told(one, 'it is there again', (state) => hosts(state).join() === 'host-1,host-2');
  t.match(one.events, [/^lost/, /^found$/, /^lost: registry file .* cannot be read: ENOENT/, /^found$/]);
});

t.test('a folder that goes after the start, and comes after the watch', async (t) => {
  const folder = join(t.testdir({ later: {} }), 'later');
  const file = join(folder, 'hosts.yaml');
  const [one, two] = [await open(t, file), await open(t, file)];
  rmSync(folder, { recursive: true });
  follow(t, one);
  await told(one, 'empty', ({ members }) => members.length === 0);
  await two.registry.join(request(1));
  await told(one, 'joined', ({ members }) => members.length === 1);
});

const host = (lines: string) => `networks:\n  pods:\n    hosts:\n      a:\n${lines}`;
const GOOD = '        addresses: [192.0.2.1]\n';
const MISTAKES: readonly [string, string, RegExp][] = [
  ['no map', '- a\n', /line 1: configuration: found a list|line 1: .*wanted an object/],
  ['no YAML', 'networks: [\n', /line \d+: flow sequence/],
  ['a tab', 'networks:\n\tpods: {}\n', /line \d: /],
  ['a host twice', `${host(GOOD)}      a: {addresses: [192.0.2.2]}\n`, /line 6: map keys must be unique/],
  ['an unknown top key', 'network: {}\n', /line 1: network: found \{\}, wanted no such key, only networks/],
  [
    'an unknown key of a host',
    host(`${GOOD}        subnet: 10.0.0.0/24\n`),
    /line 6: networks\.pods\.hosts\.a\.subnet: found "10\.0\.0\.0\/24", wanted no such key, only addresses, subnets, borrowed, mac/,
  ],
  [
    'no addresses',
    host('        subnets: [10.0.0.0/24]\n'),
    /line 4: networks\.pods\.hosts\.a\.addresses: missing, wanted a list of 1 to 2/,
  ],
  [
    'addresses that are none',
    host('        addresses: [localhost]\n'),
    /line 5: networks\.pods\.hosts\.a\.addresses\[0\]: found "localhost", wanted an IPv4 or IPv6 address/,
  ],
  [
    'one that looks like one',
    host('        addresses: [192.0.2.256]\n'),
    /line 5: .*addresses\[0\]: found "192\.0\.2\.256"/,
  ],
  [
    'a text for a list',
    host('        addresses: 192.0.2.1\n'),
    /line 5: .*addresses: found "192\.0\.2\.1", wanted a list/,
  ],
  [
    'a host that is null',
    'networks:\n  pods:\n    hosts:\n      a:\n',
    /line 4: networks\.pods\.hosts\.a: found null, wanted an object/,
  ],
  [
    'host bits',
    host(`${GOOD}        subnets: [10.0.0.1/24]\n`),
    /line 6: .*subnets\[0\]: found "10\.0\.0\.1\/24", wanted a prefix without host bits: 10\.0\.0\.0\/24/,
  ],
  [
    'a bad length',
    host(`${GOOD}        subnets:\n          - 10.0.0.0/24\n          - 10.0.0.0/33\n`),
    /line 8: .*subnets\[1\]/,
  ],
  [
    'a multicast MAC',
    host(`${GOOD}        mac: 03:00:00:00:00:01\n`),
    /line 6: .*mac: found "03:00:00:00:00:01", wanted a MAC address/,
  ],
  ['a bad name', 'networks:\n  "a/b": {}\n', /line 2: networks\.a\/b: found "a\/b", wanted a network name/],
  [
    'an overlap',
    `${host(`${GOOD}        subnets: [10.0.0.0/16]\n`)}      b:\n        addresses: [192.0.2.2]\n        subnets: [10.0.7.0/24]\n`,
    /line 9: networks\.pods\.hosts\.b\.subnets\[0\]: found "10\.0\.7\.0\/24", wanted a prefix that overlaps no other \(10\.0\.0\.0\/16 of host a does\)/,
  ],
  [
    'an endpoint of nobody',
    `${host(GOOD)}    endpoints:\n      10.0.0.2: {mac: 02:00:00:00:00:01, host: z}\n`,
    /line 7: .*host: found "z", wanted one of the hosts of network pods/,
  ],
  [
    'an endpoint that is none',
    `${host(GOOD)}    endpoints:\n      10.0.0: {mac: 02:00:00:00:00:01, host: a}\n`,
    /line 7: .*found "10\.0\.0", wanted an address/,
  ],
  [
    'a billion laughs',
    `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nnetworks: {a: *c}\n`,
    /excessive alias count|no such key/,
  ],
];

t.test('what is wrong in a file is named: file, line, field, found, wanted', async (t) => {
  const folder = t.testdir({});
  for (const [name, text, message] of MISTAKES) {
    const file = join(folder, 'hosts.yaml');
    writeFileSync(file, text);
    const { registry } = await open(t, file);
    const error = await registry.read('pods').catch((error: unknown) => error);
    t.match(error, { problem: 'invalid' }, name);
    t.match(String(error), message, name);
    t.match(String(error), `registry file ${file}`, name);
    await t.rejects(registry.join(request(1)), { message: /registry file/ });
    t.equal(readFileSync(file, 'utf8'), text, 'and is not touched');
  }
});

t.test('an alias gives way to its content when it is changed', async (t) => {
  const text =
    'networks:\n  one: &one\n    hosts: {host-1: {addresses: [192.0.2.1]}}\n  pods: *one\n  none: {hosts: }\n';
  const file = join(t.testdir({ 'hosts.yaml': text }), 'hosts.yaml');
  const { registry } = await open(t, file);
  await registry.join(request(2));
  await registry.join(request(3, { network: 'none' }));
  t.same(hosts(await registry.read('one')), ['host-1']);
  t.same(hosts(await registry.read('pods')), ['host-1', 'host-2']);
  t.same(hosts(await registry.read('none')), ['host-3']);
});
