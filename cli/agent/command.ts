/** `weft agent` */
import { join } from 'node:path';
import type { LoopbackAddress } from '../../agent/metrics-server.ts';
import type { LogLevel } from '../../agent/serve.ts';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { UsageError, type WeftContext } from '../context.ts';
import { assertRoot } from '../rights.ts';
import { WEFT_VERSION } from '../version.ts';

export interface AgentFlags {
  logLevel: LogLevel;
  metrics?: LoopbackAddress;
  repair: boolean;
  collect: boolean;
  /** Seconds. */
  collectAfter: number;
  registry?: string;
  node?: string;
  address?: readonly string[];
}

export async function runAgent(
  this: WeftContext,
  { logLevel, metrics, repair, collect, collectAfter, registry, node, address = [] }: AgentFlags,
): Promise<Error | undefined> {
  if (registry === undefined && (node !== undefined || address.length > 0)) {
    throw new UsageError('--node and --address say who this host is in a registry: give --registry, too');
  }
  assertRoot('agent', 'to do what the plugins do');
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
    cluster:
      registry === undefined
        ? undefined
        : { ambient, registry, node: node ?? (await hostName()), addresses: address },
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

/** The machine's name, as the registry has hosts unless --node says otherwise. */
async function hostName(): Promise<string> {
  const { hostname } = await import('node:os');
  return hostname();
}
