/** `weft run` */
import { clean, type Made, type Maker, make, remove, start } from '../../runtime/container/lifecycle.ts';
import { StartError } from '../../runtime/container/start.ts';
import type { WeftContext } from '../context.ts';
import { UsageError } from '../context.ts';
import { defaultsFor } from './defaults.ts';
import type { RunFlags } from './flags.ts';
import { makerFrom } from './maker.ts';
import { relay, windowSize } from './relay.ts';
import { specification } from './specification.ts';

export async function run(this: WeftContext, flags: RunFlags, ...words: string[]): Promise<void> {
  if (flags.detach && (flags.interactive || flags.tty))
    throw new UsageError('-d leaves the container alone, -i and -t stay with it: choose');
  const maker = makerFrom(this);
  const spec = specification(this.ambient, flags, words, await defaultsFor(maker, flags));
  try {
    const made = await make(maker, spec, flags.tty ? windowSize() : undefined);
    if (flags.detach) {
      made.created.client.letStay();
      await start(maker, made);
      made.created.client.close();
      this.terminal.out(`${spec.id}\n`);
      return;
    }
    this.endWith(await foreground(this, maker, made));
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    this.terminal.err(`weft: ${error.message}\n`);
    this.endWith(error.status);
  }
}

/** Returns the exit status of the container's command. */
async function foreground(context: WeftContext, maker: Maker, made: Made): Promise<number> {
  const { spec, created } = made;
  const { client, told } = created;
  client.attach();
  client.careForEnd();
  await start(maker, made);
  const { status } = await relay(client, told, { input: spec.interactive, terminal: spec.terminal });
  if (spec.remove) await remove(maker, spec.id);
  else for (const { message } of await clean(maker, spec.id)) context.terminal.err(`weft: ${message}\n`);
  if (status === undefined) {
    context.terminal.err(
      `weft: the monitor of ${spec.name} ended before its container: "weft gc" removes what is left\n`,
    );
    return 125;
  }
  return status;
}
