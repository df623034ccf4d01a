/** Hooks that run outside of the container (config.md, "POSIX-platform Hooks"). */
import { OciError, type OciHook } from './bundle.ts';

/** One after the other; each reads `state`. Throws OciError for the first that fails. */
export async function runHooks(
  kind: string,
  hooks: readonly OciHook[] | null | undefined,
  state: string,
  cwd: string,
): Promise<void> {
  for (const hook of hooks ?? []) {
    const fault = await runHook(hook, state, cwd);
    if (fault !== undefined) throw new OciError(`${kind} hook ${hook.path} failed: ${fault}`);
  }
}

async function runHook(
  { path, args, env, timeout }: OciHook,
  state: string,
  cwd: string,
): Promise<string | undefined> {
  const { spawn } = await import('node:child_process');
  const variables = (env ?? []).map((one) => [
    one.slice(0, one.indexOf('=')),
    one.slice(one.indexOf('=') + 1),
  ]);
  return await new Promise((resolve) => {
    const child = spawn(path, (args ?? []).slice(1), {
      ...{ argv0: args?.[0] ?? path, env: Object.fromEntries(variables), cwd },
      stdio: ['pipe', 'ignore', 'pipe'],
      ...(timeout === undefined ? {} : { timeout: timeout * 1000, killSignal: 'SIGKILL' }),
    });
    let words = '';
    child.stderr.on('data', (data: Buffer) => {
      words = (words + data.toString('utf8')).slice(-2000);
    });
    // A hook need not read what it is told.
    child.stdin.on('error', () => undefined);
    child.stdin.end(state);
    child.on('error', ({ message }) => resolve(message));
    child.on('exit', (status, signal) => {
      if (status === 0) resolve(undefined);
      else
        resolve(
          [signal ? `ended by ${signal}` : `exit status ${status}`, words.trim()].filter(Boolean).join(': '),
        );
    });
  });
}
