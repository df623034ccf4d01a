/** Containers of somebody who is not root: what the kernel allows, and clear words where it ends. */
import { chownSync, copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/until.ts';
import { containerLab } from './container-lab.ts';

const NOBODY = 65_534;
const lab = await containerLab(t);
const home = join(lab.host.root, 'home');
const root = join(home, 'root');
mkdirSync(join(root, 'bin'), { recursive: true });
copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
await lab.host.exec('chmod', ['755', lab.host.root]);
for (const path of [home, root, join(root, 'bin')]) chownSync(path, NOBODY, NOBODY);

/** Runs weft as nobody; it lies where everybody may read it. */
function weft(...args: string[]) {
  const person = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', '--inh-caps=-all', '--'];
  const own = { HOME: home, XDG_RUNTIME_DIR: home, PATH: lab.host.env.PATH ?? '' };
  const env = Object.entries(own).map(([name, value]) => `${name}=${value}`);
  return lab.host.exec('env', ['-i', ...env, 'setpriv', ...person, '/opt/cni/bin/weft', ...args], {
    mayFail: true,
  });
}

t.test('root inside, oneself outside', async (t) => {
  const { stdout } = await weft(
    'run',
    '--rm',
    'sh',
    '-c',
    'id -u; echo $$; ip -br link | cut -d" " -f1; echo x >/tmp/x; cat /tmp/x',
  );
  t.same(stdout.split('\n'), ['0', '1', 'lo', 'x']);
  t.match((await weft('run', '--rm', 'sh', '-c', 'echo x >/etc/x')).stderr, /Read-only|denied/);
  const own = await weft(
    'run',
    '--rm',
    '--rootfs',
    root,
    '/bin/busybox',
    'sh',
    '-c',
    'echo x >/new; /bin/busybox cat /new',
  );
  t.match(own, { status: 0, stdout: 'x' });
  t.notOk(existsSync(join(root, 'new')), 'the folder is not changed');
});

t.test('its life', async (t) => {
  t.equal((await weft('run', '-d', '--name', 'one', 'sleep', '1000')).status, 0);
  t.match((await weft('ps')).stdout, /one +sleep 1000 .* up /);
  t.same(
    (await weft('exec', 'one', 'sh', '-c', 'id -u; readlink /proc/1/exe | sed "s|.*/||"')).stdout.split('\n'),
    ['0', 'sleep'],
  );
  t.equal((await weft('stop', '-t', '0', 'one')).status, 0);
  t.equal((await weft('rm', 'one')).status, 0);
  t.same(readdirSync(join(home, 'weft/containers')), ['lock']);
});

t.test('a network by pasta and by slirp4netns', async (t) => {
  // Where udev runs, everybody may open it.
  await lab.host.exec('sh', [
    '-c',
    `mknod ${home}/tun c 10 200 && chmod 666 ${home}/tun && mount --bind ${home}/tun /dev/net/tun`,
  ]);
  await lab.host.exec('ip', ['link', 'add', 'wan0', 'type', 'veth', 'peer', 'name', 'wan1']);
  await lab.host.exec('sh', [
    '-c',
    'ip addr add 192.0.2.5/24 dev wan0 && ip link set wan0 up && ip link set wan1 up && ip route add default via 192.0.2.1',
  ]);
  for (const program of ['pasta', 'slirp4netns']) {
    await weft('run', '-d', '--name', program, '--net', program, 'sleep', '1000');
    const { stdout } = await weft('exec', program, 'ip', '-4', '-br', 'addr');
    t.match(stdout, program === 'pasta' ? /192\.0\.2\.5/ : /tap0 .*10\.0\.2\.100/, program);
    t.equal((await weft('rm', '-f', program)).status, 0);
    await until(
      `${program} ends`,
      async () =>
        (await lab.host.exec('pgrep', ['-x', program.slice(0, 15)], { mayFail: true })).status !== 0,
    );
  }
});

t.test('where it ends', async (t) => {
  t.match(await weft('run', '--memory', '64m', 'true'), {
    status: 1,
    stderr: /control groups, which only root can make/,
  });
  t.match(await weft('run', '--net', 'demo', 'true'), {
    status: 2,
    stderr: /--net pasta or --net slirp4netns/,
  });
  t.match(await weft('run', '--user', '1000', 'true'), { status: 2, stderr: /only one user can be mapped/ });
  t.same(readdirSync(join(home, 'weft/containers')), ['lock']);
});
