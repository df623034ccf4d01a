/** `weft agent` */
import { join } from 'node:path';
import type { LogLevel } from '../../agent/serve.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { WeftContext } from '../context.ts';

export interface AgentFlags {
  logLevel: LogLevel;
}

export async function runAgent(this: WeftContext, { logLevel }: AgentFlags): Promise<Error | undefined> {
  const { serveAgent } = await import('../../agent/serve.ts');
  const { terminal, ambient, home } = this;
  let restore = () => {};
  const stopped = new Promise<string>((resolve) => {
    restore = terminal.onInterrupt(resolve);
  });
  const problem = await serveAgent({
    runDir: ambient.paths.runDir,
    bundle: join(home, 'weft-core.js'),
    logLevel,
    logTo: 1,
    notifySocket: ambient.env.NOTIFY_SOCKET,
    stopped,
  });
  restore();
  return problem === undefined ? undefined : new CniError(ErrorCode.notAvailable, problem);
}
