/** What control groups do: CPU time, memory, number of processes. */
import type { Ground } from './ground.ts';

/** Microseconds of CPU time that are waited for, and milliseconds between two looks. */
const BUSY = 300_000;
const LOOK = 100;

export async function showLimits(ground: Ground): Promise<void> {
  ground.progress.title('Limits');
  await showCpu(ground);
  await showMemory(ground);
  await showProcesses(ground);
}

async function showCpu(ground: Ground): Promise<void> {
  const { progress } = ground;
  await ground.type('run', '-d', '--name', 'busy', '--cpus', '0.2', 'sh', '-c', 'while :; do :; done');
  const cpu = async () => (await ground.inspect('busy')).usage.cpu ?? 0;
  // At first it may use what it saved: one period is a tenth of a second.
  while ((await cpu()) < BUSY) await new Promise((resolve) => setTimeout(resolve, LOOK));
  const [begin, before] = [performance.now(), await cpu()];
  let used = 0;
  while (used < BUSY) {
    await new Promise((resolve) => setTimeout(resolve, LOOK));
    used = (await cpu()) - before;
  }
  const share = used / ((performance.now() - begin) * 1000);
  const { usage } = await ground.inspect('busy');
  progress.check(
    share < 0.25,
    'an endless loop is held to a fifth of a CPU',
    `${(100 * share).toFixed(0)} % used, held up ${usage.throttled} times`,
  );
  await ground.weft('rm', '-f', 'busy');
}

async function showMemory(ground: Ground): Promise<void> {
  const script = 'a=x; while :; do a=$a$a; done';
  const { status, stderr } = await ground.type(
    'run',
    '--rm',
    '--name',
    'hungry',
    '--memory',
    '32m',
    'sh',
    '-c',
    script,
  );
  ground.progress.check(
    status === 137 && stderr.includes('want of memory'),
    'more memory than allowed: the kernel ends it, and weft says why',
    `exit status ${status}`,
  );
}

async function showProcesses(ground: Ground): Promise<void> {
  // Twenty at most: what a fork bomb would do without end.
  const script = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 5 & done';
  const { stderr } = await ground.type('run', '--rm', '--pids', '10', 'sh', '-c', script);
  ground.progress.check(
    /cannot fork|resource temporarily/i.test(stderr),
    'more processes than allowed: fork fails, the host does not notice',
  );
}
