/** `weft stop`, `weft kill`, `weft rm` and `weft gc`: ways to an end. */
import { constants } from 'node:os';
import { CniError, ErrorCode } from '../../cni/errors.ts';
import { connectMonitor } from '../../runtime/container/connect.ts';
import { clean, collect, remove } from '../../runtime/container/lifecycle.ts';
import { findContainer, type StoredContainer, stateOf } from '../../runtime/container/store.ts';
import type { WeftContext } from '../context.ts';
import { lines } from '../table.ts';
import { makerFrom } from './maker.ts';

/** Signals its first process, and waits up to `seconds` until it and its monitor have ended. Whether they have. */
async function signalAndWait(container: StoredContainer, signal: number, seconds: number): Promise<boolean> {
  const client = await connectMonitor(container);
  // What is to be done at the end is done by who stops it: the monitor need not start a program for that.
  client.careForEnd();
  client.signal(signal);
  const told = client.told();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), seconds * 1000);
  });
  try {
    for (;;) {
      const next = await Promise.race([told.next(), late]);
      if (next === 'late') return false;
      if (next.done) return true;
    }
  } finally {
    clearTimeout(timer);
    client.close();
  }
}

/** Seconds for a process that the kernel ends. */
const KILLED = 30;

async function stopOne(container: StoredContainer, seconds: number): Promise<void> {
  if (stateOf(container).phase !== 'running') return;
  const { SIGTERM, SIGKILL } = constants.signals;
  if (seconds > 0 && (await signalAndWait(container, SIGTERM, seconds))) return;
  if (stateOf(container).phase !== 'running' || (await signalAndWait(container, SIGKILL, KILLED))) return;
  throw new CniError(
    ErrorCode.io,
    `container ${container.spec.name} does not end, not even by KILL: it waits in the kernel`,
  );
}

export async function stop(this: WeftContext, flags: { time: number }, ...names: string[]): Promise<void> {
  const maker = makerFrom(this);
  for (const container of names.map((name) => findContainer(this.ambient, name))) {
    await stopOne(container, flags.time);
    // The monitor has it done as well; who is second finds nothing left to do.
    for (const { message } of await clean(maker, container.spec.id)) this.terminal.err(`weft: ${message}\n`);
    this.terminal.out(`${container.spec.name}\n`);
  }
}

export async function kill(this: WeftContext, flags: { signal: number }, ...names: string[]): Promise<void> {
  for (const container of names.map((name) => findContainer(this.ambient, name))) {
    const client = await connectMonitor(container);
    client.signal(flags.signal);
    await client.finish();
    this.terminal.out(`${container.spec.name}\n`);
  }
}

export async function rm(this: WeftContext, flags: { force?: boolean }, ...names: string[]): Promise<void> {
  const maker = makerFrom(this);
  for (const container of names.map((name) => findContainer(this.ambient, name))) {
    const { phase } = stateOf(container);
    if ((phase === 'running' || phase === 'created') && !flags.force) {
      throw new CniError(
        ErrorCode.invalidConfig,
        `container ${container.spec.name} is ${phase}: stop it first ("weft stop ${container.spec.name}"), or use --force`,
      );
    }
    await stopOne(container, 0);
    await remove(maker, container.spec.id);
    this.terminal.out(`${container.spec.name}\n`);
  }
}

export async function gc(this: WeftContext, flags: { json?: boolean }): Promise<void> {
  const { collectAbandoned } = await import('../demo/abandoned.ts');
  const gone = [...(await collect(makerFrom(this))), ...(await collectAbandoned())];
  if (flags.json) this.terminal.out(`${JSON.stringify({ removed: gone })}\n`);
  else
    this.terminal.out(
      gone.length === 0 ? 'nothing was left behind\n' : lines(...gone.map((id) => `removed ${id}`)),
    );
}
