/** What goes into a container and comes out of it: pipes, slow readers, terminals; and paths and options that must stay inside. */
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/until.ts';
import { containerLab } from './container-lab.ts';

const lab = await containerLab(t);
const { host, weft, env } = lab;
const run = (...args: string[]) => weft(['run', '--rm', ...args]);
/** A shell of the host, in which `weft` is called. */
const shell = (script: string) =>
  host.exec('bash', ['-c', `set -o pipefail; weft() { /opt/cni/bin/weft "$@"; }; ${script}`], {
    mayFail: true,
    env,
  });

t.test('large input and output, at once, and to who reads late', async (t) => {
  const input = join(host.root, 'input');
  writeFileSync(input, Buffer.alloc(4 * 1024 * 1024, 'weft\n'));
  const expected = (await shell(`md5sum <${input}`)).stdout;
  t.equal((await shell(`weft run --rm -i cat <${input} | md5sum`)).stdout, expected);
  t.equal((await shell(`weft run --rm -i sh -c 'sleep 1; cat' <${input} | md5sum`)).stdout, expected);
  t.match(
    await shell(`weft run --rm -i sh -c 'exec <&-; echo done' <${input}`),
    { status: 0, stdout: 'done' },
    'a command that wants no input',
  );
  t.equal((await shell('echo not for it | weft run --rm cat')).stdout, '', 'without -i there is none');
});

t.test('a command ends when nobody reads what it says', async (t) => {
  t.match(await shell('weft run --rm yes | head -1'), { status: 141, stdout: 'y', stderr: '' });
  t.match(await shell('weft run --rm yes >/dev/full'), { status: 141, stderr: /cannot be written: ENOSPC/ });
  await weft(['run', '-d', '--name', 'talker', 'sh', '-c', 'while :; do echo word; sleep 0.05; done']);
  t.match(await shell('weft logs -f talker | head -2'), { stdout: 'word\nword', stderr: '' });
  t.match(await shell('weft exec talker yes | head -1'), { status: 141, stdout: 'y', stderr: '' });
  t.match(await weft(['exec', '-u', 'daemon', 'talker', 'id', '-un']), { status: 0, stdout: 'daemon' });
  const variables = async (...args: string[]) =>
    (await weft(['exec', ...args, 'talker', 'env'], { env: { FROM_HERE: 'yes' } })).stdout.split('\n').sort();
  const [, path] = await variables();
  t.same(await variables(), ['HOME=/root', path], 'nothing of the host');
  t.same(await variables('-u', 'daemon'), ['HOME=/usr/sbin', path], 'whose user it is, his home');
  t.same(
    await variables('-u', 'daemon', '-e', 'HOME=/x', '-e', 'PATH=/bin', '-e', 'FROM_HERE', '-e', 'NO_SUCH'),
    ['FROM_HERE=yes', 'HOME=/x', 'PATH=/bin'],
    'each once',
  );
  t.equal((await weft(['rm', '-f', 'talker'])).status, 0);
});

t.test('output over several files of the log, followed', async (t) => {
  const script = 'for i in 1 2 3 4 5; do head -c 4500000 /dev/zero | tr "\\0" "$i"; echo; sleep 0.4; done';
  await weft(['run', '-d', '--name', 'many', 'sh', '-c', script]);
  const { stdout } = await shell('weft logs -f many | tr -s 12345');
  t.match(stdout, /3\n4\n5$/, 'what is kept, at least, is followed to the end');
  t.equal((await weft(['rm', '-f', 'many'])).status, 0);
});

t.test('what a container wrote before the host went down is collected', async (t) => {
  const id = 'a'.repeat(64);
  mkdirSync(join(env.WEFT_STORE_DIR ?? '', 'containers', id, 'upper'), { recursive: true });
  t.match(await weft(['gc']), { status: 0, stdout: `removed ${id}` });
  t.match(await weft(['gc']), { status: 0, stdout: 'nothing was left behind' });
});

