/** Containers as a person makes them: by `weft run` and the commands beside it, on a simulated host. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cachedResults, execIn, leases } from '../support/host.ts';
import { until } from '../support/until.ts';
import { containerLab } from './container-lab.ts';

const lab = await containerLab(t);
const { host, weft } = lab;
const run = (...args: string[]) => weft(['run', '--rm', ...args]);
const sh = (script: string, ...flags: string[]) => run(...flags, 'sh', '-c', script);

/** Everything that a container may leave, but for what is kept for the next one (bridge, base rules, empty folders). */
async function leftovers(): Promise<string[]> {
  const folders = [join(host.dirs.run, 'containers'), join(host.root, 'store', 'containers')];
  const files = folders
    .flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : []))
    .filter((name) => name !== 'lock');
  const { stdout } = await host.exec('cat', ['/proc/self/mountinfo']);
  const mounts = stdout.split('\n').filter((line) => line.includes('/containers/'));
  const cgroups = readdirSync('/sys/fs/cgroup').flatMap((hierarchy) => {
    const folder = join('/sys/fs/cgroup', hierarchy, host.name);
    return existsSync(folder) ? readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name)) : [];
  });
  return [...files, ...mounts, ...cgroups, ...(await leases(host)), ...(await cachedResults(host))];
}

t.test('a command, its output and its exit status', async (t) => {
  const { status, stdout, stderr } = await sh('echo out; echo err >&2; exit 7');
  t.same({ status, stdout, stderr }, { status: 7, stdout: 'out', stderr: 'err' });
  t.equal(
    (await sh('kill -9 $$; echo still here')).stdout,
    'still here',
    'PID 1 cannot be killed from inside',
  );
});

t.test('who stands by the end of a container does what is to be done, and nobody else', async (t) => {
  const file = join(host.root, 'executed');
  const trace = ['-f', '-qq', '-e', 'trace=execve', '-e', 'signal=none', '-o', file];
  await host.exec('strace', [...trace, '/opt/cni/bin/weft', 'run', '--rm', 'echo', 'x'], { env: lab.env });
  const executed = readFileSync(file, 'utf8');
  t.match(executed, /"echo", "x"/);
  t.notMatch(executed, /__ended/);
});

t.test('what cannot be run', async (t) => {
  const missing = await run('no-such-command');
  t.match(missing, {
    status: 127,
    stderr: 'there is no command "no-such-command" in the PATH of the container',
  });
  t.match(await run('/etc/hostname'), {
    status: 126,
    stderr: /\/etc\/hostname cannot be executed in the container/,
  });
  t.match(await run('/no/such'), { status: 127, stderr: /there is no \/no\/such/ });
  t.match(await weft(['run', '--memory', 'much', 'true']), { status: 2, stderr: /wanted bytes/ });
  t.match(await weft(['run', '--ns', 'net,moon', 'true']), {
    status: 2,
    stderr: /found "moon", wanted a list of net/,
  });
  t.match(await weft(['run']), { status: 2, stderr: /which command/ });
  t.match(await weft(['run', '-p', '80:80', 'true']), { status: 2, stderr: /--net as well/ });
  t.match(await run('-v', '/no/such:/x', 'true'), {
    status: 1,
    stderr: /cannot mount \/no\/such at \/x: there is no such/,
  });
  t.match(await run('--rootfs', '/no/such', 'true'), { status: 1, stderr: /\/no\/such is not there/ });
  t.match(await run('--net', 'no-such', 'true'), { status: 1, stderr: /no network is called "no-such"/ });
  t.match(await run('--cpuset', '999', 'true'), {
    status: 1,
    stderr: /refuses the limit "999" in cpuset.cpus/,
  });
  t.match(await weft(['exec', 'nobody', 'true']), {
    status: 1,
    stderr: /there is no container "nobody": there is none/,
  });
  t.same(await leftovers(), []);
});

t.test('apart from the host', async (t) => {
  const { stdout } = await sh(
    'echo $$; hostname; cat /proc/self/mountinfo; ls /proc/self/fd; ls -1 /sys/class/net',
  );
  const lines = stdout.split('\n');
  t.equal(lines[0], '1', 'the command is PID 1');
  const mounts = lines.filter((line) => line.includes(' - ')).map((line) => line.split(' ')[4]);
  const allowed = /^\/$|^\/(proc|sys|dev)(\/|$)|^\/etc\/(hosts|hostname)$/;
  t.same(
    mounts.filter((point) => !allowed.test(point ?? '')),
    [],
    'nothing of the host is mounted that was not asked for',
  );
  t.same(
    lines.slice(lines.findLastIndex((line) => line.includes(' - ')) + 1),
    ['0', '1', '2', '3', 'lo'],
    'no descriptor but its own, no link but lo',
  );

  const power = await sh(
    'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status | tr -s "[:space:]" " "; echo 1 > /proc/sys/kernel/panic; cat /proc/kcore | wc -c',
  );
  t.match(power.stdout, /CapEff: 00000000a00425fb CapBnd: 00000000a00425fb NoNewPrivs: 1 Seccomp: 2/);
  t.match(power.stderr, /Read-only file system/);
  t.match(power.stdout, / 0$/, 'nothing of the memory of the host');
  const added = await sh('ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu', '--cap-add', 'net_admin');
  t.match(added, { status: 0, stdout: '1400' });
});

