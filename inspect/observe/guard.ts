/**
 * Takes away what was put into the kernel, also when this process is killed: a small child waits for the end of its input, which comes
 * with our end, however that comes, and then runs a few commands.
 */
import { spawn } from 'node:child_process';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface Guard {
  /** Has it clean up now; fulfilled when that is done. */
  release(): Promise<void>;
}

/**
 * Is there before the promise is fulfilled: start it before what it guards. `script` is for sh; descriptors are 3, 4, ... there, and
 * `values` $1, $2, ...
 */
export async function startGuard(
  script: string,
  descriptors: readonly number[],
  values: readonly string[],
): Promise<Guard> {
  // A session of its own: what ends us from the terminal does not end it.
  const child = spawn('sh', ['-c', `echo; cat >/dev/null; ${script}`, 'weft-trace-guard', ...values], {
    detached: true,
    env: { PATH },
    stdio: ['pipe', 'pipe', 'ignore', ...descriptors],
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('exit', () => resolve());
    child.once('error', reject);
  });
  ended.catch(() => {});
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    ended.then(() => reject(new Error('the guard that cleans up has ended early')), reject);
  });
  return {
    release: async () => {
      child.stdin?.end();
      await ended;
    },
  };
}
