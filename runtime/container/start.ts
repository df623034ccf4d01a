/** Starts weft-monitor for a container: after this the container is made, and its command waits for `start`. */
import { writeFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { errnoName } from '../../netlink/errno.ts';
import { MonitorClient, type Told } from './monitor-client.ts';
import { encodeSteps, renderStep, type Step } from './steps.ts';

export interface Created {
  /** Of the container's first process. */
  pid: number;
  client: MonitorClient;
  /** What the monitor tells from now on. */
  told: AsyncGenerator<Told, void>;
}

/** A step of a container's start failed: `status` is what a shell would say (127: no such command, 126: it cannot be run). */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly status: number;
  readonly errno: string;
  /** Of the step in the list. */
  readonly index: number;

  constructor(steps: readonly Step[], index: number, errno: number) {
    const step = steps[index] ?? ['(unknown step)'];
    const code = errnoName(errno);
    super(words(step, code));
    this.errno = code;
    this.index = index;
    this.status = step[0] === 'exec' ? (code === 'ENOENT' ? 127 : 126) : 125;
  }
}

function words(step: Step, code: string): string {
  if (step[0] !== 'exec')
    return `cannot start the container: step "${renderStep(step)}" failed: ${code}${helpWith(step, code)}`;
  const command = String(step[2]);
  if (code === 'ENOENT') {
    return command.includes('/')
      ? `there is no ${command} in the container's file system`
      : `there is no command ${JSON.stringify(command)} in the PATH of the container`;
  }
  if (code === 'EACCES')
    return `${command} cannot be executed in the container: not an executable file (${code})`;
  return `${command} cannot be executed in the container: ${code}`;
}

/** Hosts that are containers or live systems stand on an overlay themselves (Documentation/filesystems/overlayfs.rst, "Upper directory"). */
const helpWith = ([kind, , , type]: Step, code: string): string =>
  kind === 'mount' && type === 'overlay' && code === 'EINVAL'
    ? ': upperdir must lie on a file system that can keep a layer, which another overlay or NFS cannot. WEFT_STORE_DIR names a folder elsewhere'
    : '';

/**
 * Writes `<folder>/steps`, starts `monitor` (the program) on it, and waits until the container waits in turn. Throws StartError,
 * or CniError(program) when the monitor itself cannot be started; then nothing is left but the folder.
 * @param streams the monitor's open files; the fourth is always the way to it
 */
export async function createContainer(
  monitor: string,
  folder: string,
  steps: readonly Step[],
  env: Readonly<Record<string, string | undefined>>,
  streams: readonly ('ignore' | 'inherit' | 'pipe' | number)[] = ['ignore', 'ignore', 'ignore', 'pipe'],
): Promise<Created> {
  const { spawn } = await import('node:child_process');
  writeFileSync(`${folder}/steps`, encodeSteps(steps), { mode: 0o600 });
  const child = spawn(monitor, [folder], {
    detached: true,
    stdio: [...streams],
    env,
  });
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (error) => {
      const message = `cannot start ${monitor}: ${error.message}; install the whole folder`;
      reject(new CniError(ErrorCode.program, message, undefined, { cause: error }));
    });
  });
  child.unref();
  const client = new MonitorClient(child.stdio[3] as Duplex);
  const told = client.told();
  const first = await Promise.race([told.next(), failed]);
  if (first.value?.kind === 'created') return { pid: first.value.pid, client, told };
  client.close();
  if (first.value?.kind === 'failed') throw new StartError(steps, first.value.step, first.value.errno);
  throw new CniError(
    ErrorCode.program,
    `${monitor} ended before the container was made: ${JSON.stringify(first.value ?? 'no word')}`,
  );
}

/** Lets the command run. Throws StartError when it cannot. */
export async function startContainer({ client, told }: Created, steps: readonly Step[]): Promise<void> {
  client.start();
  for (;;) {
    const { value, done } = await told.next();
    if (done)
      throw new CniError(ErrorCode.program, "the container's monitor went away before the command began");
    if (value.kind === 'began') return;
    if (value.kind === 'failed') throw new StartError(steps, value.step, value.errno);
  }
}
