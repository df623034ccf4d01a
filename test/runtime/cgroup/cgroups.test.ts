/** Control groups of both versions: found, filled, read. The second version's files are plain ones here: this says what is written where. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { cgroupIds, cgroupsOf, makeCgroups, removeFolders } from '../../../runtime/cgroup/cgroups.ts';
import { hierarchies } from '../../../runtime/cgroup/hierarchy.ts';
import { settings } from '../../../runtime/cgroup/settings.ts';
import { usageOf } from '../../../runtime/cgroup/usage.ts';

const LIMITS = {
  ...{ cpus: 0.2, memory: 64 * 1024 * 1024, pids: 100, cpuset: '0-1' },
  io: [{ device: '8:0', read: 1000, write: 2000 }],
};
const lines = (version: 1 | 2) => settings(LIMITS, version).map(({ file, value }) => `${file} ${value}`);

t.test('limits as files', async (t) => {
  t.same(lines(1), [
    'cpu.cfs_period_us 100000',
    'cpu.cfs_quota_us 20000',
    'memory.limit_in_bytes 67108864',
    'memory.memsw.limit_in_bytes 67108864',
    'pids.max 100',
    'cpuset.cpus 0-1',
    'blkio.throttle.read_bps_device 8:0 1000',
    'blkio.throttle.write_bps_device 8:0 2000',
  ]);
  t.same(lines(2), [
    'cpu.max 20000 100000',
    'memory.max 67108864',
    'memory.swap.max 0',
    'pids.max 100',
    'cpuset.cpus 0-1',
    'io.max 8:0 rbps=1000 wbps=2000',
  ]);
  t.same(settings({}, 2), []);
  t.same(settings({ cpus: 0.001 }, 1)[1]?.value, '1000', 'no less than the kernel takes');
});

const V1 = `25 20 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro
30 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 25 0:31 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory
32 25 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 25 0:30 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct`;

t.test('hierarchies that a host has', async (t) => {
  const unified = '40 25 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw';
  t.same(
    hierarchies(V1, () => ''),
    [
      { version: 1, mount: '/sys/fs/cgroup/cpu,cpuacct', controllers: ['cpu', 'cpuacct'] },
      { version: 1, mount: '/sys/fs/cgroup/mem ory', controllers: ['memory'] },
    ],
  );
  const hybrid = hierarchies(`${V1}\n${unified}`, (mount) =>
    mount.endsWith('unified') ? 'pids hugetlb\n' : '',
  );
  t.same(hybrid.at(-1), { version: 2, mount: '/sys/fs/cgroup/unified', controllers: ['pids'] });
});

/** A folder in place of a hierarchy of version 2: the kernel would fill it. */
function unified(t: Test, controllers: string): ReturnType<typeof hierarchies> {
  const mount = mkdtempSync(join(tmpdir(), 'weft-cgroup-'));
  t.teardown(() => rmSync(mount, { recursive: true, force: true }));
  return hierarchies(`40 25 0:40 / ${mount} rw - cgroup2 cgroup2 rw`, () => controllers);
}

t.test('version 2: what is passed on already is not written again', async (t) => {
  const all = unified(t, 'cpu memory pids');
  const [{ mount = '' } = {}] = all;
  const file = join(mount, 'cgroup.subtree_control');
  writeFileSync(file, 'cpu memory pids\n');
  makeCgroups('abc', { memory: 1 << 20 }, 'weft', all);
  t.equal(readFileSync(file, 'utf8'), 'cpu memory pids\n');
  t.equal(readFileSync(join(mount, 'weft/cgroup.subtree_control'), 'utf8'), '+cpu +memory +pids');
});

t.test('version 2: every group passes its controllers on, the container has the limits', async (t) => {
  const all = unified(t, 'cpu memory pids io cpuset');
  const [{ mount = '' } = {}] = all;
  const { folders } = makeCgroups('abc', LIMITS, 'system/weft', all);
  t.same(folders, [join(mount, 'system/weft/abc')]);
  for (const folder of ['', 'system', 'system/weft']) {
    t.equal(
      readFileSync(join(mount, folder, 'cgroup.subtree_control'), 'utf8'),
      '+cpu +memory +pids +io +cpuset',
    );
  }
  t.equal(readFileSync(join(folders[0] ?? '', 'memory.max'), 'utf8'), '67108864');
  t.same(cgroupsOf('abc', 'system/weft', all), folders);
  t.same(cgroupIds('system/weft', all), ['abc']);
});

t.test('a limit that cannot be kept is refused, and nothing is left', async (t) => {
  const all = unified(t, 'cpu');
  t.throws(() => makeCgroups('abc', { memory: 1e6 }, 'weft', all), {
    message: /memory \(--memory\) cannot be limited here: .*"memory" is mounted \(there: cpu\)/,
  });
  t.same(cgroupIds('weft', all), []);
  t.throws(() => makeCgroups('abc', { pids: 1 }, 'weft', []), { message: /\(there: none\)/ });
});

t.test('what is used', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-usage-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const files = {
    'cpu.stat': 'usage_usec 1500\nnr_throttled 3\n',
    'memory.current': '5000\n',
    'memory.max': 'max\n',
    'memory.stat': 'anon 1\ninactive_file 2000\n',
    'pids.current': '4\n',
    'pids.max': '100\n',
    'io.stat': '8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  t.same(usageOf([folder]), {
    cpu: 1500,
    memory: 3000,
    processes: 4,
    processLimit: 100,
    throttled: 3,
    read: 11,
    written: 22,
  });
  t.same(usageOf([]), {});
});

t.test('groups below a group go with it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-cgroup-'));
  mkdirSync(join(folder, 'a/b/c'), { recursive: true });
  t.same(removeFolders([folder, '/no/such']), []);
  t.throws(() => readFileSync(folder));
});
