/** A container's start as data: what the monitor is told, without root. */
import t from 'tap';
import { containerSteps, executionSteps, type Prepared } from '../../../runtime/container/container-steps.ts';
import type { ContainerSpec } from '../../../runtime/container/spec.ts';
import { encodeSteps, renderStep } from '../../../runtime/container/steps.ts';

const SPEC: ContainerSpec = {
  id: 'a'.repeat(64),
  name: 'web',
  created: 0,
  command: ['sh', '-c', 'echo hi'],
  env: ['PATH=/bin'],
  cwd: '/',
  user: { uid: 0, gid: 0, groups: [] },
  hostname: 'web',
  namespaces: ['net', 'pid', 'mnt', 'uts', 'ipc', 'cgroup'],
  unprivileged: false,
  root: { kind: 'host' },
  readOnly: false,
  mounts: [],
  limits: {},
  sysctls: {},
  networks: [],
  ports: [],
  dns: [],
  terminal: false,
  interactive: false,
  init: false,
  remove: false,
};
const PREPARED: Prepared = {
  cgroups: ['/cg/cpu/weft/x'],
  rootSteps: [['mount', 'overlay', '/c/root', 'overlay', 'nodev', 'lowerdir=/']],
  root: '/c/root',
  taken: [{ source: '/srv/www', destination: '/www', options: 'ro', folder: true }],
  filter: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  ended: ['/bin/weft', '__ended', 'x'],
};
const rendered = (spec: Partial<ContainerSpec> = {}) =>
  containerSteps({ ...SPEC, ...spec }, PREPARED).map(renderStep);
const names = (steps: readonly string[]) => steps.map((step) => step.split(' ')[0]);

t.test('what stands where', async (t) => {
  const steps = rendered();
  const at = (step: string) => {
    const index = steps.findIndex((one) => one.startsWith(step));
    t.ok(index >= 0, step);
    return index;
  };
  // Each comes after the one before it.
  const order = [
    'take 0 /srv/www ro',
    'unshare mnt',
    'mount overlay /c/root',
    'clone mnt pid net uts ipc',
    'unshare cgroup',
    'pivot /c/root',
    'mount sysfs /sys',
    'mount proc /proc',
    'leave',
    'mount tmpfs /dev',
    'place 0 /www',
    'await',
    'mask /proc/kcore',
    'readonly /proc/sys',
    'bound 0xa00425fb',
    'user 0 0',
    'hold',
    'no-new-privileges',
    'filter <8 bytes>',
    'exec 3 sh -c "echo hi" PATH=/bin',
  ].map(at);
  t.same(
    order,
    [...order].sort((a, b) => a - b),
  );
  t.equal(names(steps).at(-1), 'exec', 'nothing comes after the command');
});

t.test('a user namespace: nobody until the root is found, then root inside', async (t) => {
  const uids = [{ inside: 0, outside: 100_000, count: 65_536 }];
  const steps = rendered({ namespaces: [...SPEC.namespaces, 'user'], uids, gids: uids });
  t.ok(steps.includes('uids "0 100000 65536"'));
  t.ok(steps.indexOf('user 0 0 ""') > steps.indexOf('pivot /c/root'));
  t.notOk(
    steps.some((step) => step.startsWith('device ')),
    'devices are those of the host: none can be made',
  );
  t.ok(steps.some((step) => step === 'take 0 /dev/null nosuid,noexec'));
});

t.test('without root everything is done inside', async (t) => {
  const uids = [{ inside: 0, outside: 1000, count: 1 }];
  const spec = {
    ...SPEC,
    namespaces: [...SPEC.namespaces, 'user'] as const,
    uids,
    gids: uids,
    unprivileged: true,
  };
  const steps = containerSteps(spec, { ...PREPARED, cgroups: [], unprivileged: true }).map(renderStep);
  const clone = steps.findIndex((step) => step.startsWith('clone'));
  t.ok(steps.indexOf('deny-groups') < clone);
  for (const step of ['take', 'mount', 'propagation']) {
    t.ok(steps.findIndex((one) => one.startsWith(step)) > clone, step);
  }
  t.equal(steps.filter((step) => step.startsWith('user ') && !step.endsWith(' keep')).length, 0);
});

t.test('only what was asked for', async (t) => {
  const steps = rendered({ namespaces: ['uts'] });
  t.ok(steps.includes('clone uts'));
  for (const name of ['pivot', 'mount', 'mask', 'link-up', 'unshare', 'place'])
    t.notOk(names(steps).includes(name), name);
  t.ok(names(rendered({ terminal: true })).includes('terminal'));
  t.ok(names(rendered({ interactive: true })).includes('input'));
  t.ok(rendered({ readOnly: true }).includes('remount / ro'));
  t.ok(
    rendered({ user: { uid: 7, gid: 8, groups: [9, 10] } }).includes('hold 0x0'),
    'not root: no capability',
  );
  t.same(
    names(rendered({ init: true })).filter((name) => name === 'init' || name === 'exec'),
    ['init', 'exec'],
  );
});

t.test("a further command joins what is the container's own", async (t) => {
  const asked = {
    ...SPEC,
    command: ['ls'] as const,
    pid: 42,
    namespaces: ['pid', 'net', 'mnt', 'time'] as const,
  };
  const steps = executionSteps(asked, PREPARED).map(renderStep);
  t.same(steps.slice(0, 5), [
    'cgroup /cg/cpu/weft/x',
    'process 42',
    'enter pid time',
    'clone',
    'enter net mnt',
  ]);
});

t.test('encoding', async (t) => {
  t.same([...encodeSteps([['a', 1]])], [2, 0, 1, 0, 0, 0, 97, 0, 1, 0, 0, 0, 49, 0]);
  t.same([...encodeSteps([['f', Uint8Array.of(0, 9)]])], [2, 0, 1, 0, 0, 0, 102, 0, 2, 0, 0, 0, 0, 9, 0]);
  t.throws(() => encodeSteps([['exec', 'a\0b']]), { message: /NUL/ });
  t.throws(() => encodeSteps([['exec', ...Array.from({ length: 70_000 }, () => 'x')]]), {
    name: 'RangeError',
  });
});
