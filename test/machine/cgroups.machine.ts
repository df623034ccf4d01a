/** Limits on a host that has control groups of version 2 alone, measured. */
import t from 'tap';
import { until } from '../support/until.ts';
import { machine } from './machine.ts';

const guest = await machine(t, { name: 'groups' });
const run = async (script: string, mayFail = false) => await guest.exec(script, { mayFail });
const weft = (words: string, mayFail = false) => run(`dist/bin/weft ${words}`, mayFail);
const GROUPS = '/sys/fs/cgroup/weft';
const folders = async () =>
  (await run(`cd ${GROUPS} 2>/dev/null && find . -mindepth 1 -type d`, true)).stdout;
/** Files of a container's group. */
const group = async (id: string, ...files: string[]) =>
  (await run(`cd ${GROUPS}/${id} && tail -n +1 -q ${files.join(' ')}`)).stdout.split('\n');

t.test('where containers cannot be kept, it is said what would help', async (t) => {
  const { status, stderr } = await weft('run --rm true', true);
  t.equal(status, 125);
  t.match(stderr, /mount overlay .* failed: EINVAL: upperdir must lie on .* WEFT_STORE_DIR/);
  // The machine's own root is an overlay.
  await run('mkdir -p /var/lib/weft && mount -t tmpfs tmpfs /var/lib/weft');
});

t.test('a disk, a loop', async (t) => {
  await run(`modprobe loop && truncate -s 64M /tmp/disk && mkfs.ext4 -q /tmp/disk && mkdir /srv/disk &&
    mount -o loop /tmp/disk /srv/disk`);
  const { stdout: device } = await run('findmnt -n -o SOURCE /srv/disk');
  const limits = `--cpus 0.2 --memory 64m --pids 20 --cpuset 1 --io ${device}:2m:1m`;
  const { stdout: id } = await weft(
    `run -d --name busy ${limits} -v /srv/disk:/mnt sh -c 'while :; do :; done'`,
  );
  t.strictSame(
    await group(id, 'cpu.max', 'memory.max', 'memory.swap.max', 'pids.max', 'cpuset.cpus.effective'),
    [...['20000 100000', '67108864', '0', '20', '1']],
  );
  t.match((await group(id, 'io.max'))[0], /^7:\d+ rbps=2097152 wbps=1048576 riops=max wiops=max$/);

  // A machine that is slow itself uses more at once than it may, and is held back for it afterwards.
  const used = async () => {
    const [time = '', ...lines] = (
      await run(`cut -d' ' -f1 /proc/uptime; cat ${GROUPS}/${id}/cpu.stat`)
    ).stdout.split('\n');
    const found = lines.find((line) => line.startsWith('usage_usec '))?.slice('usage_usec '.length);
    return { time: Number(time) * 1e6, cpu: Number(found) };
  };
  const before = await used();
  let share = 0;
  const fifth = async () => {
    const now = await used();
    share = (now.cpu - before.cpu) / (now.time - before.time);
    return now.time - before.time > 3e6 && share > 0.15 && share < 0.25;
  };
  await until('an endless loop has a fifth of a CPU', fifth);
  t.pass(`an endless loop uses ${(100 * share).toFixed(1)} % of a CPU`);

  const timed = async (dd: string) => {
    const script = `exec busy sh -c 'dd ${dd} bs=256k count=16 2>&1 && cut -d" " -f1 /proc/uptime'`;
    const start = Number((await run("cut -d' ' -f1 /proc/uptime")).stdout);
    const { stdout } = await weft(script);
    return Number(stdout.split('\n').at(-1)) - start;
  };
  t.ok((await timed('if=/dev/zero of=/mnt/file oflag=direct')) > 3, '4 MiB at 1 MiB a second are written');
  const [stats] = JSON.parse((await weft('stats --json busy')).stdout);
  t.match(stats, { name: 'busy', usage: { memoryLimit: 67108864, processLimit: 20 } });
  t.ok(stats.usage.written >= 4 << 20, 'stats tells what was written');
  t.ok(stats.usage.throttled > 0, 'and how often the loop was held up');
  await weft('stop -t 0 busy && dist/bin/weft rm busy');
  t.equal(await folders(), '', 'its group is gone');
});

t.test('more than is allowed', async (t) => {
  const hungry = await weft(
    "run --rm --name hungry --memory 32m sh -c 'a=x; while :; do a=$a$a; done'",
    true,
  );
  t.equal(hungry.status, 137);
  t.match(hungry.stderr, 'something in hungry was ended for want of memory: its limit is 32 MiB (--memory)');
  const forks = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done';
  const forker = await weft(`run --rm --pids 10 sh -c '${forks}'`, true);
  t.match(forker, { status: 2, stderr: /Cannot fork/ });
  const absent = await weft('run --rm --cpuset 7 true', true);
  t.match(absent, { status: 1, stderr: /the kernel refuses the limit "7" in cpuset.cpus: ERANGE/ });
  t.equal(await folders(), '', 'nothing is left');
});

t.test('inside a container, whose processes are in the uppermost group that it sees', async (t) => {
  const within = (script: string) =>
    run(
      `mkdir -p /sys/fs/cgroup/nest
      echo $$ >/sys/fs/cgroup/nest/cgroup.procs
      unshare -Cm bash <<'END'
        umount /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        cd /sys/fs/cgroup
        ${script}
END`,
      true,
    );
  const weft = `${process.cwd()}/dist/bin/weft`;
  t.match(
    await within(`${weft} run --rm echo plain`),
    { status: 0, stdout: 'plain' },
    'without limits it goes',
  );
  const limited = await within(`${weft} run --rm --memory 64m true`);
  t.equal(limited.status, 1);
  t.match(
    limited.stderr,
    /the memory \(--memory\) cannot be limited: the group \S+ does not pass "memory" on \(EBUSY\): it has/,
  );
  const help = /first: (.*done)/.exec(limited.stderr)?.[1] ?? '';
  const after = await within(
    `${help}; ${weft} run --rm --memory 64m echo limited; cat weft/cgroup.subtree_control`,
  );
  t.match(after, { status: 0, stdout: /^limited\n.*memory/ }, 'what was said helps');
});
