/** A web server in a container: its processes, its network and its control groups, from inside and from outside. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Ground } from './ground.ts';

const SERVER = `require("http").createServer((_, answer) => answer.end("hello from " + require("os").hostname())).listen(80)`;
const GET = (url: string) =>
  `fetch("${url}").then((answer) => answer.text()).then(console.log, (error) => { console.error(String(error.cause ?? error)); process.exitCode = 1 })`;
/** Milliseconds between two tries, and how many, until the server listens. */
const PAUSE = 100;
const TRIES = 100;

export async function showWeb(ground: Ground): Promise<void> {
  const { progress } = ground;
  progress.title('A web server in a container');
  progress.line(
    'A container is a process that sees namespaces of its own, in control groups of its own, with a file system of its own.',
  );
  const limits = ['--cpus', '0.5', '--memory', '128m', '--pids', '50'];
  const { status } = await ground.type(
    ...['run', '-d', '--name', 'web', '--net', 'demo', '-p', '8080:80', ...limits],
    ...[process.execPath, '-e', SERVER],
  );
  progress.check(status === 0, 'it runs in the background');
  await ground.type('ps');
  await showAnswers(ground);
  await showProcess(ground);
  await showInterfaces(ground);
  await showCgroups(ground);
}

async function showAnswers({ lab, progress }: Ground): Promise<void> {
  const ask = async (url: string) => {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const { status, stdout } = await lab.run('host', process.execPath, ['-e', GET(url)]);
      if (status === 0) return stdout.trim();
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    return '';
  };
  for (const [url, how] of [
    ['http://10.248.0.2/', 'by its address on the bridge'],
    ['http://127.0.0.1:8080/', 'by the published port of the host'],
  ] as const) {
    const answer = await ask(url);
    progress.check(answer === 'hello from web', `it answers ${how}`, `${url}: ${answer}`);
  }
}

async function showProcess(ground: Ground): Promise<void> {
  const { progress } = ground;
  progress.title('One process, two numbers');
  const inside = await ground.type(
    'exec',
    'web',
    'sh',
    '-c',
    'cd /proc; for p in [0-9]*; do echo $p $(cat $p/comm 2>/dev/null); done',
  );
  const { state } = await ground.inspect('web');
  const numbers =
    /^NSpid:\s+(.*)$/m.exec(ground.read(`/proc/${state.pid}/status`) ?? '')?.[1]?.split(/\s+/) ?? [];
  progress.line(`On the host: /proc/${state.pid}/status says NSpid: ${numbers.join(' ')}`);
  progress.check(inside.stdout.startsWith('1 '), 'inside it is process 1, and sees no process of the host');
  progress.check(
    numbers.at(-1) === '1' && Number(numbers[0]) === state.pid,
    `outside the same process is ${state.pid}`,
  );
}

async function showInterfaces(ground: Ground): Promise<void> {
  const { lab, progress } = ground;
  progress.title('Its network');
  const inside = await ground.type('exec', 'web', 'ip', '-brief', 'address');
  const outside = await lab.must('host', 'ip', '-brief', 'link');
  progress.line('On the host: ip -brief link');
  progress.quote(outside.trimEnd().split('\n'));
  const index = /eth0@if(\d+)/.exec(inside.stdout)?.[1];
  const peer = await lab.must('host', 'ip', '-oneline', 'link', 'show', 'master', 'weft-demo');
  progress.check(
    index !== undefined && peer.startsWith(`${index}:`),
    'eth0 inside and a port of the bridge outside are the two ends of one veth pair',
  );
}

/** Files that say the limits, in version 1 and in version 2. */
const FILES = [
  'cpu.cfs_quota_us',
  'cpu.cfs_period_us',
  'cpu.max',
  'memory.limit_in_bytes',
  'memory.max',
  'pids.max',
  'pids.current',
];

async function showCgroups(ground: Ground): Promise<void> {
  const { progress } = ground;
  progress.title('Its control groups');
  const { cgroups, state } = await ground.inspect('web');
  const files = cgroups
    .flatMap((folder) => FILES.map((name) => join(folder, name)))
    .filter((file) => existsSync(file));
  progress.quote(files.map((file) => `${file}: ${ground.read(file)}`));
  const members = cgroups.map((folder) => ground.read(join(folder, 'cgroup.procs')) ?? '');
  progress.check(
    members.every((text) => text.split('\n').includes(String(state.pid))),
    'its process is in each of them',
  );
  const memory = files.find((file) => /memory\.(limit_in_bytes|max)$/.test(file));
  progress.check(
    memory !== undefined && ground.read(memory) === String(128 * 1024 * 1024),
    '--memory 128m is a number in a file of the kernel',
  );
}