t.test('files: changed inside, unchanged below', async (t) => {
  const file = join(host.root, 'below');
  writeFileSync(file, 'below\n');
  const script = `echo inside >'${file}'; cat '${file}'; rm '${file}'; test -e '${file}' || echo gone`;
  t.equal((await sh(script)).stdout, 'inside\ngone');
  t.equal((await host.exec('cat', [file])).stdout, 'below');
  t.match((await sh(`echo x >'${file}'`, '--read-only')).stderr, /Read-only/);
  t.match(await sh('cat /shown; echo x >/shown', '-v', `${file}:/shown:ro`), {
    stdout: 'below',
    stderr: /Read-only/,
  });
  t.equal((await sh('echo x >/shown', '-v', `${file}:/shown`)).status, 0);
  t.equal((await host.exec('cat', [file])).stdout, 'x', 'unless it is mounted to be written');
});

t.test('root inside, nobody outside', async (t) => {
  const { stdout } = await sh(
    'id -u; cat /proc/self/uid_map; touch /made && stat -c %u /made',
    '--ns',
    'net,pid,mnt,uts,ipc,cgroup,user,time',
  );
  t.same(
    stdout.split('\n').map((line) => line.trim().replaceAll(/\s+/g, ' ')),
    ['0', '0 100000 65536', '0'],
  );
});

t.test('limits', async (t) => {
  const memory = await run('--memory', '32m', 'python3', '-c', 'x = "x" * 100000000');
  t.match(memory, { status: 137, stderr: /ended for want of memory: its limit is 32 MiB/ });
  t.match(
    (await sh('for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done', '--pids', '5')).stderr,
    /[Cc]annot fork/,
  );
  t.equal(
    (await sh('cat /proc/self/status | grep Cpus_allowed_list | tr -d "[:space:]"', '--cpuset', '0')).stdout,
    'Cpus_allowed_list:0',
  );
  await weft(['run', '-d', '--name', 'busy', '--cpus', '0.2', 'sh', '-c', 'while :; do :; done']);
  // The kernel says that it held it up; how much of a CPU it got depends on who else wants it, and is at most this.
  const usage = async () =>
    JSON.parse((await weft(['inspect', 'busy'])).stdout).usage as { cpu: number; throttled: number };
  await until('it is held up', async () => (await usage()).throttled > 5);
  const [begin, before] = [performance.now(), await usage()];
  await until('it has used something', async () => (await usage()).cpu > before.cpu + 200_000);
  const share = ((await usage()).cpu - before.cpu) / ((performance.now() - begin) * 1000);
  t.ok(share < 0.3, `a fifth of a CPU: ${share.toFixed(2)}`);
  t.equal((await weft(['rm', '-f', 'busy'])).status, 0);
  t.same(await leftovers(), []);
});

