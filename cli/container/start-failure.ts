/** A command that could not be started is told in one line, and by the exit status that a shell has for it. */
import { StartError } from '../../runtime/container/start.ts';
import type { WeftContext } from '../context.ts';

const MISSING = 127;

/** @param missing said beside it where the command is not there */
export async function tellingStartFailure(
  context: WeftContext,
  work: () => Promise<void>,
  missing?: string,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    const hint = error.status === MISSING && missing !== undefined ? `: ${missing}` : '';
    context.terminal.err(`weft: ${error.message}${hint}\n`);
    context.endWith(error.status);
  }
}
