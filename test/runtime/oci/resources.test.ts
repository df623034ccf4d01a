/** Limits, filters, paths of groups and command lines of weft-oci, as text. */
import t from 'tap';
import { runOci } from '../../../cli/oci/main.ts';
import { takeOptions } from '../../../cli/oci/words.ts';
import type { OciResources } from '../../../runtime/oci/bundle.ts';
import { deviceSettings, limitsDevices, resourceSettings } from '../../../runtime/oci/resources.ts';
import { seccompRules } from '../../../runtime/oci/seccomp.ts';
import { cgroupPathOf, folderOf } from '../../../runtime/oci/state.ts';

const lines = (resources: OciResources, version: 1 | 2) =>
  resourceSettings(resources, version).map(({ file, value }) => `${file} ${value}`);

t.test('limits for both versions of control groups', async (t) => {
  const resources: OciResources = {
    memory: { limit: 1000, swap: 3000, reservation: 500 },
    cpu: { shares: 1024, quota: 5000, period: 10000, cpus: '0-1', mems: '0' },
    pids: { limit: -1 },
    blockIO: { weight: 10, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 77 }] },
  };
  t.same(lines(resources, 1), [
    ...[
      'cpu.shares 1024',
      'cpu.cfs_period_us 10000',
      'cpu.cfs_quota_us 5000',
      'cpuset.cpus 0-1',
      'cpuset.mems 0',
    ],
    ...['memory.limit_in_bytes 1000', 'memory.memsw.limit_in_bytes 3000', 'memory.soft_limit_in_bytes 500'],
    ...['pids.max max', 'blkio.weight 10', 'blkio.throttle.read_bps_device 8:0 77'],
  ]);
  t.same(lines(resources, 2), [
    ...['cpu.weight 39', 'cpu.max 5000 10000', 'cpuset.cpus 0-1', 'cpuset.mems 0'],
    ...[
      'memory.max 1000',
      'memory.swap.max 2000',
      'memory.low 500',
      'pids.max max',
      'io.weight 10',
      'io.max 8:0 rbps=77',
    ],
  ]);
  t.same(lines({ unified: { 'memory.high': '9' } }, 2), ['memory.high 9']);
  t.throws(() => lines({ unified: { '../x': '1' } }, 2), { message: /no file "..\/x"/ });
  t.throws(() => lines({ unified: { 'hugetlb.2MB.max': '1' } }, 2), { message: /hugetlb/ });
});

t.test('devices', async (t) => {
  const resources = {
    devices: [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
    ],
  };
  t.same(lines(resources, 1), ['devices.deny a', 'devices.allow c 10:229 rw']);
  t.ok(limitsDevices(resources));
  t.notOk(limitsDevices({ devices: [{ allow: true, access: 'rwm' }] }), 'a privileged container');
  const always = deviceSettings(resources, [{ path: '/dev/x', type: 'b', major: 1, minor: 2 }]);
  t.match(
    always.map(({ value }) => value),
    ['c *:* m'],
  );
  t.equal(always.at(-1)?.value, 'b 1:2 rwm');
  t.same(deviceSettings({}, []), []);
});

t.test('filters of system calls', async (t) => {
  const args = [
    { index: 0, value: 1, op: 'SCMP_CMP_EQ' },
    { index: 0, value: 2, op: 'SCMP_CMP_EQ' },
  ];
  const seccomp = {
    ...{ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 38, architectures: ['SCMP_ARCH_X86_64'] },
    syscalls: [
      { names: ['read', 'write'], action: 'SCMP_ACT_ALLOW' },
      { names: ['personality'], action: 'SCMP_ACT_ALLOW', args },
      { names: ['ptrace'], action: 'SCMP_ACT_KILL_PROCESS' },
      { names: ['bdflush'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
    ],
  };
  t.same(seccompRules(seccomp), [
    ...['default refuse 38', 'arch x86_64', 'allow read', 'allow write'],
    ...['allow personality 0 EQ 1 0', 'allow personality 0 EQ 2 0', 'kill-process ptrace'],
  ]);
  t.throws(() => seccompRules({ defaultAction: 'SCMP_ACT_NOTIFY' }), {
    message: /SCMP_ACT_NOTIFY is not supported/,
  });
});

t.test('ids and paths of groups', async (t) => {
  const path = (cgroupsPath?: string) =>
    cgroupPathOf(
      { ociVersion: '1.0.0', linux: { ...(cgroupsPath !== undefined && { cgroupsPath }) } },
      'one',
    );
  t.equal(path('/a/b'), 'a/b');
  t.equal(path(), 'weft-oci/one');
  t.throws(() => path('system.slice:libpod:x'), { message: /cgroupfs/ });
  for (const wrong of ['/../x', '/']) t.throws(() => path(wrong), { message: /below the root/ });
  t.equal(folderOf('/r', 'a.b-c_1'), '/r/a.b-c_1');
  for (const wrong of ['', '../x', '.filters', 'a/b'])
    t.throws(() => folderOf('/r', wrong), { message: /no container id/ });
});

t.test("command lines in Go's manner", async (t) => {
  const known = { root: true, all: false };
  const { options, rest } = takeOptions(['--root', '/r', '-all', 'kill', '--root'], known);
  t.same(
    [...options],
    [
      ['root', '/r'],
      ['all', 'true'],
    ],
  );
  t.same(rest, ['kill', '--root']);
  t.same([...takeOptions(['--root=/x=y'], known).options], [['root', '/x=y']]);
  t.throws(() => takeOptions(['--root'], known), { message: /wants a value/ });
  t.throws(() => takeOptions(['--moon'], known), { message: /unknown option --moon/ });
});

t.test('errors go to standard error and to the log', async (t) => {
  const root = t.testdir({});
  const call = async (...words: string[]) => {
    const said = { out: '', err: '', status: 0 };
    const streams = { out: (text: string) => (said.out += text), err: (text: string) => (said.err += text) };
    said.status = await runOci(words, '/nowhere', streams);
    return said;
  };
  const log = `${root}/log.json`;
  const missing = await call('--root', root, '--log', log, '--log-format', 'json', 'state', 'none');
  t.same(missing, { status: 1, out: '', err: 'container "none" does not exist\n' });
  const { readFileSync } = await import('node:fs');
  t.match(JSON.parse(readFileSync(log, 'utf8')), { level: 'error', msg: 'container "none" does not exist' });
  t.match(await call('--root', root, 'delete', '--force', 'none'), { status: 0 });
  t.match(await call('--root', root, 'delete', 'none'), { status: 1 });
  t.match(await call('--systemd-cgroup', 'state', 'x'), { status: 1, err: /cgroupfs/ });
  t.match(await call('checkpoint', 'x'), { status: 1, err: /unknown command "checkpoint"/ });
  t.match(await call('--root', root, 'create', '--bundle', '/nowhere', 'x'), {
    status: 1,
    err: /config\.json/,
  });
  t.match(await call('--version'), { status: 0, out: /^weft-oci version .*\nspec: 1\.0\.2\n$/ });
  t.equal((await call('--root', root, 'list', '--format', 'json')).out, '[]\n');
  const features = JSON.parse((await call('features')).out);
  t.match(features, { linux: { cgroup: { v1: true, v2: true, systemd: false } } });
});
