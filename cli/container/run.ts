/** `weft run` */
import { clean, type Made, type Maker, make, remove, start } from '../../runtime/container/lifecycle.ts';
import type { ContainerState } from '../../runtime/container/state.ts';
import { listContainers, stateOf } from '../../runtime/container/store.ts';
import type { WeftContext } from '../context.ts';
import { UsageError } from '../context.ts';
import { lines } from '../table.ts';
import { defaultsFor } from './defaults.ts';
import type { RunFlags } from './flags.ts';
import { makerFrom } from './maker.ts';
import { relay, sayUnwritten, windowSize } from './relay.ts';
import { specification } from './specification.ts';
import { tellingStartFailure } from './start-failure.ts';

export async function run(this: WeftContext, flags: RunFlags, ...words: string[]): Promise<void> {
  if (flags.detach && (flags.interactive || flags.tty))
    throw new UsageError('-d leaves the container alone, -i and -t stay with it: choose');
  const maker = makerFrom(this);
  const spec = specification(this.ambient, flags, words, await defaultsFor(maker, flags), person());
  if (flags.dryRun) {
    const { plannedSteps } = await import('../../runtime/container/lifecycle.ts');
    const { renderStep } = await import('../../runtime/container/steps.ts');
    this.terminal.out(lines(...plannedSteps(maker, spec).map(renderStep)));
    return;
  }
  const work = async () => {
    const made = await make(maker, spec, flags.tty ? windowSize() : undefined);
    if (flags.detach) {
      made.created.client.letStay();
      await start(maker, made);
      made.created.client.close();
      this.terminal.out(`${spec.id}\n`);
      return;
    }
    this.endWith(await foreground(this, maker, made));
  };
  // Who knows other runtimes names an image first.
  const hint = 'without --rootfs and --image commands are those of this host; an image is given by --image';
  await tellingStartFailure(this, work, spec.root.kind === 'host' ? hint : undefined);
}

function person(): { uid: number; gid: number } {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

/** Returns the exit status of the container's command. */
async function foreground(context: WeftContext, maker: Maker, made: Made): Promise<number> {
  const { spec, created } = made;
  const { client, told } = created;
  client.attach();
  client.careForEnd();
  await start(maker, made);
  const options = { input: spec.interactive, terminal: spec.terminal };
  const { status, unwritten, left } = await relay(client, told, options);
  // Its monitor does now what is to be done at its end.
  if (left && status !== undefined) return status;
  sayUnwritten(context, unwritten);
  const stopped = stateNow(context, spec.id);
  if (spec.remove) await remove(maker, spec.id);
  else for (const { message } of await clean(maker, spec.id)) context.terminal.err(`weft: ${message}\n`);
  if (stopped?.outOfMemory) {
    const limit =
      spec.limits.memory === undefined
        ? ''
        : `: its limit is ${Math.round(spec.limits.memory / 1024 ** 2)} MiB (--memory)`;
    context.terminal.err(`weft: something in ${spec.name} was ended for want of memory${limit}\n`);
  }
  if (status === undefined) {
    context.terminal.err(
      `weft: the monitor of ${spec.name} ended before its container: "weft gc" removes what is left\n`,
    );
    return 125;
  }
  return status;
}

function stateNow({ ambient }: WeftContext, id: string): ContainerState | undefined {
  const found = listContainers(ambient).find(({ spec }) => spec.id === id);
  return found && stateOf(found);
}
