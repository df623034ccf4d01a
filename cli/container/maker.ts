/** Who makes containers when a person types a command. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import type { Maker } from '../../runtime/container/lifecycle.ts';
import type { WeftContext } from '../context.ts';
import { pluginPath } from '../path.ts';
import { withOwnPlugins } from './own-plugins.ts';

export function makerFrom(context: WeftContext): Maker {
  const { home } = context;
  return {
    ambient: withOwnPlugins(context.ambient, home),
    path: pluginPath(context, undefined),
    monitor: monitorOf(context),
    weft: join(home, 'weft'),
    filter: readFilter(join(home, 'weft-seccomp.bpf')),
  };
}

/** The program that makes namespaces. */
export const monitorOf = ({ home }: WeftContext) => join(home, 'weft-monitor');

/** Throws CniError(io): without its filter no container is started. */
function readFilter(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new CniError(
      ErrorCode.io,
      `the filter of system calls cannot be read: ${file}; install the whole folder`,
      undefined,
      { cause },
    );
  }
}
