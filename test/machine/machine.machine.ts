/** The machine itself: what `machine()` promises. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { machine, wire } from './machine.ts';

t.test('commands run in a machine of its own', async (t) => {
  const guest = await machine(t, { name: 'alone' });
  t.comment(`up after ${guest.bootMs} ms`);
  const { stdout } = await guest.exec('uname -n; uname -r; cat /sys/fs/cgroup/cgroup.controllers; id -u');
  const [name, release, controllers, user] = stdout.split('\n');
  t.match(release, /^6\.1\..*-amd64$/, "Debian's kernel");
  t.match({ name, user }, { name: 'alone', user: '0' });
  for (const one of ['cpu', 'io', 'memory', 'pids', 'cpuset']) {
    t.ok(controllers?.split(' ').includes(one), `cgroup v2 has ${one}`);
  }
  t.equal((await guest.exec('cat /sys/module/apparmor/parameters/enabled')).stdout, 'Y', 'AppArmor is on');
  t.equal((await guest.exec('ls /sys/class/net')).stdout, 'lo', 'no network');

  const answer = await guest.exec('cat; echo "$WORD" >&2; pwd; exit 3', {
    ...{ input: 'in', env: { WORD: "it's" }, cwd: '/etc', mayFail: true },
  });
  t.same(answer, { status: 3, stdout: 'in/etc', stderr: "it's" });
  await t.rejects(guest.exec('echo why >&2; false'), /status 1 in machine alone\nwhy/);
  t.equal((await guest.exec('sleep 60', { timeout: 1, mayFail: true })).status, 124, 'a time limit');
  const both = await Promise.all([
    guest.exec('until [ -e /tmp/go ]; do sleep 0.1; done'),
    guest.exec('touch /tmp/go'),
  ]);
  t.same(
    both.map(({ status }) => status),
    [0, 0],
    'two at once',
  );

  const mark = path.join(import.meta.dirname, 'mark');
  await guest.exec(`touch ${mark} && ls ${mark}`);
  t.notOk(existsSync(mark), 'what the machine writes stays there');
  await writeFile(path.join(guest.exchange, 'note'), 'hello');
  t.equal((await guest.exec('cat /run/machine/note')).stdout, 'hello', 'but the exchange is shared');

  const lost = guest.exec('echo o >/proc/sysrq-trigger; sleep 60');
  await t.rejects(lost, /machine alone has ended/);
});

t.test('a wire between two machines, one with systemd', async (t) => {
  const [left, right] = await wire(t);
  const [one, two] = await Promise.all([
    machine(t, { name: 'one', memory: 512, wires: [left] }),
    machine(t, { name: 'two', init: 'systemd', wires: [right] }),
  ]);
  const addresses = [one, two].map((guest, i) =>
    guest.exec(`ip addr add 192.0.2.${i + 1}/24 dev eth0 && ip link set eth0 up`),
  );
  await Promise.all(addresses);
  await one.exec('ping -n -c 1 -w 30 192.0.2.2');
  t.pass('they reach each other');
  t.equal((await two.exec('systemctl is-system-running --wait')).stdout, 'running');
});
