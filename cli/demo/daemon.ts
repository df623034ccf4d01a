/** Programs that stay while a demonstration runs. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { CniError, ErrorCode } from '../../cni/errors.ts';

export interface Daemon {
  readonly pid: number;
  /** Ends it, and waits until it has ended. Idempotent. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Milliseconds; an agent on a busy machine takes its time. */
const PATIENCE = 60_000;
const STEP = 20;

/** Starts a program that ends with this process, and waits for its first line. Throws CniError(program). */
export async function serve(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Daemon> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    const fail = () => reject(new CniError(ErrorCode.program, `${command.join(' ')} did not start`));
    createInterface(child.stdout).once('line', () => resolve());
    child.once('error', fail);
    child.once('exit', fail);
  });
  return stoppable(child, ended);
}

/** Starts a program that writes to a file, and waits until the file holds `sign`. Throws CniError(program) with its last words. */
export async function startLogged(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  log: string,
  sign: RegExp,
): Promise<Daemon> {
  const file = openSync(log, 'a', 0o600);
  const [program = '', ...args] = command;
  // Of its own session: an interruption from the keyboard is ours to handle.
  const child = spawn(program, args, { env, stdio: ['ignore', file, file], detached: true });
  closeSync(file);
  child.unref();
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const daemon = stoppable(child, ended);
  for (let waited = 0; waited < PATIENCE; waited += STEP) {
    const text = readFileSync(log, 'utf8');
    if (sign.test(text)) return daemon;
    if (child.exitCode !== null || child.signalCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, STEP));
  }
  await daemon.stop('SIGKILL');
  const words = readFileSync(log, 'utf8').trim().split('\n').at(-1);
  throw new CniError(ErrorCode.program, `${command.join(' ')} did not start`, words || undefined);
}

function stoppable(child: ReturnType<typeof spawn>, ended: Promise<void>): Daemon {
  return {
    pid: child.pid ?? 0,
    async stop(signal = 'SIGKILL') {
      if (child.pid === undefined) return;
      // What is waited for keeps this process.
      child.ref();
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await ended;
    },
  };
}
