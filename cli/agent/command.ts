/** `weft agent` */
import { join } from 'node:path';
import type { LoopbackAddress } from '../../agent/metrics-server.ts';
import type { LogLevel } from '../../agent/serve.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { WeftContext } from '../context.ts';
import { WEFT_VERSION } from '../version.ts';

export interface AgentFlags {
  logLevel: LogLevel;
  metrics?: LoopbackAddress;
  repair: boolean;
  collect: boolean;
  /** Seconds. */
  collectAfter: number;
}

export async function runAgent(
  this: WeftContext,
  { logLevel, metrics, repair, collect, collectAfter }: AgentFlags,
): Promise<Error | undefined> {
  const { serveAgent } = await import('../../agent/serve.ts');
  const { terminal, ambient, home } = this;
  let restore = () => {};
  const stopped = new Promise<string>((resolve) => {
    restore = terminal.onInterrupt(resolve);
  });
  const problem = await serveAgent({
    paths: ambient.paths,
    version: WEFT_VERSION,
    caretaker: { ambient, repair, collectAfter: collect ? collectAfter * 1000 : undefined },
    metrics,
    bundle: join(home, 'weft-core.js'),
    logLevel,
    logTo: 1,
    notifySocket: ambient.env.NOTIFY_SOCKET,
    stopped,
  });
  restore();
  return problem === undefined ? undefined : new CniError(ErrorCode.notAvailable, problem);
}
