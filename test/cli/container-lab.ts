/** A simulated host on which `weft run` makes containers. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { type ExecOptions, type ExecResult, type Host, makeHost } from '../support/host.ts';
import { fillBin } from '../support/plugins.ts';

export interface Lab {
  host: Host;
  /** Runs `weft` there; a failure is an answer. */
  weft(args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  env: Readonly<Record<string, string>>;
}

export async function containerLab(t: Test): Promise<Lab> {
  const host = await makeHost(t);
  await fillBin(host);
  const env = { ...host.env, WEFT_STORE_DIR: join(host.root, 'store'), WEFT_CGROUP: host.name };
  const weft = (args: readonly string[], options: ExecOptions = {}) =>
    host.exec('/opt/cni/bin/weft', args, { mayFail: true, ...options, env: { ...env, ...options.env } });
  return { host, weft, env };
}
