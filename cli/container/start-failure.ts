/** A command that could not be started is told in one line, and by the exit status that a shell has for it. */
import { StartError } from '../../runtime/container/start.ts';
import type { WeftContext } from '../context.ts';

export async function tellingStartFailure(context: WeftContext, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    context.terminal.err(`weft: ${error.message}\n`);
    context.endWith(error.status);
  }
}
