/** Files, users, signals, and the end. */
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ground } from './ground.ts';

export async function showFiles(ground: Ground): Promise<void> {
  const { progress, lab } = ground;
  progress.title('Files: copy on write, and a name of its own');
  const file = join(lab.folder, 'shared');
  writeFileSync(file, 'as on the host\n');
  const { stdout } = await ground.type(
    'run',
    '--rm',
    '--hostname',
    'box',
    'sh',
    '-c',
    `hostname; echo changed >${file}; cat ${file}`,
  );
  progress.check(stdout === 'box\nchanged\n', 'inside the host has another name, and the file another text');
  progress.check(
    ground.read(file) === 'as on the host',
    'on the host both are as they were: what is written goes into a layer of the container',
  );
}

export async function showUsers(ground: Ground): Promise<void> {
  const { progress } = ground;
  progress.title('Users: root inside, nobody outside');
  await ground.type(
    'run',
    '-d',
    '--name',
    'mapped',
    '--ns',
    'user,pid,net,mnt,uts,ipc,cgroup',
    'sleep',
    '1000',
  );
  const { stdout } = await ground.type('exec', 'mapped', 'sh', '-c', 'id -u; cat /proc/self/uid_map');
  const { state } = await ground.inspect('mapped');
  const owner = statSync(`/proc/${state.pid}`).uid;
  progress.check(stdout.startsWith('0\n'), 'inside it is user 0');
  progress.check(owner === 100_000, `outside its process belongs to user ${owner}, who has nothing here`);
  await ground.weft('rm', '-f', 'mapped');
}

/** Milliseconds that an ignored signal is given. */
const HEED = 300;

export async function showInit(ground: Ground): Promise<void> {
  const { progress } = ground;
  progress.title('Process 1 and signals');
  progress.line(
    'The kernel passes a signal on to process 1 only if it has a handler for it: sleep has none.',
  );
  await ground.type('run', '-d', '--name', 'deaf', 'sleep', '1000');
  await ground.type('kill', '--signal', 'TERM', 'deaf');
  await new Promise((resolve) => setTimeout(resolve, HEED));
  progress.check((await ground.inspect('deaf')).state.phase === 'running', 'TERM: it runs on');
  await ground.type('stop', '--time', '0.2', 'deaf');
  progress.check(
    (await ground.inspect('deaf')).state.status === 137,
    '"weft stop" waits, then sends KILL from outside',
    'exit status 137 = 128 + 9',
  );
  await ground.type('run', '-d', '--name', 'heeding', '--init', 'sleep', '1000');
  await ground.type('stop', 'heeding');
  progress.check(
    (await ground.inspect('heeding')).state.status === 143,
    'with --init process 1 passes TERM on to sleep',
    'exit status 143 = 128 + 15',
  );
  await ground.weft('rm', 'deaf', 'heeding');
}

export async function showEnd(ground: Ground): Promise<void> {
  const { progress, lab } = ground;
  progress.title('And nothing is left');
  const { state } = await ground.inspect('web');
  await ground.type('rm', '--force', 'web');
  const { run, leases, cache } = lab.folders('host');
  const tell = (what: string, found: readonly string[]) =>
    progress.check(found.length === 0, what, found.join(', '));
  tell('no process', [state.pid, state.monitor].filter((pid) => isAlive(pid)).map(String));
  tell(
    'no link of a container',
    (await lab.must('host', 'ip', '-brief', 'link', 'show', 'type', 'veth')).split('\n').filter(Boolean),
  );
  tell(
    'no lease',
    namesIn(join(leases, 'demo')).filter((name) => /^[0-9a-f.:]*[.:][0-9a-f.:]*$/.test(name)),
  );
  tell('no attachment', namesIn(join(cache, 'results')));
  tell(
    'no control group',
    ground.cgroupFolders().flatMap((folder) => namesIn(folder).filter((name) => name.length === 64)),
  );
  tell(
    'no mount',
    (ground.read('/proc/self/mountinfo') ?? '')
      .split('\n')
      .filter((line) => line.includes(join(run, 'containers'))),
  );
  tell(
    'no file',
    [...namesIn(join(run, 'containers')), ...namesIn(join(lab.folder, 'store/containers'))].filter(
      (name) => name !== 'lock',
    ),
  );
}

/** A zombie has no executable any more: only its parent has not asked yet. */
function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && statSync(`/proc/${pid}/exe`).isFile();
  } catch {
    return false;
  }
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