t.test('in the background', async (t) => {
  const made = await weft([
    'run',
    '-d',
    '--name',
    'web',
    '--net',
    'demo',
    '-p',
    '8080:80',
    'python3',
    '-c',
    SERVER,
  ]);
  t.match(made, { status: 0, stdout: /^[0-9a-f]{64}$/, stderr: '' });
  const id = made.stdout;
  const [row] = JSON.parse((await weft(['ps', '--json'])).stdout);
  t.match(row, { id, name: 'web', phase: 'running', addresses: ['10.248.0.2', 'fd77:6566:7400::2'] });
  t.match((await weft(['ps'])).stdout, /web .* up \d+ seconds? .*10\.248\.0\.2 .* 8080:80/);

  // Two numbers for one process.
  const { stdout: outside } = await host.exec('readlink', [`/proc/${row.pid}/ns/pid`]);
  t.equal((await weft(['exec', 'web', 'readlink', '/proc/1/ns/pid'])).stdout, outside);

  const get = (url: string) =>
    until(url, async () => (await execIn(host.netns, 'curl', ['-sS', '-m', '2', url])).stdout);
  t.equal(await get('http://10.248.0.2/'), 'hello');
  t.equal(await get('http://127.0.0.1:8080/'), 'hello', 'by the published port');
  t.match((await weft(['exec', 'web', 'cat', '/etc/hosts'])).stdout, /10\.248\.0\.2\tweb/);

  t.match(await weft(['run', '--name', 'web', 'true']), {
    status: 1,
    stderr: /a container is called web already/,
  });
  t.match(await weft(['exec', id.slice(0, 8), 'sh', '-c', 'exit 5']), { status: 5 });
  t.match(await weft(['exec', 'web', 'nothing']), { status: 127 });
  t.equal((await weft(['exec', '-i', 'web', 'cat'], { input: 'typed' })).stdout, 'typed');
  await until('its output', async () => (await weft(['logs', 'web'])).stdout.includes('ready'));
  t.match(
    (await weft(['logs', '--tail', '1', '-t', 'web'])).stderr,
    /^\d{4}-\d\d-\d\dT.* "GET/,
    'each stream to its own',
  );

  t.match(await weft(['rm', 'web']), { status: 1, stderr: /web is running: stop it first/ });
  t.match(await weft(['stop', '-t', '0.1', 'web']), { status: 0, stdout: 'web' });
  t.match((await weft(['ps', '-a'])).stdout, /web .*exit 137/, 'PID 1 without a handler ignores TERM');
  t.same(await leases(host), [], 'its address is free already');
  t.match(await weft(['exec', 'web', 'true']), { status: 1, stderr: /web does not run: it is stopped/ });
  t.equal((await weft(['rm', 'web'])).status, 0);
  t.same(await leftovers(), []);
});

const SERVER = `
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
print("ready", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 80), H).serve_forever()`;

t.test('an init passes TERM on', async (t) => {
  await weft(['run', '-d', '--name', 'init', '--init', 'sleep', '1000']);
  t.equal((await weft(['exec', 'init', 'sh', '-c', 'ps -o pid=,comm= | head -2'])).status, 0);
  await weft(['stop', 'init']);
  t.match((await weft(['ps', '-a'])).stdout, /init .*exit 143/);
  await weft(['rm', 'init']);
});

t.test('whoever is killed, nothing is left', async (t) => {
  const start = async (name: string) => {
    await weft(['run', '-d', '--name', name, '--net', 'demo', 'sleep', '1000']);
    return JSON.parse((await weft(['inspect', name])).stdout) as { state: { pid: number; monitor: number } };
  };
  const first = await start('first');
  await host.exec('kill', ['-9', String(first.state.monitor)]);
  await until(
    'the container ends with its monitor',
    async () => (await host.exec('test', ['-e', `/proc/${first.state.pid}`], { mayFail: true })).status !== 0,
  );
  t.match((await weft(['ps'])).stdout, /first .*broken/);
  t.match((await weft(['gc'])).stdout, /removed [0-9a-f]{64}/);
  const second = await start('second');
  await host.exec('kill', ['-9', String(second.state.pid)]);
  await until('its end is seen', async () => (await weft(['ps', '-a'])).stdout.includes('exit 137'));
  await until('its network is gone', async () => (await leases(host)).length === 0);
  await weft(['rm', 'second']);
  t.same(await leftovers(), []);
});

t.test('sandboxes', async (t) => {
  const name = `${host.name}-sb`;
  t.match(await weft(['sandbox', 'create', name, '--ns', 'net,uts,pid,mnt']), { status: 0, stderr: '' });
  t.match((await weft(['sandbox', 'list'])).stdout, new RegExp(`${name} +net,pid,mnt,uts`));
  t.equal((await host.exec('ip', ['-n', name, '-br', 'link'])).stdout.split(/\s+/)[0], 'lo');
  t.match(await weft(['sandbox', 'create', name]), { status: 1, stderr: /called .* already/ });
  t.equal((await weft(['net', 'add', '-', name], { input: JSON.stringify(NET) })).status, 0);
  t.match((await host.exec('ip', ['-n', name, '-br', 'addr'])).stdout, /10\.9\.0\.2/);
  t.equal((await weft(['net', 'del', '-', name], { input: JSON.stringify(NET) })).status, 0);
  t.equal((await weft(['sandbox', 'remove', name])).status, 0);
  t.same(readdirSync(join(host.dirs.run, 'sandboxes')), []);
});

const NET = {
  ...{ cniVersion: '1.0.0', name: 'sb', type: 'bridge', bridge: 'sb0', isGateway: true },
  ipam: { type: 'host-local', ranges: [[{ subnet: '10.9.0.0/24' }]] },
};