t.test('a terminal', async (t) => {
  const { status, stdout } = await shell("(echo typed; sleep 0.2) | weft run --rm -it sh -c 'tty; cat'");
  t.equal(status, 0, 'the end of what is piped in is seen');
  t.match(stdout, /\/dev\/pts\/0\r\n/);
  t.match(stdout, /typed/);
});

/** Starts a program on a terminal, which is closed once it has said that it is ready; prints its exit status. */
const CLOSED = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
said = b""
while b"ready" not in said: said += os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;

t.test('a terminal that is closed', async (t) => {
  const closed = async (name: string, script: string) => {
    const command = ['run', '--rm', '-it', '--name', name, 'sh', '-c', script];
    const words = ['-c', CLOSED, '/opt/cni/bin/weft', ...command];
    t.equal((await host.exec('python3', words, { env })).stdout, '-1', 'weft ends by HUP, as others do');
  };
  await closed('deaf', 'trap "" HUP; echo ready; exec sleep 1000');
  t.match((await weft(['ps'])).stdout, /deaf .* up /, 'who wants to runs on');
  t.equal((await weft(['rm', '-f', 'deaf'])).status, 0);
  await closed('shell', 'echo ready; exec sh');
  await until('the shell has seen the end of its input', async () => {
    return !(await weft(['ps', '--all'])).stdout.includes('shell');
  });
});

t.test('working folders, links and long command lines', async (t) => {
  t.match(await run('-w', '/no/such', 'pwd'), { status: 0, stdout: '/no/such' });
  t.match(await run('-w', '/etc/hostname', 'pwd'), { status: 125, stderr: /failed: ENOTDIR/ });
  const words = Array.from({ length: 5000 }, (_, index) => String(index));
  t.equal((await run('sh', '-c', 'echo $#', 'sh', ...words)).stdout, '5000');

  const root = join(host.root, 'linked');
  const outside = join(host.root, 'outside');
  mkdirSync(join(root, 'bin'), { recursive: true });
  mkdirSync(outside);
  await host.exec('cp', ['/bin/busybox', join(root, 'bin/sh')]);
  for (const name of ['etc', 'dev']) symlinkSync(join(outside, name), join(root, name));
  symlinkSync('elsewhere/proc', join(root, 'proc'));
  t.match(await run('--rootfs', root, 'sh', '-c', 'read -r a </etc/hosts; echo "$a"; echo /proc/1/root'), {
    status: 0,
    stdout: '127.0.0.1\tlocalhost\n/proc/1/root',
  });
  t.same(readdirSync(outside), [], 'links lead to where they point inside');
});

t.test('options that would reach the host, or mean nothing', async (t) => {
  const refused = async (pattern: RegExp, ...args: string[]) =>
    t.match(await run(...args, 'true'), { status: 2, stderr: pattern }, args.join(' '));
  await refused(/needs the namespace "net"/, '--ns', 'pid,mnt', '--sysctl', 'net.ipv4.ip_forward=0');
  await refused(/needs the namespace "ipc"/, '--ns', 'pid,mnt', '--sysctl', 'kernel.shmmax=1');
  await refused(/the whole root is given by --rootfs/, '-v', '/tmp:/x/..');
  await refused(/\/proc\/x is the kernel's/, '-v', '/tmp:/proc/x');
  await refused(/\/sys is the kernel's/, '-v', '/tmp:/sys');
  await refused(/started by root it gives up root/, '--net', 'pasta');
  await refused(/wanted a capability, such as NET_ADMIN/, '--cap-add', 'ALL');
  await refused(/wanted an IP address/, '--dns', ':::');
  await refused(/is no disk/, '--io', '/dev/null:1m');
  await refused(/wanted DEVICE:READ/, '--io', 'sda');
  t.match(await run('--user', '1:2:3', 'true'), { status: 1, stderr: /wanted USER\[:GROUP\]/ });
});
