/** How an operation that failed is reported where a program reads. */
import { CniError } from '../../cni/errors.ts';
import type { WeftContext } from '../context.ts';

/**
 * Runs `work`; with `json`, a CniError is also printed on standard output in the specification's form (SPEC 1.1,
 * section 5, "Error"), because that is what a caller of plugins already reads.
 */
export async function reporting(
  context: WeftContext,
  json: boolean | undefined,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (json && error instanceof CniError) {
      const { code, message: msg, details } = error;
      context.terminal.out(`${JSON.stringify({ cniVersion: '1.1.0', code, msg, details }, null, 2)}\n`);
    }
    throw error;
  }
}
